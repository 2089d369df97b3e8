"""Workers die at random moments of a replay, and nothing of it can be seen in the state or in the lists.

FEWSTEP_TEST_EVENTS and FEWSTEP_TEST_KILLS set the size; the defaults are small enough for every run of the suite.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import orjson
import pytest
from deployment import Deployment, without_clock

from stream.broker import Broker
from stream.clients.event_file import FileEvent
from stream.core.codec import decode_row

EVENTS = int(os.environ.get("FEWSTEP_TEST_EVENTS", "8000"))
KILLS = int(os.environ.get("FEWSTEP_TEST_KILLS", "2"))
EVENTS_PER_USER = 20
CHUNK = 200
SECONDS_PER_KILL = 6.0
START_MS = 1_700_000_000_000


def made_up(rng: random.Random) -> list[FileEvent]:
    """Events of users in random order, with increasing times and event ids."""
    users = [f"u{number}" for number in range(EVENTS // EVENTS_PER_USER)] * EVENTS_PER_USER
    rng.shuffle(users)
    events = []
    for number, user in enumerate(users):
        value = {
            "event_id": f"e{number}",
            "user_id": user,
            "item_id": f"i{rng.randrange(250)}",  # some of them unknown to the bundle
            "event_type": rng.choice(["view", "click", "like", "skip"]),
            "timestamp": START_MS + number * 1000,
        }
        events.append(FileEvent(user, value["timestamp"], orjson.dumps(value)))
    return events


def disturbed(deployment: Deployment, rng: random.Random, *, workers: int, kills: int) -> Iterator[bool]:
    """Yields while the replay should go on; kills and restarts a random worker every few seconds."""
    for number in range(workers):
        deployment.start_worker(number)
    left, due = kills, monotonic() + rng.uniform(3, 8)
    while True:
        if left and monotonic() > due:
            victim = rng.randrange(workers)
            deployment.kill_worker(victim)
            deployment.start_worker(victim)
            left, due = left - 1, monotonic() + rng.uniform(1, 2 * SECONDS_PER_KILL - 1)
        deployment.revive()
        yield left > 0


def newest_offsets(events: list[FileEvent], positions: list[tuple[int, int]]) -> dict[str, int]:
    return {event.user_id: offset for event, (_, offset) in zip(events, positions, strict=True)}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("store", ["memory", "rocksdict"])
@pytest.mark.parametrize("workers", [1, 2])
def test_kills_lose_nothing_and_apply_nothing_twice(
    broker: Broker, prefix: str, tmp_path: Path, workers: int, store: str
) -> None:
    kills = KILLS
    if not broker.name.startswith("Apache Kafka"):
        if workers > 1:
            pytest.skip("the embedded broker is tested with one worker and one kill")
        kills = 1
    rng = random.Random(f"{workers}{store}")
    events = made_up(rng)
    with Deployment(broker, prefix, tmp_path, store=store) as deployment:
        trouble = disturbed(deployment, rng, workers=workers, kills=kills)
        positions: list[tuple[int, int]] = []
        pause = kills * SECONDS_PER_KILL / (len(events) / CHUNK)
        for start in range(0, len(events), CHUNK):
            positions += deployment.send(events[start : start + CHUNK])
            next(trouble)
            sleep(pause)
        while next(trouble):
            sleep(0.1)
        deployment.wait_for_lists(newest_offsets(events, positions))

        rows, lists = deployment.undisturbed()
        assert deployment.changelog().last == rows
        found = deployment.lists().last
        assert found.keys() == lists.keys()
        assert [key for key in lists if without_clock(found[key]) != without_clock(lists[key])] == []
        sent: dict[str, list[tuple[str, int]]] = {}
        for event in events:
            sent.setdefault(event.user_id, []).append((orjson.loads(event.value)["item_id"], event.timestamp_ms or 0))
        for user, own in sent.items():
            state = decode_row(rows[user.encode()] or b"", user.encode())
            assert state.events == len(own)
            assert [(event.item_id, event.timestamp_ms) for event in state.support] == own

        again = events[-1000:]
        deployment.wait_for_lists(newest_offsets(again, deployment.send(again)))
        for key, row in deployment.changelog().last.items():
            before, after = decode_row(rows[key] or b"", key), decode_row(row or b"", key)
            assert after == before._replace(interactions_offset=after.interactions_offset)
        for key, value in deployment.lists().last.items():
            assert without_clock(value)["items"] == without_clock(lists[key])["items"]
