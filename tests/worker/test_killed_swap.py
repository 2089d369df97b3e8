"""One of two workers is killed while it takes a bundle over: the other serves, and the restarted one the new version.

FEWSTEP_TEST_ALL kills at every point.
"""

import os
import signal
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import orjson
import pytest
from deployment import DEADLINE_S, Deployment
from killed_at import PROGRAM
from tiny_bundle import write_tiny_bundle
from wholeness import assert_counted_once, assert_not_mixed, published

from schemas import ModelAnnouncement, Role
from stream.broker import Broker
from stream.clients.connect import open_producer
from stream.clients.event_file import FileEvent

# The first load of a bundle and the first two graphs are those of the start.
POINTS = {
    "fetch: latest.json is read": "before 1 stream.engine.follower:load_bundle",
    "fetch: some files are read": "before 3 stream.engine.bundle:open_graph",
    "fetch: all is read, the canary not asked": "before 2 stream.engine.bundle:check_canary",
    "swap: checked, not warm": "before 1 stream.engine.follower:warm_up",
    "swap: warm, the old one serves": "before 1 stream.engine.serving:Serving.switch",
    "swap: the new one is to serve the next poll": "after 1 stream.engine.serving:Serving.switch",
}
FEW = ("fetch: some files are read", "swap: warm, the old one serves")
KILLED = tuple(POINTS) if os.environ.get("FEWSTEP_TEST_ALL") else FEW
USERS = 20


def later(number: int) -> str:
    return f"2026-02-{number + 1:02}T12:00:00Z"


@pytest.fixture
def served(broker: Broker, prefix: str, tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(broker, prefix, tmp_path, partitions=4, program=(PROGRAM,)) as deployment:
        yield deployment


def put(served: Deployment, version: str, number: int) -> None:
    """Into the store, as what is to be served."""
    write_tiny_bundle(served.folder / "models", version=version, n_items=200, seed=number, created_at=later(number))


def publish(served: Deployment, version: str, number: int) -> None:
    put(served, version, number)
    manifest = served.folder / "models" / "default" / version / "manifest.json"
    announcement = ModelAnnouncement(
        model="default",
        version=version,
        digest=sha256(manifest.read_bytes()).hexdigest(),
        url=f"default/{version}",
        published_at=later(number),
        action="publish",
    )
    with open_producer(served.settings.kafka) as producer:
        told = announcement.model_dump_json().encode()
        producer.send(served.topic(Role.MODELS), key=b"default", value=told).get(timeout=DEADLINE_S)


def likes(served: Deployment, turn: int) -> dict[str, int]:
    """One event of each user; gives their offsets."""
    events = [
        {"event_id": f"{turn}-{user}", "user_id": f"u{user}", "item_id": f"i{user}", "event_type": "like"}
        for user in range(USERS)
    ]
    positions = served.send([FileEvent(one["user_id"], None, orjson.dumps(one)) for one in events])
    return {f"u{user}": position.offset for user, position in enumerate(positions)}


@pytest.mark.timeout(900)
def test_killed_while_it_takes_a_bundle_over_others_serve_and_it_comes_back_with_the_new_one(
    served: Deployment,
) -> None:
    served.start_worker(1)
    served.wait_for_log("ready: 12 partitions", 1)
    versions = ["v1"]
    for turn, name in enumerate(KILLED):
        served.start_worker(0, environment={"KILLED_AT": POINTS[name]})
        served.wait_for_log("ready: 6 partitions", 0, count=turn + 1)
        before = served.wait_for_lists(likes(served, 2 * turn))
        assert {one["model_version"] for one in before.values()} == {versions[-1]}
        versions.append(f"v{turn + 2}")
        publish(served, versions[-1], turn + 1)
        assert served.wait_for_exit(0) == -signal.SIGKILL, name
        # Of all partitions, before anybody is started again.
        after = served.wait_for_lists(likes(served, 2 * turn + 1))
        assert {one["model_version"] for one in after.values()} == {versions[-1]}, name
    served.start_worker(0)
    served.wait_for_log("ready: 6 partitions", 0, count=len(KILLED) + 1)
    assert served.log(0).read_text().count(f"serving default {versions[-1]} from") == 1
    last = served.wait_for_lists(likes(served, 2 * len(KILLED)))
    assert {one["model_version"] for one in last.values()} == {versions[-1]}
    assert_counted_once(served, (2 * len(KILLED) + 1) * USERS)
    assert_not_mixed(published(served), versions)


@pytest.mark.timeout(300)
def test_who_takes_a_partition_over_does_not_fall_behind_the_version_that_served_it(served: Deployment) -> None:
    served.start_worker(0, environment={"FEWSTEP_MODEL__POLL_INTERVAL_S": "0.5"})
    served.wait_for_log("ready: 12 partitions", 0)
    served.start_worker(1, environment={"FEWSTEP_MODEL__POLL_INTERVAL_S": "3600"})
    served.wait_for_log("ready: 6 partitions", 1)
    served.wait_for_lists(likes(served, 0))
    put(served, "v2", 1)  # nobody is told, so the second worker goes on with what it has
    served.wait_for_log("serving default v2 instead of v1", 0)
    lists = served.wait_for_lists(likes(served, 1))
    ahead = {user for user, one in lists.items() if one["model_version"] == "v2"}
    assert 0 < len(ahead) < USERS
    served.signal_worker(0, signal.SIGKILL)
    assert served.wait_for_exit(0) == -signal.SIGKILL
    last = served.wait_for_lists(likes(served, 2))
    assert {last[user]["model_version"] for user in ahead} == {"v2"}
    assert_counted_once(served, 3 * USERS)
    assert_not_mixed(published(served), ["v1", "v2"])
