"""F30, F35: a step without end, a blocked event loop and an unforeseen error end the process, and cost no event.

FEWSTEP_TEST_ALL also runs it with each protection switched off.
"""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from deployment import DEADLINE_S, Deployment
from traffic import altered, committed, events, settled

from stream.broker import Broker
from stream.broker.process import free_port
from stream.shell.failstop import EXIT_FAILED

ALL = bool(os.environ.get("FEWSTEP_TEST_ALL"))
STEP_TIMEOUT_S = 12
"""Long enough for /ready to tell of it before, which takes the session timeout of the tests."""
unprotected = pytest.mark.skipif(not ALL, reason="FEWSTEP_TEST_ALL is not set")


def asked(port: int, path: str) -> tuple[int, dict[str, object]]:
    try:
        with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        return error.code, json.load(error)


def obstructed(
    broker: Broker,
    prefix: str,
    folder: Path,
    *changes: str,
    meanwhile: Callable[[int], None],
    ends_within_s: float = 2 * STEP_TIMEOUT_S,
) -> tuple[int | None, bool, tuple[list[bytes], list[bytes]]]:
    """A worker meets an obstruction with 400 events before it and is watched; it is gone at the next start.

    Gives the exit code (None: it did not end by itself), whether more was committed than applied before, and what
    differs in the end.
    """
    flag, port = folder / "obstructed", free_port()
    environment = {
        "OBSTRUCTED": str(flag), "FEWSTEP_WEB__PORT": str(port), "FEWSTEP_WORKER__POLL_RECORDS": "50",
        "FEWSTEP_WORKER__STEP_TIMEOUT_S": str(STEP_TIMEOUT_S),
    }  # fmt: skip
    made = events(random.Random(4), 400)
    program = altered(*changes)
    with Deployment(broker, prefix, folder, partitions=1, environment=environment, program=program) as deployment:
        deployment.start_worker()
        deployment.wait_for_log("ready:")
        flag.touch()
        deployment.send(made)
        meanwhile(port)
        deadline = monotonic() + ends_within_s
        while not (ended := deployment.ended()) and monotonic() < deadline:
            sleep(0.1)
        applied = sum(row is not None for row in deployment.changelog().last.values())
        ahead = committed(deployment)[0] > 0 and applied == 0
        flag.unlink()
        deployment.kill_worker()
        deployment.start_worker()
        return ended.get(0), ahead, settled(deployment, made)


def until_not_ready(port: int, reason: str) -> None:
    """Wait until /ready gives this reason; /live answers all along."""
    deadline = monotonic() + DEADLINE_S
    while asked(port, "ready")[1]["reason"] != reason:
        assert asked(port, "live")[0] == 200
        assert monotonic() < deadline
        sleep(0.2)


@pytest.mark.timeout(300)
def test_a_step_without_end_is_ended_and_its_events_are_applied_after_all(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    code, ahead, wrong = obstructed(
        broker, prefix, tmp_path, "endless_step",
        meanwhile=lambda port: until_not_ready(port, "records wait and none is applied"),
    )  # fmt: skip
    assert (code, ahead, wrong) == (EXIT_FAILED, False, ([], []))


@unprotected
@pytest.mark.timeout(300)
def test_without_the_watchdog_a_step_without_end_holds_the_worker(broker: Broker, prefix: str, tmp_path: Path) -> None:
    code, *_ = obstructed(broker, prefix, tmp_path, "without_watchdog", "endless_step", meanwhile=lambda port: None)
    assert code is None


@pytest.mark.timeout(300)
def test_a_blocked_event_loop_still_answers_probes_and_says_so(broker: Broker, prefix: str, tmp_path: Path) -> None:
    _, ahead, wrong = obstructed(
        broker, prefix, tmp_path, "blocked_loop",
        meanwhile=lambda port: until_not_ready(port, "the event loop is blocked"), ends_within_s=0,
    )  # fmt: skip
    assert (ahead, wrong) == (False, ([], []))


@pytest.mark.timeout(300)
def test_an_error_of_any_kind_with_polls_waiting_ends_the_process_and_loses_none(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    code, ahead, wrong = obstructed(broker, prefix, tmp_path, "failing_publisher", meanwhile=lambda port: None)
    assert (code, ahead, wrong) == (EXIT_FAILED, False, ([], []))


@unprotected
@pytest.mark.timeout(300)
def test_a_worker_that_goes_on_after_an_error_loses_events(broker: Broker, prefix: str, tmp_path: Path) -> None:
    code, _, wrong = obstructed(
        broker, prefix, tmp_path, "without_fail_stop", "failing_publisher", meanwhile=lambda port: sleep(5)
    )
    assert code is None
    assert wrong != ([], [])


@unprotected
@pytest.mark.timeout(300)
def test_a_worker_that_commits_what_it_has_not_applied_loses_events(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    _, ahead, wrong = obstructed(
        broker, prefix, tmp_path, "without_custody", "endless_step", meanwhile=lambda port: None
    )
    assert ahead
    assert wrong != ([], [])
