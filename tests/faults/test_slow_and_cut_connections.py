"""F7, F13, F14, F19: answers of the broker come late, or are lost with their connection, and nothing can be seen of it.

FEWSTEP_TEST_EVENTS and FEWSTEP_TEST_KILLS set the size of the kills with a slow producer path. FEWSTEP_TEST_ALL adds
the longest of the scenarios that have to fail because a protection is switched off.
"""

import os
import random
from functools import partial
from pathlib import Path
from time import monotonic, sleep

import pytest
from deployment import DEADLINE_S, Deployment
from proxy import Api, FaultProxy, behind_a_proxy
from traffic import Wrong, altered, committed, differences, events, last_words, newest, settled, wait_until

from schemas import Role
from stream.broker import Broker
from stream.clients.event_file import FileEvent
from stream.shell.failstop import EXIT_FAILED

EVENTS = int(os.environ.get("FEWSTEP_TEST_EVENTS", "1500"))
KILLS = int(os.environ.get("FEWSTEP_TEST_KILLS", "2"))
CHUNK = 100
SLOW_S = (0.3, 1.0)
COMMITS_WITHIN_S = 3.0
"""Offsets are committed every half second: what is not committed after this is held back."""


@pytest.mark.timeout(1800)
def test_kills_with_a_slow_producer_path_lose_nothing(broker: Broker, prefix: str, tmp_path: Path) -> None:
    rng = random.Random(1)
    made = events(rng, EVENTS)
    with FaultProxy(broker.bootstrap_servers) as proxy:
        proxy.delays[Api.PRODUCE] = SLOW_S
        with Deployment(broker, prefix, tmp_path, servers=proxy.bootstrap_servers) as deployment:
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
            assert differences(deployment) == ([], [])


def killed_before_the_broker_has_answered(
    broker: Broker, prefix: str, folder: Path, *changes: str
) -> tuple[int, Wrong, set[bytes]]:
    """From the second half of the events on nothing reaches the broker, and the worker dies as soon as it has committed
    those, or had the time to. Gives the offset that it has committed, what differs in the end, and who has a letter."""
    made = events(random.Random(1), 400)
    bad = [FileEvent(f"u{number}", None, b"{ no event") for number in range(3)]
    with (
        FaultProxy(broker.bootstrap_servers) as proxy,
        Deployment(
            broker,
            prefix,
            folder,
            servers=proxy.bootstrap_servers,
            partitions=1,
            store="memory",
            program=altered(*changes),
        ) as deployment,
    ):
        deployment.start_worker()
        deployment.wait_for_log("ready:")
        proxy.delays[Api.PRODUCE] = (600, 600)
        deployment.send(made[:200])
        wait_until(lambda: proxy.done["delayed PRODUCE"] > 0)  # the producer sends nothing more before it is answered
        deployment.send(bad + made[200:])
        patience = monotonic() + (DEADLINE_S if changes else COMMITS_WITHIN_S)
        while (done := committed(deployment).get(0, 0)) < 403 and monotonic() < patience:
            sleep(0.1)
        deployment.kill_worker()
        proxy.delays.clear()
        deployment.start_worker()
        wrong = settled(deployment, made)
        letters = deployment.records(deployment.topic(Role.DEAD_LETTERS))
        return done, wrong, {dict(one.headers)["__connect.errors.offset"] for one in letters}


LETTERS = {b"200", b"201", b"202"}


