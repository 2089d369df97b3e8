"""`fewstep refresh` and `fewstep model` as programs on a real broker.

What a refresh publishes, and what is left of one that is killed: tests/end_to_end.
"""

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from tiny_bundle import write_tiny_bundle

from meta import ledger, synthetic
from meta.commands.model import _tell
from meta.refresh.decision import promote
from meta.refresh.publishing import last_announcement
from meta.refresh.run import Order
from meta.refresh.schedule import asked, seconds_of
from meta.refresh.settings import RefreshSettings
from meta.refresh.topic import Positions
from meta.store import open_store, write_file
from schemas import Role
from schemas.errors import ConfigurationError

RECIPE = "d = 8\nepochs = 24\nvalidate_every = 6\nlearning_rate = 0.01\ndropout = 0.2\napart_share = 0.0\n"
DEADLINE_S = 200.0


@pytest.fixture(scope="module")
def world():
    made = synthetic.generate(synthetic.Sizes(users=400, items=300, events_per_user=20), seed=3)
    return made, list(made.events())


@pytest.fixture
def command(kafka, tmp_path):
    """`fewstep NAME ...` on this test's topics, store and archive; gives arguments for subprocess."""
    (tmp_path / "recipe.toml").write_text(RECIPE)
    common = ["--model-store", str(tmp_path / "store"), "--model", "films"]
    broker = ["--bootstrap-servers", kafka.bootstrap_servers, "--topic-prefix", kafka.topic_prefix]

    def build(name: str, *arguments: str) -> list[str]:
        own = [] if arguments[:1] in (("list",), ("show",)) else broker
        if name == "refresh":
            own = [*broker, "--archive", str(tmp_path / "archive"), "--config", str(tmp_path / "recipe.toml")]
        return [sys.executable, "-m", "stream", name, *arguments, *common, *own, "--json"]

    return build


def run(command: list[str], *, code: int = 0) -> Any:
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr.strip().splitlines()[-1]


def fill(send, world, events) -> None:
    made, _ = world
    send(Role.ITEMS, [(item.item_id, item.model_dump(exclude_defaults=True)) for item in made.items])
    send(Role.USERS, [(user.user_id, user.model_dump(exclude_defaults=True)) for user in made.users])
    send(Role.INTERACTIONS, [(event.user_id, event.model_dump(exclude_defaults=True)) for event in events])


def test_versions_are_listed_shown_and_served_again_in_one_command(command, kafka, tmp_path, capsys):
    store = open_store(str(tmp_path / "store"))
    assert "has no model films: train it" in run(command("model", "list"), code=1)
    for number, version in enumerate(("v1", "v2"), 1):
        write_tiny_bundle(tmp_path / "store", model="films", version=version, seed=number, latest=False)
        write_file(store, b"a card", "films", version, "README.md")
        ledger.publish(store, "films", version, now=datetime(2026, 1, number, tzinfo=UTC))
    folder = tmp_path / "store" / "films" / "v1"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert [(one["version"], one["served"]) for one in run(command("model", "list"))] == [("v1", False), ("v2", True)]
    assert run(command("model", "show"))["version"] == "v2"

    assert "does not exist: see fewstep model list" in run(command("model", "promote", "v9"), code=1)

    back = run(command("model", "rollback"))
    assert (back["version"], back["action"], back["changed"]) == ("v1", "rollback", True)
    told = last_announcement("films", kafka)
    assert (told.version, told.digest, told.action) == ("v1", back["digest"], "rollback")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert "no earlier version" in run(command("model", "rollback"), code=3)
    _tell(promote(store.url, "films", "v1", kafka), json_output=False)
    assert capsys.readouterr().out == f"nothing changed: v1 is served already, by rollback of {back['published_at']}\n"
    assert run(command("model", "promote", "v2"))["action"] == "promote"
    assert last_announcement("films", kafka).version == "v2"


def test_what_is_refused_is_told_in_one_line_and_in_a_report(command, send, world, tmp_path):
    _, events = world
    fill(send, world, events[:600])
    told = run(command("refresh"), code=3)
    assert "films stays as it is: data: trained on 300 events, 1000 are the least" in told
    (path,) = (tmp_path / "archive" / "reports").iterdir()
    report = json.loads(path.read_text())
    assert (report["outcome"], report["served"]) == ("refused", None)
    assert not (tmp_path / "store" / "films" / "latest.json").exists()


def test_an_empty_topic_is_refused_and_a_missing_one_names_the_remedy(command, kafka):
    assert "holds no interactions" in run(command("refresh"), code=3)
    missing = [*command("refresh"), "--topic-prefix", f"{kafka.topic_prefix}other-"]
    assert "fewstep topics create" in run(missing, code=1)


def test_a_request_counts_while_the_version_it_is_about_is_served(kafka, send, tmp_path):
    store = open_store(str(tmp_path / "store"))
    write_file(store, b"{}", "films", "v2", "manifest.json")
    ledger.publish(store, "films", "v2", now=datetime(2026, 1, 31, tzinfo=UTC))
    order = Order(store.url, "films", "", kafka, RefreshSettings(), None, 0)
    request = {"model": "films", "model_version": "v1", "reason": "HR@10 fell", "timestamp": 1_769_860_800_000}
    seen: Positions = {}
    told: list[str] = []
    send(Role.REFRESH_REQUESTS, [("films", request), ("films", b"{"), ("books", request | {"model": "books"})])
    assert not asked(order, seen, told.append)
    send(Role.REFRESH_REQUESTS, [("films", request | {"model_version": "v2"})])
    assert asked(order, seen, told.append)
    assert told == ["asked for: HR@10 fell"]
    assert not asked(order, seen, told.append)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("6h", 21_600), ("1d", 86_400)])
def test_a_time_is_a_number_and_a_unit(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["6", "h", "0h", "six hours", "1.5h"])
def test_what_is_no_time_is_a_wrong_setting(text):
    with pytest.raises(ConfigurationError, match="--every"):
        seconds_of(text)


def test_on_drift_it_runs_again_when_a_worker_asks(command, send, world, tmp_path):
    """It waits, is asked, finds nothing new, and looks again by itself."""
    _, events = world
    fill(send, world, events[:300])
    write_tiny_bundle(tmp_path / "store", model="films", version="v1")
    waiting = subprocess.Popen(
        command("refresh", "--on-drift"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert json.loads(waiting.stdout.readline())["outcome"] == "nothing new"
        request = {"model": "films", "model_version": "v1", "reason": "r", "timestamp": 1_769_860_800_000}
        send(Role.REFRESH_REQUESTS, [("films", request)])
        for _ in range(2):  # and again after a while: what was asked for has not come about
            assert json.loads(waiting.stdout.readline())["outcome"] == "nothing new"
    finally:
        waiting.kill()
        waiting.wait()
        waiting.stdout.close()
