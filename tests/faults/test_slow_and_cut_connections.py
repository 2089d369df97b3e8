"""F13, F19: answers of the broker come late, or are lost with their connection, and nothing can be seen of it.

FEWSTEP_TEST_EVENTS and FEWSTEP_TEST_KILLS set the size of the kills with a slow producer path.
"""

import os
import random
from collections.abc import Sequence
from pathlib import Path
from time import sleep

import orjson
import pytest
from deployment import Deployment, without_clock
from proxy import Api, FaultProxy
from reference.worker import wrong_rows

from stream.broker import Broker
from stream.clients.event_file import FileEvent
from stream.clients.outbox import Position

EVENTS = int(os.environ.get("FEWSTEP_TEST_EVENTS", "3000"))
KILLS = int(os.environ.get("FEWSTEP_TEST_KILLS", "2"))
EVENTS_PER_USER = 20
SLOW_S = (0.3, 1.0)
START_MS = 1_700_000_000_000
UNPROTECTED = Path(__file__).with_name("unprotected.py")


def events(rng: random.Random) -> list[FileEvent]:
    """Events of users in random order."""
    users = [f"u{number}" for number in range(EVENTS // EVENTS_PER_USER)] * EVENTS_PER_USER
    rng.shuffle(users)
    return [
        FileEvent(
            user,
            None,
            orjson.dumps({"item_id": f"i{rng.randrange(200)}", "event_type": "like", "timestamp": START_MS + number}),
        )
        for number, user in enumerate(users)
    ]


def last_words(made: Sequence[FileEvent]) -> list[FileEvent]:
    """One more event of every user: when its list is there, everything before it was applied, or never will be."""
    users = sorted({event.user_id for event in made})
    value = orjson.dumps({"item_id": "i1", "event_type": "view", "timestamp": START_MS + 10**6})
    return [FileEvent(user, None, value) for user in users]


def newest(made: Sequence[FileEvent], positions: Sequence[Position]) -> dict[str, int]:
    return {event.user_id: at.offset for event, at in zip(made, positions, strict=True)}


def differences(deployment: Deployment) -> tuple[list[bytes], list[bytes]]:
    """Users whose rows are not those of the reference, and whose lists not those of an undisturbed pass of the core."""
    _, lists = deployment.undisturbed()
    kept, published = deployment.changelog().last, deployment.lists().last
    return (
        wrong_rows(deployment.settings, deployment.interactions(), kept),
        [key for key in lists if without_clock(published.get(key)) != without_clock(lists[key])],
    )


def killed_while_producing_is_slow(
    broker: Broker, prefix: str, folder: Path, *, switched_off: str | None
) -> tuple[list[bytes], list[bytes]]:
    rng = random.Random(1)
    made = events(rng)
    program = ("-m", "stream") if switched_off is None else (str(UNPROTECTED), switched_off)
    with FaultProxy(broker.bootstrap_servers) as proxy:
        proxy.delays[Api.PRODUCE] = SLOW_S
        with Deployment(broker, prefix, folder, servers=proxy.bootstrap_servers, program=program) as deployment:
            deployment.start_worker()
            deployment.wait_for_log("ready")
            share = -(-len(made) // (KILLS + 1))
            for start in range(0, len(made), share):
                for begin in range(start, min(start + share, len(made)), 100):
                    deployment.send(made[begin : min(begin + 100, start + share)])
                    sleep(0.05)
                if start + share < len(made):
                    sleep(rng.uniform(0.6, 1.4))  # offsets are committed every half second
                    deployment.kill_worker()
                    deployment.start_worker()
            proxy.delays.clear()
            words = last_words(made)
            deployment.wait_for_lists(newest(words, deployment.send(words)))
            assert proxy.done["delayed PRODUCE"] > 0
            return differences(deployment)


@pytest.mark.timeout(1800)
def test_kills_with_a_slow_producer_path_lose_nothing(broker: Broker, prefix: str, tmp_path: Path) -> None:
    assert killed_while_producing_is_slow(broker, prefix, tmp_path, switched_off=None) == ([], [])


@pytest.mark.timeout(1800)
def test_without_waiting_for_the_acknowledgement_they_lose_events(broker: Broker, prefix: str, tmp_path: Path) -> None:
    rows, lists = killed_while_producing_is_slow(broker, prefix, tmp_path, switched_off="acknowledgement")
    assert rows
    assert lists


@pytest.mark.timeout(600)
@pytest.mark.parametrize("api", [Api.PRODUCE, Api.OFFSET_COMMIT, Api.FETCH, Api.JOIN_GROUP], ids=lambda api: api.name)
def test_answers_that_are_lost_with_their_connection_cost_no_event(
    broker: Broker, prefix: str, tmp_path: Path, api: Api
) -> None:
    made = events(random.Random(2))[:1500]
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
