"""The broker crashes and comes back, and stands still for a while; workers lose nothing, need no hand and say so.

With FEWSTEP_TEST_ALL it crashes twice.
"""

import json
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from deployment import DEADLINE_S, Deployment, without_clock
from test_exactly_once import made_up, newest_offsets

from stream.broker import Broker, open_broker
from stream.broker.process import free_port

CRASHES = 2 if os.environ.get("FEWSTEP_TEST_ALL") else 1


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    """A broker that may be crashed: not the one that all other tests share."""
    if not os.environ.get("KAFKA_HOME"):
        pytest.skip("KAFKA_HOME is not set: the embedded broker does not keep its records over a crash")
    with open_broker("kafka") as broker:
        yield broker


def wait_for(port: int, reason: str | None) -> None:
    """Wait until /ready gives this reason for not being ready, None for being it; /live answers all along."""
    deadline = monotonic() + DEADLINE_S
    while (found := asked(port, "ready")["reason"]) != reason:
        assert asked(port, "live") == {"live": True}
        assert monotonic() < deadline, f"reason {found!r}, not {reason!r}, after {DEADLINE_S:.0f} s"
        sleep(0.2)


def asked(port: int, path: str) -> dict[str, object]:
    try:
        with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as response:
            found: dict[str, object] = json.load(response)
    except HTTPError as error:
        found = json.load(error)
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("trouble", ["crash", "standstill"])
def test_a_broker_in_trouble_costs_no_event(own_broker: Broker, tmp_path: Path, trouble: str) -> None:
    events = made_up(random.Random(trouble))[:6000]
    port = free_port()
    with Deployment(own_broker, "t-", tmp_path, environment={"FEWSTEP_WEB__PORT": str(port)}) as deployment:
        deployment.start_worker()
        positions = deployment.send(events[:2000])
        deployment.wait_for_log("ready")
        wait_for(port, None)
        positions += deployment.send(events[2000:4000])
        if trouble == "crash":
            own_broker.kill()
            deployment.start_worker(1, environment={"FEWSTEP_WEB__PORT": str(free_port(other_than=port))})
            deployment.wait_for_log("trying again", 1)
            deployment.start_worker(2, environment={"FEWSTEP_WORKER__BROKER_PATIENCE_S": "0"})
            assert deployment.wait_for_exit(2) == 1  # so it would be without that patience
            wait_for(port, "no answer from Kafka")
            own_broker.restart()
            for _ in range(CRASHES - 1):
                wait_for(port, None)
                positions += deployment.send(events[len(positions) :][:500])
                own_broker.kill()
                wait_for(port, "no answer from Kafka")
                own_broker.restart()
        else:
            assert own_broker.pid is not None
            os.killpg(own_broker.pid, signal.SIGSTOP)
            wait_for(port, "no answer from Kafka")  # after the session timeout of the tests
            os.killpg(own_broker.pid, signal.SIGCONT)
        positions += deployment.send(events[len(positions) :])
        deployment.wait_for_lists(newest_offsets(events, positions))
        wait_for(port, None)
        if trouble == "crash":
            deployment.wait_for_log("ready", 1)
        rows, lists = deployment.undisturbed()
        assert deployment.changelog().last == rows
        found = deployment.lists().last
        assert [key for key in lists if without_clock(found.get(key)) != without_clock(lists[key])] == []
        assert len(deployment.log().read_text().splitlines()) < 100
