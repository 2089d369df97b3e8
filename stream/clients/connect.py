"""kafka-python as the command line and the tests use it: short timeouts, and errors that an operator can read."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any, NamedTuple

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import MemberToRemove
from kafka.errors import (
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    KafkaError,
    NotCoordinatorError,
)

from schemas import KafkaSettings
from schemas.dialing import UnreachableError, dialed, failure
from schemas.errors import BrokerError
from schemas.security import security_options

# With the dialing together below the 5 s that a person waits before suspecting the tool.
_BOOTSTRAP_TIMEOUT_MS = 3000
# Tansu does not wake a fetch when data arrives, so this is the latency of `watch` there.
_FETCH_MAX_WAIT_MS = 100

_COORDINATOR_TRIES = 10
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0
"""Between two tries to reach a cluster; doubled from one to the next."""

logger = logging.getLogger("fewstep.worker")


class TopicFacts(NamedTuple):
    """What the cluster tells of a topic."""

    partitions: int
    topic_id: str
    """Another one after the topic was deleted and created again."""
    rights: frozenset[str] | None
    """What we may do with it, such as READ and WRITE; None if the broker does not tell."""


@contextmanager
def broker_errors(kafka: KafkaSettings) -> Iterator[None]:
    """Turn what a Kafka client raises (kafka-python or aiokafka) into a BrokerError of one line."""
    from aiokafka.errors import KafkaError as AioKafkaError

    try:
        yield
    except (KafkaError, AioKafkaError) as error:
        raise failure(kafka, error) from error


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
    partitions = [TopicPartition(topic, number) for number in range(count)]
    with broker_errors(kafka):
        ends: dict[Any, int] = {}
        if not from_beginning:
            # By a client of its own: kafka-python stops delivering where it is sent to what it has fetched and dropped.
            with _new_consumer(kafka, partitions) as asking:
                ends = highwaters(asking)
        with _new_consumer(kafka, partitions) as client:
            for partition, offset in ends.items():
                client.seek(partition, offset)
            yield client


@contextmanager
def _new_consumer(kafka: KafkaSettings, partitions: list[Any]) -> Iterator[Any]:
    """A consumer at the beginning of these partitions, closed at the end."""
    client = KafkaConsumer(
        **_common(kafka),
        allow_auto_create_topics=False,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=_FETCH_MAX_WAIT_MS,
    )
    try:
        client.assign(partitions)
        client.seek_to_beginning(*partitions)
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


def topic_facts(admin: Any) -> dict[str, TopicFacts]:
    """All topics of the cluster that we have a right to describe."""
    return {
        topic["name"]: TopicFacts(
            len(topic["partitions"]),
            str(topic["topic_id"]),
            None if topic["authorized_operations"] is None else frozenset(topic["authorized_operations"]),
        )
        for topic in admin.describe_topics()
    }


def may_join(admin: Any, group: str) -> bool:
    """Whether we have the right to Read on a consumer group, which may not exist yet.

    A member that was never there is asked to leave: that needs the same right as joining, and changes nothing.
    """
    for _ in range(_COORDINATOR_TRIES):
        try:
            admin.remove_group_members(group, [MemberToRemove(member_id="fewstep-preflight")])
        except GroupAuthorizationFailedError:
            return False
        except (CoordinatorNotAvailableError, NotCoordinatorError):  # a new cluster makes its offsets topic first
            sleep(FIRST_PAUSE_S)
        except KafkaError:  # no such group, no such member: we were heard
            return True
        else:
            return True
    return True  # not to be known now; without the right the watchdog will end the worker


def partition_counts(admin: Any) -> dict[str, int]:
    """All topics of the cluster with their partition counts."""
    return {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics()}


def wait_for_broker(kafka: KafkaSettings, *, patience_s: float) -> dict[str, TopicFacts]:
    """All topics that we may see, as soon as the cluster answers; one log line for each try in vain.

    Raises BrokerError if it cannot be reached within `patience_s`, or at once if it answers and refuses.
    """
    deadline, pause = monotonic() + patience_s, FIRST_PAUSE_S
    while True:
        try:
            with open_admin(kafka) as admin:
                return topic_facts(admin)
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
    """Address and security, for any aiokafka client. Raises ConfigurationError for TLS files that do not serve."""
    return {"bootstrap_servers": kafka.bootstrap_servers, **security_options(kafka)}


def _common(kafka: KafkaSettings) -> dict[str, Any]:
    return {**dialed(kafka), "bootstrap_timeout_ms": _BOOTSTRAP_TIMEOUT_MS}
