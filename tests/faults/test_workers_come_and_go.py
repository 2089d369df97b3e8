"""F12, F15, F16, F17, F20, F36: workers join, leave, freeze and die with their disks, and the state is right.

FEWSTEP_TEST_ALL also runs the scenario on the store in memory, and the handover of partitions with and without its
protection, which takes a minute. It is at_least_once: tests/recovery holds exactly_once to the same.
"""

import os
import random
import shutil
import signal
from pathlib import Path
from time import monotonic, sleep

import pytest
from deployment import DEADLINE_S, Deployment
from traffic import (
    Wrong,
    altered,
    committed,
    differences,
    event,
    events,
    newest,
    settled,
    thawed_behind_the_others,
)

from stream.broker import Broker

ALL = bool(os.environ.get("FEWSTEP_TEST_ALL"))
EVENTS = 4000


def died_with_its_disk(broker: Broker, prefix: str, folder: Path, *changes: str) -> Wrong:
    """Half of the events is committed, the other half applied only, when the worker dies and its directory is gone."""
    made = events(random.Random(6), 600)
    with Deployment(broker, prefix, folder, partitions=2, program=altered(*changes)) as deployment:
        deployment.start_worker()
        deployment.wait_for_lists(newest(made[:300], deployment.send(made[:300])))
        assert deployment.stop_worker() == 0
        assert sum(committed(deployment).values()) == 300
        deployment.start_worker(environment={"FEWSTEP_WORKER__COMMIT_INTERVAL_S": "600"})
        deployment.wait_for_lists(newest(made[300:], deployment.send(made[300:])))
        deployment.kill_worker()
        assert sum(committed(deployment).values()) == 300
        shutil.rmtree(folder / "state-0")
        deployment.start_worker()
        return settled(deployment, made)