def test_a_worker_that_dies_before_the_broker_has_answered_has_committed_nothing_of_it(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    assert killed_before_the_broker_has_answered(broker, prefix, tmp_path) == (0, ([], []), LETTERS)


@pytest.mark.skipif(not os.environ.get("FEWSTEP_TEST_ALL"), reason="takes a minute; FEWSTEP_TEST_ALL is not set")
def test_without_waiting_for_the_answer_it_has_committed_all_and_lost_the_dead_letters(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    done, _, letters = killed_before_the_broker_has_answered(broker, prefix, tmp_path, "without_acknowledgement")
    assert (done, letters) == (403, set())


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


def cut_for_good(broker: Broker, prefix: str, folder: Path) -> tuple[Wrong, int]:
    """A producer that does not send again loses answers twice. Gives what differs in the end, and how often the worker
    has ended."""
    made = events(random.Random(2), 600)
    with behind_a_proxy(broker, prefix, folder, program=altered("without_resending")) as (proxy, deployment):

        def is_cut(wanted: int) -> bool:
            deployment.revive()
            return proxy.done["cut PRODUCE"] == wanted

        for number, start in enumerate((0, 200), 1):
            proxy.cuts[Api.PRODUCE] = 1
            deployment.send(made[start : start + 200])
            wait_until(partial(is_cut, number))
        deployment.send(made[400:])
        return settled(deployment, made), deployment.log().read_text().count("a poll could not be applied")


def test_an_answer_that_is_lost_for_good_ends_the_worker_and_costs_no_event(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    assert cut_for_good(broker, prefix, tmp_path) == (([], []), 2)


def never_sent(broker: Broker, prefix: str, folder: Path, *changes: str) -> tuple[int, int]:
    """The only message that carries three dead letters gets lost on its way, and is not sent again. Gives how many
    letters there are when all is committed, and how often a worker was ready."""
    program = altered("without_resending", *changes)
    with behind_a_proxy(broker, prefix, folder, program=program, partitions=1) as (proxy, deployment):
        proxy.losses[Api.PRODUCE] = 1
        deployment.send([FileEvent(f"u{number}", None, b"{ no event") for number in range(3)])

        def is_committed() -> bool:
            deployment.revive()
            return committed(deployment).get(0, 0) == 3

        wait_until(is_committed)
        assert proxy.done["lost PRODUCE"] == 1
        letters = deployment.records(deployment.topic(Role.DEAD_LETTERS))
        return len(letters), deployment.log().read_text().count("ready:")


def test_what_never_reached_the_broker_ends_the_worker_and_is_sent_by_the_next(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    assert never_sent(broker, prefix, tmp_path) == (3, 2)


def test_where_it_counts_as_sent_it_is_lost(broker: Broker, prefix: str, tmp_path: Path) -> None:
    assert never_sent(broker, prefix, tmp_path, "without_complaint") == (0, 1)


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


def started_with_a_cleared_queue(deployment: Deployment, folder: Path) -> list[FileEvent]:
    """Half of the events wait when the worker starts, and the first poll of them is fetched and gone."""
    made = events(random.Random(5), 600)
    deployment.start_worker()
    deployment.wait_for_lists(newest(made[:300], deployment.send(made[:300])))
    assert deployment.stop_worker() == 0
    deployment.send(made[300:450])
    (folder / "obstructed").touch()
    deployment.start_worker()
    wait_until(lambda: not (folder / "obstructed").exists())
    deployment.send(made[450:])
    return made


def with_a_cleared_queue(broker: Broker, prefix: str, folder: Path, *changes: str) -> Deployment:
    environment, program = {"OBSTRUCTED": str(folder / "obstructed")}, altered("cleared_queue", *changes)
    return Deployment(broker, prefix, folder, partitions=1, environment=environment, program=program)


def test_a_poll_that_is_missing_ends_the_worker_before_a_later_one_is_applied(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    with with_a_cleared_queue(broker, prefix, tmp_path) as deployment:
        made = started_with_a_cleared_queue(deployment, tmp_path)
        assert deployment.wait_for_exit() == EXIT_FAILED
        assert "expected 300" in deployment.log().read_text()
        deployment.start_worker()
        assert settled(deployment, made) == ([], [])


def test_where_nobody_misses_it_its_events_are_lost(broker: Broker, prefix: str, tmp_path: Path) -> None:
    with with_a_cleared_queue(broker, prefix, tmp_path, "without_contiguity") as deployment:
        rows, lists = settled(deployment, started_with_a_cleared_queue(deployment, tmp_path))
        assert rows
        assert lists
