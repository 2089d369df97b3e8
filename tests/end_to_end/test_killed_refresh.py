"""The trainer is killed at named points while a worker serves: lists go on, and the next run finishes the job.

FEWSTEP_TEST_ALL kills at every point. The worker's side, fetch and swap, is in tests/worker/test_killed_swap.py.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import orjson
import pytest
from deployment import DEADLINE_S, Deployment
from killed_at import PROGRAM
from wholeness import assert_counted_once, assert_not_doubled, assert_not_mixed, published

from meta import ledger, synthetic
from meta.refresh.publishing import announce, last_announcement, verify
from meta.store import open_store, read_latest
from schemas import Role
from stream.broker import Broker
from stream.clients.connect import open_producer
from stream.clients.event_file import FileEvent

# The first two publications of a run are those of its candidates, in stores that nobody serves from.
POINTS = {
    "read: events are in a file, no commit names it": "before 1 meta.refresh.archive:Archive.commit",
    "read: the commit is made": "after 1 meta.refresh.archive:Archive.commit",
    "read: the window is half cut": "before 1 meta.refresh.window:_items",
    "train: in the middle": "before 2 meta.training:validate",
    "train: the candidate is learned": "after 1 meta.refresh.run:learn",
    "train: the newest events are learned, too": "after 2 meta.refresh.run:learn",
    "export: half of the bundle is written": "before 4 meta.bundle:write_file",
    "export: written, not examined": "before 1 meta.refresh.gate:check_candidate",
    "judge: examined, not judged": "before 1 meta.refresh.gate:judge",
    "publish: a claim, no file": "before 1 meta.refresh.publishing:write_file",
    "publish: half of the files are in the store": "before 5 meta.refresh.publishing:write_file",
    "publish: all files, no publication": "before 3 meta.ledger:create_file",
    "publish: a publication, latest.json is behind": "after 3 meta.ledger:create_file",
    "announce: latest.json is written, nobody was told": "before 1 meta.refresh.publishing:produce",
    "announce: told, old versions not deleted, no report": "after 1 meta.refresh.publishing:produce",
}
FEW = ("publish: half of the files are in the store",)
KILLED = tuple(POINTS) if os.environ.get("FEWSTEP_TEST_ALL") else FEW
RECIPE = "d = 8\nepochs = 24\nvalidate_every = 6\nlearning_rate = 0.01\ndropout = 0.2\napart_share = 0.0\n"
FIRST = 5000
"""Events of the first training; all later ones learn from the rest, too, each anew from the first version."""


class Shop:
    """A deployment whose models come from a trainer."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.world = synthetic.generate(synthetic.Sizes(users=400, items=300, events_per_user=20), seed=3)
        self.scratch, self.archive = deployment.folder / "scratch", deployment.folder / "archive"
        self.scratch.mkdir()
        (deployment.folder / "recipe.toml").write_text(RECIPE)
        self.served: list[str] = []
        """Versions, in order."""
        self.sent = 0

    def send(self, role: Role, rows: Sequence[Any], key: str) -> None:
        """In order, acknowledged."""
        with open_producer(self.deployment.settings.kafka) as producer:
            for row in rows:
                value = row.model_dump(exclude_defaults=True)
                producer.send(self.deployment.topic(role), key=value[key].encode(), value=orjson.dumps(value))
            producer.flush()

    def begin_again(self) -> str:
        """Let the first version serve and the archive be what it was then; gives the version."""
        first, last, kafka = self.served[0], self.served[-1], self.deployment.settings.kafka
        if last != first:
            store, now = open_store(self.deployment.settings.model.store), datetime.now(UTC)
            ledger.publish(store, "default", first, now=now, action="promote")
            announce(store, "default", kafka, now)
            self.deployment.wait_for_log(f"serving default {first} instead of {last}")
            self.served.append(first)
        rmtree(self.archive)
        copytree(self.archive.with_name("archive-of-then"), self.archive)
        return first

    def lists(self) -> set[str]:
        """Versions of the lists that are made now, of users on all partitions."""
        users = [f"user-{number}" for number in range(8)]
        requests = [FileEvent(user, None, orjson.dumps({"timestamp": 1_769_860_800_000})) for user in users]
        positions = self.deployment.send(requests, Role.REQUESTS)
        assert {position.partition for position in positions} == set(range(self.deployment.partitions))
        asked = {user: position.offset for user, position in zip(users, positions, strict=True)}
        found = self.deployment.wait_for_lists(asked, Role.REQUESTS)
        return {found[user]["model_version"] for user in users}

    def refresh(self, point: str = "") -> subprocess.CompletedProcess[str]:
        """`fewstep refresh`, killed at a point."""
        settings, recipe = self.deployment.settings, self.deployment.folder / "recipe.toml"
        command = [
            sys.executable, PROGRAM, "refresh", "--model-store", settings.model.store, "--model", "default", "--json",
            "--archive", str(self.archive), "--config", str(recipe), "--min-judged", "10",
            "--bootstrap-servers", settings.kafka.bootstrap_servers, "--topic-prefix", settings.kafka.topic_prefix,
        ]  # fmt: skip
        environment = os.environ | {"TMPDIR": str(self.scratch), "KILLED_AT": point}
        return subprocess.run(command, capture_output=True, text=True, timeout=2 * DEADLINE_S, env=environment)


