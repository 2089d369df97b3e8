"""What a program under measurement left on a topic: its lists, what they cover, and when it was at work."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from time import monotonic
from typing import Any, NamedTuple

import orjson
from kafka import TopicPartition

from schemas import KafkaSettings
from schemas.errors import BrokerError
from stream.clients.connect import broker_errors, highwaters, open_consumer

_POLL_MS = 200
_PATIENCE_S = 60.0


class Written(NamedTuple):
    """The lists of one run."""

    began: float
    """Wall-clock seconds at which the first event was taken in hand: the earliest `generated_at`."""
    ended: float
    """Wall-clock seconds at which the last list was handed to the producer: the latest record timestamp."""
    lists: int
    value_bytes: int
    applied: dict[int, int]
    """By source partition, the offset after the newest one that a list includes."""


def ends(kafka: KafkaSettings, topic: str) -> dict[int, int]:
    """The next offset of each partition. Raises BrokerError if Kafka or the topic is missing."""
    with open_consumer(kafka, topic, from_beginning=True) as consumer, broker_errors(kafka):
        return {at.partition: end for at, end in highwaters(consumer).items()}


def read_written(kafka: KafkaSettings, topic: str, *, since: Mapping[int, int]) -> Written:
    """Read what was written from these offsets on. Raises BrokerError if nothing was."""
    began, ended, lists, size = float("inf"), 0.0, 0, 0
    applied: dict[int, int] = {}
    for record in _records(kafka, topic, since):
        found = orjson.loads(record.value)
        began = min(began, _seconds(found["generated_at"]))
        ended = max(ended, record.timestamp / 1000)
        source = found["source"]
        applied[source["partition"]] = max(applied.get(source["partition"], 0), source["offset"] + 1)
        lists += 1
        size += len(record.value)
    if not lists:
        raise BrokerError(f"no list was written to {topic} at {kafka.bootstrap_servers}; run fewstep doctor")
    return Written(began, ended, lists, size, applied)


def _records(kafka: KafkaSettings, topic: str, since: Mapping[int, int]) -> Iterator[Any]:
    """All records from these offsets to the end that the topic has now."""
    last = ends(kafka, topic)  # by a consumer of its own: sent back to where it already was, one gets nothing more
    with open_consumer(kafka, topic, from_beginning=True) as consumer, broker_errors(kafka):
        for partition, offset in since.items():
            consumer.seek(TopicPartition(topic, partition), offset)
        deadline = monotonic() + _PATIENCE_S
        while any(consumer.position(TopicPartition(topic, number)) < end for number, end in last.items()):
            if monotonic() > deadline:
                raise BrokerError(f"{topic} at {kafka.bootstrap_servers} gave no record for {_PATIENCE_S:.0f} s")
            for records in consumer.poll(timeout_ms=_POLL_MS).values():
                deadline = monotonic() + _PATIENCE_S
                yield from records


def _seconds(generated_at: str | float) -> float:
    """The worker writes RFC 3339, the plain programs what `time()` gives."""
    return datetime.fromisoformat(generated_at).timestamp() if isinstance(generated_at, str) else generated_at