def test_a_worker_that_died_with_its_disk_has_lost_and_doubled_nothing(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    assert died_with_its_disk(broker, prefix, tmp_path) == ([], [])


@pytest.mark.parametrize("change", ["without_offsets_in_rows", "without_recovery"])
def test_without_its_protections_it_has(broker: Broker, prefix: str, tmp_path: Path, change: str) -> None:
    rows, lists = died_with_its_disk(broker, prefix, tmp_path, change)
    assert rows
    assert lists


@pytest.fixture
def kafka(broker: Broker) -> Broker:
    if not broker.name.startswith("Apache Kafka"):
        pytest.skip("the embedded broker is tested with one worker")
    return broker


class Company:
    """Two workers under load, and a third one now and then."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.made = events(random.Random(7), EVENTS)
        self._sent = 0

    def load(self, seconds: float) -> None:
        """Send for a while, and start again whoever has to be."""
        until = monotonic() + seconds
        while monotonic() < until:
            self.deployment.send(self.made[self._sent : self._sent + 50])
            self._sent += 50
            self.deployment.revive()
            sleep(0.1)

    def finish(self) -> Wrong:
        """Send the rest."""
        self.deployment.send(self.made[self._sent :])
        return settled(self.deployment, self.made)


def in_turn(broker: Broker, prefix: str, folder: Path, *, store: str) -> Wrong:
    """2 -> 3 -> 2 with a death with its disk, and SIGTERM twice under load."""
    environment = {"OBSTRUCTED": str(folder), "STEP_S": "0.2", "FEWSTEP_WORKER__POLL_RECORDS": "200"}
    program = altered("slow_steps")
    with Deployment(broker, prefix, folder, store=store, environment=environment, program=program) as deployment:
        company = Company(deployment)
        for number in (0, 1):
            deployment.start_worker(number)
        deployment.wait_for_log("ready:", 1)
        company.load(2)
        deployment.start_worker(2)
        company.load(8)
        deployment.kill_worker(1)
        shutil.rmtree(folder / "state-1")
        deployment.start_worker(1)
        company.load(3)
        deployment.signal_worker(2, signal.SIGTERM)
        began = monotonic()
        assert deployment.stop_worker(2) in (0, 70)  # the second signal; 70: it was just taking partitions over
        assert monotonic() - began < 35
        company.load(3)
        return company.finish()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("store", ["rocksdict", *(["memory"] if ALL else [])])
def test_workers_that_come_and_go_leave_the_state_of_an_undisturbed_run(
    kafka: Broker, prefix: str, tmp_path: Path, store: str
) -> None:
    assert in_turn(kafka, prefix, tmp_path, store=store) == ([], [])


def frozen_in_hand(broker: Broker, prefix: str, folder: Path, *changes: str) -> Wrong:
    """A worker stands still with a poll that is computed and not published, until another one is beyond it."""
    flag, made = folder / "obstructed", events(random.Random(10), 600)
    with Deployment(
        broker, prefix, folder, store="memory", partitions=2, environment={"OBSTRUCTED": str(flag)},
        program=altered(*changes, "frozen_in_hand"),
    ) as deployment:  # fmt: skip
        thawed_behind_the_others(deployment, flag, made, publishing=bool(changes))
        return differences(deployment)


@pytest.mark.timeout(300)
def test_a_worker_that_thaws_asks_before_it_publishes_what_it_has_in_hand(
    kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    assert frozen_in_hand(kafka, prefix, tmp_path) == ([], [])


@pytest.mark.timeout(300)
def test_one_that_does_not_ask_spoils_the_state(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    rows, lists = frozen_in_hand(kafka, prefix, tmp_path, "without_confirmation")
    assert rows
    assert lists


def handed_over(broker: Broker, prefix: str, folder: Path, *changes: str) -> Wrong:
    """Partitions move on twice from a worker that has more in hand than it gets done before the first rebalance."""
    environment = {"OBSTRUCTED": str(folder), "STEP_S": "0", "FEWSTEP_WORKER__POLL_RECORDS": "100"}
    program = altered("slow_steps", *changes)
    with Deployment(broker, prefix, folder, store="memory", environment=environment, program=program) as deployment:
        made = events(random.Random(8), 3000)
        deployment.start_worker(environment={"STEP_S": "1.5"})
        deployment.wait_for_log("ready:")
        for start in range(0, len(made), 100):
            deployment.send(made[start : start + 100])
            if start in (500, 2000):
                deployment.start_worker(1 if start == 500 else 2)
            deployment.revive()
            sleep(0.4)
        return settled(deployment, made)


@pytest.mark.timeout(600)
@pytest.mark.skipif(not ALL, reason="FEWSTEP_TEST_ALL is not set")
def test_a_rebalance_waits_for_the_poll_in_hand(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    assert handed_over(kafka, prefix, tmp_path) == ([], [])


@pytest.mark.timeout(600)
@pytest.mark.skipif(not ALL, reason="FEWSTEP_TEST_ALL is not set")
def test_without_waiting_for_it_users_go_wrong(kafka: Broker, prefix: str, tmp_path: Path) -> None:
    assert handed_over(kafka, prefix, tmp_path, "without_handover") != ([], [])


@pytest.mark.timeout(300)
def test_a_signal_while_the_state_is_rebuilt_ends_the_worker_at_once(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    with Deployment(broker, prefix, tmp_path, partitions=2, store="memory") as deployment:
        made = [event(f"u{number}", "i1") for number in range(3000)]
        deployment.start_worker()
        deployment.wait_for_lists(newest(made, deployment.send(made)))
        deployment.kill_worker()
        deployment.start_worker()
        deployment.wait_for_log("serving ", count=2)
        sleep(random.Random(9).uniform(0, 1))
        for _ in range(2):
            deployment.signal_worker(0, signal.SIGTERM)
        began = monotonic()
        assert deployment.wait_for_exit() == 0
        assert monotonic() - began < DEADLINE_S / 3
        deployment.start_worker()
        assert settled(deployment, made[:5]) == ([], [])