def told_by(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.fixture(scope="module")
def shop(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A worker serves the first version, and more has arrived since that was trained."""
    folder = tmp_path_factory.mktemp("killed-refresh")
    with Deployment(broker, "killed-refresh-", folder, partitions=2) as deployment:
        rmtree(folder / "models")
        shop = Shop(deployment)
        events = list(shop.world.events())
        shop.send(Role.ITEMS, shop.world.items, "item_id")
        shop.send(Role.USERS, shop.world.users, "user_id")
        shop.send(Role.INTERACTIONS, events[:FIRST], "user_id")
        shop.served.append(told_by(shop.refresh())["version"])
        copytree(shop.archive, shop.archive.with_name("archive-of-then"))
        deployment.start_worker()
        shop.send(Role.INTERACTIONS, events[FIRST:], "user_id")
        shop.sent = len(events)
        yield shop


def assert_consistent(shop: Shop, version: str, *, events: int) -> None:
    """All places name the version, which has learned from so many events; nothing half done is left anywhere."""
    settings = shop.deployment.settings
    store = open_store(settings.model.store)
    head, latest = ledger.head(store, "default"), read_latest(store, "default")
    told = last_announcement("default", settings.kafka)
    assert head is not None
    assert latest is not None
    assert told is not None
    assert {head.version, latest.version, told.version} == {version}
    assert head.digest == latest.digest == told.digest
    assert verify(store, "default", version).data["archive"]["events"] == events
    folder = Path(settings.model.store) / "default"
    for name in ledger.versions(store, "default"):
        manifest = verify(store, "default", name)
        assert {path.name for path in (folder / name).iterdir()} == {*manifest.files, "manifest.json", "README.md"}
    once_published = {entry.version for entry in ledger.history(store, "default")}
    assert set(ledger.versions(store, "default")) <= once_published
    assert not [path for path in folder.rglob("*") if path.suffix in (".claim", ".unfinished")]
    assert not list(shop.scratch.glob("fewstep-refresh-*"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", KILLED)
def test_killed_there_the_worker_serves_and_the_next_run_finishes_the_job(shop: Shop, name: str) -> None:
    first, worker = shop.begin_again(), shop.deployment
    dead = shop.refresh(POINTS[name])
    assert dead.returncode == -signal.SIGKILL, dead.stderr[-1000:]
    # Whatever latest.json names meanwhile is whole, and lists are made.
    store = open_store(worker.settings.model.store)
    latest = read_latest(store, "default")
    assert latest is not None
    verify(store, "default", latest.version)
    assert shop.lists() <= {first, latest.version}

    report = told_by(shop.refresh())
    version = report["served"]
    shop.served.append(version)
    # What was published before the kill is made known; anything else is done again.
    known = name.startswith("announce") or POINTS[name].startswith("after 3 meta.ledger")
    assert report["outcome"] == ("nothing new" if known else "published")
    assert version != first
    assert_consistent(shop, version, events=shop.sent)
    worker.wait_for_log(f"serving default {version} instead of {first}")
    assert shop.lists() == {version}
    lists = published(worker)
    assert_counted_once(worker, shop.sent)
    assert_not_doubled(lists)
    assert_not_mixed(lists, shop.served)
