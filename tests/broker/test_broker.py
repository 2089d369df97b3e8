"""One suite for all brokers to run on: Apache Kafka (skipped without KAFKA_HOME) and the embedded one."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from kafka import TopicPartition

from schemas import KafkaSettings
from schemas.errors import BrokerError
from stream.broker import Broker, BrokerKind, open_broker
from stream.broker.process import is_free
from stream.clients.connect import highwaters, open_admin, open_consumer, open_producer, partition_counts

KINDS = ["embedded", "kafka"]

PARENT = """
import sys, time
from stream.broker import open_broker
with open_broker(sys.argv[1]) as broker:
    print(broker.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> BrokerKind:
    if request.param == "kafka" and not os.environ.get("KAFKA_HOME"):
        pytest.skip("KAFKA_HOME is not set: Apache Kafka is not tested")
    chosen: BrokerKind = request.param
    return chosen


@pytest.fixture(scope="module")
def running(kind: BrokerKind) -> Iterator[Broker]:
    with open_broker(kind) as broker:
        yield broker


@pytest.fixture
def kafka(running: Broker) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=running.bootstrap_servers)


@pytest.fixture
def topic(kafka: KafkaSettings, prefix: str) -> str:
    name = f"{prefix}records"
    with open_admin(kafka) as admin:
        configs = {"max.message.bytes": "4000000"}
        admin.create_topics(
            {name: {"num_partitions": 4, "replication_factor": 1, "configs": configs}}, wait_for_metadata=True
        )
    return name


def read(kafka: KafkaSettings, topic: str, count: int) -> list[Any]:
    records: list[Any] = []
    deadline = monotonic() + 30
    with open_consumer(kafka, topic, from_beginning=True) as consumer:
        while len(records) < count:
            assert monotonic() < deadline, f"{len(records)} of {count} records arrived"
            records += [record for batch in consumer.poll(timeout_ms=200).values() for record in batch]
    return records


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # After its parent's end it may stay as a zombie for as long as nobody reaps it.
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return state != "" and not state.startswith("Z")


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = monotonic() + 30
    while not holds():
        assert monotonic() < deadline, "it never came true"
        sleep(0.02)


def test_a_created_topic_has_its_partitions(kafka: KafkaSettings, topic: str) -> None:
    with open_admin(kafka) as admin:
        assert partition_counts(admin)[topic] == 4


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"u", b"v", []),
        (None, b"v", []),
        (b"u", None, []),
        (b"u", b"v", [("reason", b"why"), ("reason", b"again")]),
        (b"\xff\x00", b"\xfe", []),
    ],
)
def test_a_record_comes_back_as_it_was_sent(
    kafka: KafkaSettings, topic: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
) -> None:
    with open_producer(kafka) as producer:
        producer.send(topic, key=key, value=value, headers=headers, partition=2).get(timeout=20)
    (record,) = read(kafka, topic, 1)
    assert (record.key, record.value, list(record.headers)) == (key, value, headers)
    assert (record.partition, record.offset) == (2, 0)


def test_a_topic_may_take_three_megabytes(kafka: KafkaSettings, topic: str) -> None:
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, max_request_size=4_000_000)
    producer.send(topic, value=bytes(3_000_000)).get(timeout=30)
    producer.close()
    assert len(read(kafka, topic, 1)[0].value) == 3_000_000


def test_highwaters_are_right_after_batches_of_many_records(kafka: KafkaSettings, topic: str) -> None:
    with open_producer(kafka) as producer:
        for number in range(300):
            producer.send(topic, value=b"%d" % number, partition=number % 3)
        producer.flush()
    expected = {TopicPartition(topic, number): 100 for number in range(3)} | {TopicPartition(topic, 3): 0}
    with open_consumer(kafka, topic, from_beginning=True) as consumer:
        assert highwaters(consumer) == expected


def test_a_consumer_from_the_end_sees_only_what_comes(kafka: KafkaSettings, topic: str) -> None:
    with open_producer(kafka) as producer:
        for _ in range(50):
            producer.send(topic, value=b"old", partition=1)
        producer.flush()
        with open_consumer(kafka, topic, from_beginning=False) as consumer:
            producer.send(topic, value=b"new", partition=1).get(timeout=20)
            records: list[Any] = []
            deadline = monotonic() + 30
            while not records:
                assert monotonic() < deadline
                records = [record for batch in consumer.poll(timeout_ms=200).values() for record in batch]
    assert [record.value for record in records] == [b"new"]


def test_a_consumer_from_the_end_of_a_long_topic_is_not_deaf(kafka: KafkaSettings, topic: str) -> None:
    """kafka-python stops delivering where it is sent ahead within what it has fetched already."""
    with open_producer(kafka) as producer:
        for _ in range(6000):
            producer.send(topic, value=b"x" * 800, partition=1)
        producer.flush()
        with open_consumer(kafka, topic, from_beginning=False) as consumer:
            for number in range(3):
                producer.send(topic, value=b"%d" % number, partition=1).get(timeout=20)
            records: list[Any] = []
            deadline = monotonic() + 30
            while len(records) < 3:
                assert monotonic() < deadline, f"{len(records)} of 3 records arrived"
                records += [record for batch in consumer.poll(timeout_ms=200).values() for record in batch]
    assert [record.value for record in records] == [b"0", b"1", b"2"]


def test_starting_a_running_broker_changes_nothing(running: Broker) -> None:
    before = running.pid, running.bootstrap_servers
    running.start()
    assert (running.pid, running.bootstrap_servers) == before


def test_a_second_broker_takes_another_port(running: Broker) -> None:
    with open_broker("embedded") as second:
        assert second.bootstrap_servers != running.bootstrap_servers


def test_a_taken_port_is_named(kind: BrokerKind, running: Broker) -> None:
    port = int(running.bootstrap_servers.rpartition(":")[2])
    with pytest.raises(BrokerError, match=f"cannot listen on 127.0.0.1:{port}"):
        open_broker(kind, port=port).start()


def test_a_killed_broker_comes_back_at_its_address_and_stop_leaves_nothing(
    kind: BrokerKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with open_broker(kind) as broker:
        address, first = broker.bootstrap_servers, broker.pid
        kafka = KafkaSettings(bootstrap_servers=address)
        with open_admin(kafka) as admin:
            admin.create_topics({"kept": {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
        broker.kill()
        assert first is not None
        assert broker.pid is None
        assert not is_running(first)
        broker.restart()
        assert broker.bootstrap_servers == address
        with open_admin(kafka) as admin:
            assert ("kept" in partition_counts(admin)) == broker.keeps_data
        second = broker.pid
    assert second is not None
    assert not is_running(second)
    assert list(tmp_path.iterdir()) == []
    assert is_free(int(address.rpartition(":")[2]))


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_neither_broker_nor_files_outlive_the_parent(kind: BrokerKind, name: str, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, kind],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    with parent.stdout as said:
        pid = int(said.readline())
    assert is_running(pid)
    parent.send_signal(getattr(signal, name))
    parent.wait(30)
    wait_until(lambda: not is_running(pid))
    wait_until(lambda: list(tmp_path.iterdir()) == [])


def test_a_broker_that_was_not_started_has_no_address(kind: BrokerKind) -> None:
    broker = open_broker(kind)
    with pytest.raises(BrokerError, match="start it first"):
        _ = broker.bootstrap_servers
    with pytest.raises(BrokerError, match="was not started"):
        broker.restart()


def test_a_broker_that_ended_by_itself_is_started_again() -> None:
    with open_broker("embedded") as broker:
        first = broker.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: broker.pid is None)
        broker.start()
        assert broker.pid not in (None, first)
