"""The broker crashes and comes back, and stands still for a while; the worker loses nothing and needs no hand."""

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest
from deployment import Deployment, without_clock
from test_exactly_once import made_up, newest_offsets

from stream.broker import Broker, open_broker

AWAY_S = 3.0
STANDSTILL_S = 8.0
"""Longer than the session timeout of the tests."""


@pytest.fixture
def own_broker() -> Iterator[Broker]:
    """A broker that may be crashed: not the one that all other tests share."""
    if not os.environ.get("KAFKA_HOME"):
        pytest.skip("KAFKA_HOME is not set: the embedded broker does not keep its records over a crash")
    with open_broker("kafka") as broker:
        yield broker


@pytest.mark.timeout(300)
@pytest.mark.parametrize("trouble", ["crash", "standstill"])
def test_a_broker_in_trouble_costs_no_event(own_broker: Broker, tmp_path: Path, trouble: str) -> None:
    events = made_up(random.Random(trouble))[:6000]
    with Deployment(own_broker, "t-", tmp_path) as deployment:
        deployment.start_worker()
        positions = deployment.send(events[:2000])
        deployment.wait_for_log("ready")
        positions += deployment.send(events[2000:4000])
        if trouble == "crash":
            own_broker.kill()
            sleep(AWAY_S)
            own_broker.restart()
        else:
            assert own_broker.pid is not None
            os.killpg(own_broker.pid, signal.SIGSTOP)
            sleep(STANDSTILL_S)
            os.killpg(own_broker.pid, signal.SIGCONT)
        positions += deployment.send(events[4000:])
        deployment.wait_for_lists(newest_offsets(events, positions))
        rows, lists = deployment.undisturbed()
        assert deployment.changelog().last == rows
        found = deployment.lists().last
        assert [key for key in lists if without_clock(found.get(key)) != without_clock(lists[key])] == []
        assert len(deployment.log().read_text().splitlines()) < 100
