"""F6, F7, F21: a broken producer, dead letters that Kafka does not take, and a changelog that cannot be read.

Each ends the worker before anything is committed that was not applied, and says what to do.
"""

import random
from pathlib import Path

import pytest
from deployment import Deployment
from proxy import Api, behind_a_proxy
from traffic import altered, committed, event, events, newest, settled

from schemas import Role
from stream.broker import Broker
from stream.clients.connect import open_producer
from stream.clients.event_file import FileEvent
from stream.core.codec import encode
from stream.core.state import EMPTY
from stream.shell.failstop import EXIT_FAILED
from stream.topics import changelog_topic

LIMIT = {"FEWSTEP_LIMITS__DEAD_LETTER_SHARE": "0.5", "FEWSTEP_LIMITS__DEAD_LETTER_WINDOW": "100"}


def bad(count: int) -> list[FileEvent]:
    return [FileEvent(f"u{number % 9}", None, b"{ no event") for number in range(count)]


def flooded_with_bad_events(deployment: Deployment) -> None:
    """50 sound events, which are applied, then 400 bad ones."""
    deployment.start_worker()
    made = [event(f"u{number}", "i1") for number in range(50)]
    deployment.wait_for_lists(newest(made, deployment.send(made)))
    deployment.send(bad(400))


def test_a_producer_that_sends_nothing_sound_stops_the_worker_before_all_is_refused(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    with Deployment(broker, prefix, tmp_path, partitions=1, environment=LIMIT) as deployment:
        flooded_with_bad_events(deployment)
        assert deployment.wait_for_exit() == 3
        assert "mend the producer, or raise the limit" in deployment.log().read_text()
        letters = len(deployment.records(deployment.topic(Role.DEAD_LETTERS)))
        assert letters <= 100
        assert committed(deployment)[0] <= 50 + letters
        deployment.start_worker(environment={"FEWSTEP_LIMITS__DEAD_LETTER_SHARE": "1"})
        assert settled(deployment, [event("u1", "i2")]) == ([], [])
        assert len(deployment.records(deployment.topic(Role.DEAD_LETTERS))) == 400


def test_without_the_limit_all_of_it_is_refused(broker: Broker, prefix: str, tmp_path: Path) -> None:
    program = altered("without_letter_limit")
    with Deployment(broker, prefix, tmp_path, partitions=1, environment=LIMIT, program=program) as deployment:
        flooded_with_bad_events(deployment)
        word = event("u1", "i2")
        deployment.wait_for_lists(newest([word], deployment.send([word])))
        assert len(deployment.records(deployment.topic(Role.DEAD_LETTERS))) == 400


@pytest.mark.timeout(300)
def test_dead_letters_that_kafka_does_not_take_cost_no_event(broker: Broker, prefix: str, tmp_path: Path) -> None:
    environment = {"FEWSTEP_KAFKA__REQUEST_TIMEOUT_S": "4"}
    with behind_a_proxy(broker, prefix, tmp_path, environment=environment, partitions=1) as (proxy, deployment):
        proxy.delays[Api.PRODUCE] = (600, 600)  # nothing is acknowledged any more; the letter is the first to be sent
        deployment.send(bad(3) + events(random.Random(3), 400))
        assert deployment.wait_for_exit() == EXIT_FAILED
        assert "a poll could not be applied" in deployment.log().read_text()
        assert committed(deployment)[0] == 0
        proxy.delays.clear()
        deployment.start_worker()
        assert settled(deployment, events(random.Random(3), 400)) == ([], [])
        letters = deployment.records(deployment.topic(Role.DEAD_LETTERS))
        assert {dict(one.headers)["__connect.errors.offset"] for one in letters} == {b"0", b"1", b"2"}


def test_a_damaged_row_in_the_changelog_stops_the_worker_naming_it(broker: Broker, prefix: str, tmp_path: Path) -> None:
    row = bytearray(encode(EMPTY._replace(features=b'{"city":"Bergen"}')))
    row[-3] ^= 1
    with Deployment(broker, prefix, tmp_path, partitions=1) as deployment:
        with open_producer(deployment.settings.kafka) as producer:
            topic = changelog_topic(deployment.settings.worker.app_id)
            producer.send(topic, key=b"ann", value=encode(EMPTY), partition=0).get(timeout=20)
            producer.send(topic, key=b"ann", value=bytes(row), partition=0).get(timeout=20)
        deployment.start_worker()
        assert deployment.wait_for_exit() == 1
        said = deployment.log().read_text()
        assert f"{topic} 0 at offset 1: the row of user sha256:" in said
        assert "is damaged" in said
        assert "Bergen" not in said
