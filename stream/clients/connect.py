"""kafka-python as the command line and the tests use it: short timeouts, and errors that an operator can read."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from schemas import KafkaSettings
from schemas.errors import BrokerError

# Together below the 5 s that a person waits before suspecting the tool.
_DIAL_TIMEOUT_S = 2.0
_BOOTSTRAP_TIMEOUT_MS = 3000
# Tansu does not wake a fetch when data arrives, so this is the latency of `watch` there.
_FETCH_MAX_WAIT_MS = 100

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0
"""Between two tries to reach a cluster; doubled from one to the next."""

logger = logging.getLogger("fewstep.worker")


class UnreachableError(BrokerError):
    """No address of the cluster answers; it may yet."""


@contextmanager
def broker_errors(kafka: KafkaSettings) -> Iterator[None]:
    """Turn what a Kafka client raises (kafka-python or aiokafka) into a BrokerError of one line."""
    from aiokafka.errors import KafkaError as AioKafkaError

    try:
        yield
    except (KafkaError, AioKafkaError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise BrokerError(
            f"Kafka at {kafka.bootstrap_servers} failed: {text}; see its log, or run fewstep doctor"
        ) from error


@contextmanager
def open_admin(kafka: KafkaSettings) -> Iterator[Any]:
    """A KafkaAdminClient, closed at the end. Raises BrokerError if Kafka is unreachable."""
    with broker_errors(kafka):
        client = KafkaAdminClient(**_common(kafka))
        try:
            yield client
        finally:
            client.close()


@contextmanager
def open_producer(kafka: KafkaSettings) -> Iterator[Any]:
    """A KafkaProducer with murmur2 partitioning, for single records. Raises BrokerError if Kafka is unreachable."""
    with broker_errors(kafka):
        timeout_ms = round(kafka.request_timeout_s * 1000)
        client = KafkaProducer(
            **_common(kafka),
            allow_auto_create_topics=False,
            request_timeout_ms=timeout_ms,
            delivery_timeout_ms=timeout_ms,
            max_block_ms=timeout_ms,
        )
        try:
            yield client
        finally:
            client.close(timeout=1)


@contextmanager
def open_consumer(kafka: KafkaSettings, topic: str, *, from_beginning: bool) -> Iterator[Any]:
    """A KafkaConsumer without a group on all partitions of `topic`, at their beginning or at their end.

    Raises BrokerError if Kafka is unreachable or has no such topic.
    """
    with open_admin(kafka) as admin:
        count = require_topic(admin, topic, kafka)
    with broker_errors(kafka):
        client = KafkaConsumer(
            **_common(kafka),
            allow_auto_create_topics=False,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=_FETCH_MAX_WAIT_MS,
        )
        try:
            partitions = [TopicPartition(topic, number) for number in range(count)]
            client.assign(partitions)
            client.seek_to_beginning(*partitions)
            if not from_beginning:
                for partition, offset in highwaters(client).items():
                    client.seek(partition, offset)
            yield client
        finally:
            client.close()


def highwaters(consumer: Any) -> dict[Any, int]:
    """The next offset of each assigned partition, as fetches from the current positions tell it.

    `end_offsets` would be one request, but the embedded broker answers it wrongly unless each batch has one record.
    Records that come with these fetches are consumed: seek afterwards.
    """
    known: dict[Any, int] = {}
    while len(known) < len(consumer.assignment()):
        consumer.poll(timeout_ms=_FETCH_MAX_WAIT_MS)
        for partition in consumer.assignment():
            highwater = consumer.highwater(partition)
            if highwater is not None:
                known[partition] = highwater
                consumer.pause(partition)
    consumer.resume(*consumer.assignment())
    return known


def partition_counts(admin: Any) -> dict[str, int]:
    """All topics of the cluster with their partition counts."""
    return {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics()}


def wait_for_broker(kafka: KafkaSettings, *, patience_s: float) -> dict[str, int]:
    """The partition counts of all topics, as soon as the cluster answers; one log line for each try in vain.

    Raises BrokerError if it cannot be reached within `patience_s`, or at once if it answers and refuses.
    """
    deadline, pause = monotonic() + patience_s, FIRST_PAUSE_S
    while True:
        try:
            with open_admin(kafka) as admin:
                return partition_counts(admin)
        except UnreachableError as error:
            left = deadline - monotonic()
            if left <= 0:
                raise
            logger.warning("%s; trying again for %.0f s", error, left)
        sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE_S)


def require_topic(admin: Any, topic: str, kafka: KafkaSettings) -> int:
    """The partition count of `topic`. Raises BrokerError with the remedy if it does not exist."""
    count = partition_counts(admin).get(topic)
    if count is None:
        raise BrokerError(
            f"topic {topic} is missing at {kafka.bootstrap_servers}; create it: "
            f"fewstep topics create --topic-prefix {kafka.topic_prefix}"
        )
    return count


def aiokafka_options(kafka: KafkaSettings) -> dict[str, Any]:
    """What every aiokafka client is given."""
    return {"bootstrap_servers": kafka.bootstrap_servers}


def _common(kafka: KafkaSettings) -> dict[str, Any]:
    _dial(kafka.bootstrap_servers)
    return {"bootstrap_servers": kafka.bootstrap_servers.split(","), "bootstrap_timeout_ms": _BOOTSTRAP_TIMEOUT_MS}


def _dial(servers: str) -> None:
    """Connect once: kafka-python retries a refused connection until its timeout and then does not say why."""
    reason = "no address is given"
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not port.isdigit():
            raise BrokerError(f"{server!r} is not host:port: correct --bootstrap-servers {servers}")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), _DIAL_TIMEOUT_S):
                return
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
    raise UnreachableError(
        f"Kafka at {servers} is unreachable ({reason.lower()}): start it or correct --bootstrap-servers"
    )
