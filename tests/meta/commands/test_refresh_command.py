"""`fewstep refresh` and `fewstep model` as programs on a real broker: killed at a stage, the loop, and the way back."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from meta import ledger, synthetic
from meta.refresh.publishing import last_announcement
from meta.refresh.run import Order
from meta.refresh.schedule import asked, seconds_of
from meta.refresh.settings import RefreshSettings
from meta.refresh.topic import Positions
from meta.store import open_store, write_file
from schemas import Item, Role
from schemas.errors import ConfigurationError

STAGES = ("read", "train", "export", "judge", "publish", "announce")
KILLED = STAGES if os.environ.get("FEWSTEP_TEST_KILLS") else ("publish",)
"""Where it is killed; at all stages with FEWSTEP_TEST_KILLS."""
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


def run_killed(command: list[str], stage: str) -> None:
    """Run it and kill it as soon as it enters the stage."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(stage):
                break
        process.kill()


def fill(send, world, events) -> None:
    made, _ = world
    send(Role.ITEMS, [(item.item_id, item.model_dump(exclude_defaults=True)) for item in made.items])
    send(Role.USERS, [(user.user_id, user.model_dump(exclude_defaults=True)) for user in made.users])
    send(Role.INTERACTIONS, [(event.user_id, event.model_dump(exclude_defaults=True)) for event in events])


@pytest.mark.timeout(900)  # four trainings as programs, and a dozen other programs
def test_killed_at_a_stage_the_next_run_finishes_and_then_there_is_nothing_left_to_do(
    command, send, world, kafka, tmp_path
):
    _, events = world
    fill(send, world, events[:5000])
    for stage in KILLED:
        run_killed(command("refresh"), stage)
    report = run(command("refresh"))
    if "announce" not in KILLED:
        assert report["outcome"] == "published"
        assert report["version"] == report["served"]
    assert report["archive"]["rows"] == 5000
    (only,) = run(command("model", "list"))
    assert only["served"]
    folder = tmp_path / "store" / "films" / only["version"]
    manifest = run(command("model", "show"))
    assert {path.name for path in folder.iterdir()} == {*manifest["files"], "manifest.json", "README.md"}
    assert manifest["data"]["archive"]["events"] == 5000
    assert last_announcement("films", kafka).version == only["version"]
    assert run(command("refresh"))["outcome"] == "nothing new"

    # More arrives: a warm start, judged against what is served, over the same catalog and one item more.
    send(Role.ITEMS, [("late", Item(item_id="late", categories=["crime"]).model_dump(exclude_defaults=True))])
    send(Role.INTERACTIONS, [(event.user_id, event.model_dump(exclude_defaults=True)) for event in events[5000:]])
    second = run(command("refresh", "--min-judged", "10"))
    assert second["outcome"] == "published"
    assert second["training"]["started_from"] is not None
    assert any(check["name"] == "newest users against the served version" for check in second["checks"])
    newest = run(command("model", "show"))
    assert (newest["version"], newest["n_items"], newest["parent_version"]) == (second["version"], 301, only["version"])

    # And back, in one command; the files that are served again are those of before.
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    back = run(command("model", "rollback"))
    assert (back["version"], back["action"]) == (only["version"], "rollback")
    told = last_announcement("films", kafka)
    assert (told.version, told.digest, told.action) == (only["version"], back["digest"], "rollback")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert "no earlier version" in run(command("model", "rollback"), code=3)
    forward = run(command("model", "promote", second["version"]))
    assert forward["action"] == "promote"
    assert last_announcement("films", kafka).version == second["version"]


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


def test_on_drift_it_runs_again_when_a_worker_asks(command, send, world, kafka):
    """It waits, is asked, finds nothing new, and looks again by itself."""
    _, events = world
    fill(send, world, events[:5000])
    published = run(command("refresh"))
    waiting = subprocess.Popen(
        command("refresh", "--on-drift"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert json.loads(waiting.stdout.readline())["outcome"] == "nothing new"
        request = {
            "model": "films",
            "model_version": published["version"],
            "reason": "r",
            "timestamp": 1_769_860_800_000,
        }
        send(Role.REFRESH_REQUESTS, [("films", request)])
        for _ in range(2):  # and again after a while: what was asked for has not come about
            assert json.loads(waiting.stdout.readline())["outcome"] == "nothing new"
    finally:
        waiting.kill()
        waiting.wait()
        waiting.stdout.close()
