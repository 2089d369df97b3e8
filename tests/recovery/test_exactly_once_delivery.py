"""Exactly once: whoever reads committed records sees each list once, however the workers are treated.

FEWSTEP_TEST_EVENTS and FEWSTEP_TEST_KILLS set the size; more kills than the default also add the store in memory.
"""

import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import orjson
import pytest
from deployment import Deployment, without_clock
from faults.traffic import altered, thawed_behind_the_others
from test_exactly_once import CHUNK, KILLS, SECONDS_PER_KILL, made_up, newest_offsets

from schemas import Role
from stream.broker import Broker

FREEZE_S = float(os.environ.get("FEWSTEP_TEST_FREEZE_S", "8"))
"""Longer than the session timeout of the tests, so that a frozen worker loses its partitions."""
STORES = ["rocksdict", "memory"] if KILLS > 2 else ["rocksdict"]


def troubled(deployment: Deployment, rng: random.Random, *, kills: int) -> Iterator[bool]:
    """Yields while the replay should go on: two workers are killed, one is frozen, a third one joins and leaves."""
    for number in (0, 1):
        deployment.start_worker(number)
    left = ["kill"] * kills + ["freeze"]
    rng.shuffle(left)
    left = [*left[: len(left) // 2], "join", *left[len(left) // 2 :], "leave"]
    due = monotonic() + rng.uniform(6, 9)
    while left or monotonic() < due:
        if monotonic() > due:
            deployment.revive()
            due = monotonic() + rng.uniform(1, 2 * SECONDS_PER_KILL - 1)
            match left.pop(0):
                case "kill":
                    victim = rng.randrange(2)
                    deployment.kill_worker(victim)
                    deployment.start_worker(victim)
                case "freeze":
                    victim = rng.randrange(2)
                    deployment.signal_worker(victim, signal.SIGSTOP)
                    yield from waiting(FREEZE_S)
                    deployment.signal_worker(victim, signal.SIGCONT)
                case "join":
                    deployment.start_worker(2)
                case "leave":
                    assert deployment.stop_worker(2) in (0, 70)  # 70: it was just taking partitions over
        deployment.revive()
        yield True
    while True:
        deployment.revive()
        yield False


def waiting(seconds: float) -> Iterator[bool]:
    until = monotonic() + seconds
    while monotonic() < until:
        yield True


def sources(deployment: Deployment) -> dict[bytes, list[int]]:
    """Of each user, the inputs that its lists were made after, in the order of the lists."""
    found: dict[bytes, list[int]] = {}
    for record in deployment.records(deployment.topic(Role.RECOMMENDATIONS)):
        found.setdefault(record.key, []).append(orjson.loads(record.value)["source"]["offset"])
    return found


def repeated(deployment: Deployment) -> list[bytes]:
    """Users for whom an input made two lists."""
    return [user for user, found in sources(deployment).items() if max(Counter(found).values()) > 1]


def assert_each_list_once(deployment: Deployment) -> None:
    """No input made two lists of a user, and a user's lists never go back."""
    assert repeated(deployment) == []
    assert [user for user, found in sources(deployment).items() if found != sorted(found)] == []


@pytest.fixture
def kafka(broker: Broker) -> Broker:
    if not broker.name.startswith("Apache Kafka"):
        pytest.skip("the embedded broker has no transactions for aiokafka")
    return broker


@pytest.mark.timeout(900)
@pytest.mark.parametrize("store", STORES)
def test_readers_of_committed_records_get_each_list_once(
    kafka: Broker, prefix: str, tmp_path: Path, store: str
) -> None:
    rng = random.Random(store)
    events = made_up(rng)
    with Deployment(kafka, prefix, tmp_path, store=store, delivery="exactly_once") as deployment:
        trouble = troubled(deployment, rng, kills=KILLS)
        pause = ((KILLS + 3) * SECONDS_PER_KILL + FREEZE_S) / (len(events) / CHUNK)
        positions: list[tuple[int, int]] = []
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
        assert_each_list_once(deployment)


@pytest.mark.timeout(300)
def test_the_guarantee_can_be_changed_between_a_stop_and_a_start(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    events = made_up(random.Random("change"))[:3000]
    positions: list[tuple[int, int]] = []
    with Deployment(kafka, prefix, tmp_path) as deployment:
        for start, delivery in ((0, "at_least_once"), (1000, "exactly_once"), (2000, "at_least_once")):
            deployment.start_worker(delivery=delivery)  # type: ignore[arg-type]
            sent = deployment.send(events[start : start + 1000])
            deployment.wait_for_lists(newest_offsets(events[start : start + 1000], sent))
            positions += sent
            assert deployment.stop_worker() == 0
        rows, lists = deployment.undisturbed()
        assert deployment.changelog().last == rows
        assert {key: without_clock(value) for key, value in deployment.lists().last.items()} == {
            key: without_clock(value) for key, value in lists.items()
        }
        assert_each_list_once(deployment)


def thawed(kafka: Broker, prefix: str, folder: Path, *changes: str) -> tuple[list[bytes], str]:
    """A worker stands still with a poll in hand until another one is beyond it. Gives the users that got a list twice,
    and what the first worker said."""
    flag, events = folder / "obstructed", made_up(random.Random("thaw"))[:600]
    with Deployment(
        kafka, prefix, folder, delivery="exactly_once", environment={"OBSTRUCTED": str(flag)},
        program=altered(*changes, "frozen_in_hand"),
    ) as deployment:  # fmt: skip
        thawed_behind_the_others(deployment, flag, events)
        return repeated(deployment), deployment.log().read_text().lower()


@pytest.mark.timeout(300)
def test_a_worker_that_thaws_with_a_poll_in_hand_is_fenced(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    twice, said = thawed(kafka, prefix, tmp_path)
    assert twice == []
    assert "fenced" in said


@pytest.mark.timeout(300)
def test_without_fencing_it_publishes_lists_a_second_time(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    assert thawed(kafka, prefix, tmp_path, "without_fencing")[0]
