"""F13, F19: answers of the broker come late, or are lost with their connection, and nothing can be seen of it.

FEWSTEP_TEST_EVENTS and FEWSTEP_TEST_KILLS set the size of the kills with a slow producer path.
"""

import os
import random
from pathlib import Path
from time import sleep

import pytest
from deployment import Deployment
from proxy import Api, FaultProxy
from traffic import altered, differences, events, last_words, newest, settled

from stream.broker import Broker

EVENTS = int(os.environ.get("FEWSTEP_TEST_EVENTS", "3000"))
KILLS = int(os.environ.get("FEWSTEP_TEST_KILLS", "2"))
CHUNK = 100
SLOW_S = (0.3, 1.0)


def killed_while_producing_is_slow(
    broker: Broker, prefix: str, folder: Path, *, switched_off: str | None
) -> tuple[list[bytes], list[bytes]]:
    rng = random.Random(1)
    made = events(rng, EVENTS)
    with FaultProxy(broker.bootstrap_servers) as proxy:
        proxy.delays[Api.PRODUCE] = SLOW_S
        with Deployment(
            broker, prefix, folder, servers=proxy.bootstrap_servers, program=altered(switched_off)
        ) as deployment:
            deployment.start_worker()
            deployment.wait_for_log("ready")
            deaths = sorted(rng.sample(range(CHUNK, len(made), CHUNK), KILLS))
            for start in range(0, len(made), CHUNK):
                if start in deaths:
                    sleep(rng.uniform(0.6, 1.4))  # offsets are committed every half second
                    deployment.kill_worker()
                    starts = deployment.log().read_text().count("ready:")
                    deployment.start_worker()
                    if rng.random() < 0.7:  # the others may die on their way up
                        deployment.wait_for_log("ready:", count=starts + 1)
                deployment.send(made[start : start + CHUNK])
                sleep(0.05)
            proxy.delays.clear()
            words = last_words(made)
            deployment.wait_for_lists(newest(words, deployment.send(words)))
            assert proxy.done["delayed PRODUCE"] > 0
            return differences(deployment)


@pytest.mark.timeout(1800)
def test_kills_with_a_slow_producer_path_lose_nothing(broker: Broker, prefix: str, tmp_path: Path) -> None:
    assert killed_while_producing_is_slow(broker, prefix, tmp_path, switched_off=None) == ([], [])


@pytest.mark.timeout(1800)
@pytest.mark.skipif(not os.environ.get("FEWSTEP_TEST_ALL"), reason="FEWSTEP_TEST_ALL is not set")
def test_without_waiting_for_the_acknowledgement_they_lose_events(broker: Broker, prefix: str, tmp_path: Path) -> None:
    rows, lists = killed_while_producing_is_slow(broker, prefix, tmp_path, switched_off="without_acknowledgement")
    assert rows
    assert lists


@pytest.mark.timeout(600)
@pytest.mark.parametrize("api", [Api.PRODUCE, Api.OFFSET_COMMIT, Api.FETCH, Api.JOIN_GROUP], ids=lambda api: api.name)
def test_answers_that_are_lost_with_their_connection_cost_no_event(
    broker: Broker, prefix: str, tmp_path: Path, api: Api
) -> None:
    made = events(random.Random(2), 1500)
    with (
        FaultProxy(broker.bootstrap_servers) as proxy,
        Deployment(broker, prefix, tmp_path, servers=proxy.bootstrap_servers) as deployment,
    ):
        if api is Api.JOIN_GROUP:
            proxy.cuts[api] = 1
        deployment.start_worker()
        deployment.wait_for_log("ready")
        for start in range(0, len(made), 100):
            if start in (300, 700, 1100) and api is not Api.JOIN_GROUP:
                proxy.cuts[api] += 1
            deployment.send(made[start : start + 100])
            sleep(0.1)
        words = last_words(made)
        deployment.wait_for_lists(newest(words, deployment.send(words)))
        assert differences(deployment) == ([], [])
        assert proxy.done[f"cut {api.name}"] > 0


@pytest.mark.timeout(600)
def test_a_start_with_a_backlog_and_slow_offsets_skips_nothing(broker: Broker, prefix: str, tmp_path: Path) -> None:
    made = events(random.Random(5), 1500)
    with (
        FaultProxy(broker.bootstrap_servers) as proxy,
        Deployment(broker, prefix, tmp_path, servers=proxy.bootstrap_servers, partitions=2) as deployment,
    ):
        deployment.start_worker()
        deployment.wait_for_lists(newest(made[:500], deployment.send(made[:500])))
        deployment.kill_worker()
        deployment.send(made[500:])
        proxy.delays[Api.OFFSET_FETCH] = (0.5, 1.0)
        deployment.start_worker()
        deployment.wait_for_log("ready:", count=2)
        assert settled(deployment, made) == ([], [])
        assert proxy.done["delayed OFFSET_FETCH"] > 0
