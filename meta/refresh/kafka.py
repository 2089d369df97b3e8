"""kafka-python as the trainer uses it: no consumer group, nothing committed, errors that an operator can read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError
from pydantic_settings import SettingsConfigDict

from schemas import KafkaSettings
from schemas.dialing import dialed, failure
from schemas.errors import BrokerError
from schemas.sources import Sources

_BOOTSTRAP_TIMEOUT_MS = 10_000
_POLL_RECORDS = 5000


class _Sources(Sources):
    """The Kafka section of the settings that the worker reads, from the same places."""

    model_config = SettingsConfigDict(extra="ignore")

    kafka: KafkaSettings = KafkaSettings()


def kafka_settings(**flags: str | None) -> KafkaSettings:
    """The settings, with the flags that are not None on top. Raises ConfigurationError naming what is wrong."""
    return _Sources.load(kafka=flags).kafka


@contextmanager
def open_admin(kafka: KafkaSettings) -> Iterator[Any]:
    """A KafkaAdminClient, closed at the end. Raises BrokerError if Kafka is unreachable or fails."""
    with _broker_errors(kafka):
        client = KafkaAdminClient(**_common(kafka))
        try:
            yield client
        finally:
            client.close()


@contextmanager
def open_consumer(kafka: KafkaSettings) -> Iterator[Any]:
    """A KafkaConsumer without a group and without partitions yet. Raises BrokerError if Kafka fails."""
    with _broker_errors(kafka):
        client = KafkaConsumer(
            **_common(kafka),
            allow_auto_create_topics=False,
            enable_auto_commit=False,
            isolation_level="read_committed",  # as the worker: what a producer aborted is no event
            auto_offset_reset="none",  # a position that is gone is for us to notice
            fetch_max_wait_ms=kafka.fetch_max_wait_ms,
            max_poll_records=_POLL_RECORDS,
        )
        try:
            yield client
        finally:
            client.close()


def produce(kafka: KafkaSettings, topic: str, *, key: str, value: bytes) -> None:
    """Send one record and wait until it is acknowledged. Raises BrokerError."""
    timeout_ms = round(kafka.request_timeout_s * 1000)
    with _broker_errors(kafka):
        client = KafkaProducer(
            **_common(kafka),
            acks="all",
            allow_auto_create_topics=False,
            request_timeout_ms=timeout_ms,
            delivery_timeout_ms=timeout_ms,
            max_block_ms=timeout_ms,
        )
        try:
            client.send(topic, key=key.encode(), value=value).get(timeout=kafka.request_timeout_s)
        finally:
            client.close(timeout=1)


def require_topic(kafka: KafkaSettings, topic: str) -> int:
    """The partition count of a topic. Raises BrokerError with the remedy where it is missing."""
    with open_admin(kafka) as admin:
        for found in admin.describe_topics():
            if found["name"] == topic:
                return len(found["partitions"])
    raise BrokerError(
        f"topic {topic} is missing at {kafka.bootstrap_servers}; create it: "
        f"fewstep topics create --topic-prefix {kafka.topic_prefix}"
    )


@contextmanager
def _broker_errors(kafka: KafkaSettings) -> Iterator[None]:
    try:
        yield
    except KafkaError as error:
        raise failure(kafka, error) from error


def _common(kafka: KafkaSettings) -> dict[str, Any]:
    return {**dialed(kafka), "bootstrap_timeout_ms": _BOOTSTRAP_TIMEOUT_MS}
