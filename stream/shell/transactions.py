"""Exactly once: lists, rows, dead letters and offsets of a batch in one Kafka transaction.

The unit is a partition *number*: interactions, requests and users of number p are co-partitioned and always assigned
together, their state is changelog partition p, and all of it is written by one producer with the transactional id of
that number. Starting that producer ends a predecessor's open transaction and fences it for good. So it is started on
assignment, before changelog or committed offsets are read: what is then read cannot change any more. The id has to be
one per number because aiokafka's offset commits carry no generation that the broker could fence by.
"""

import asyncio
from collections.abc import Callable, Set
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from schemas import KafkaSettings
from stream.clients.connect import aiokafka_options
from stream.core.records import Outcome
from stream.shell.agent import Topics, route
from stream.shell.delivery import LocalRows
from stream.shell.polls import Poll
from stream.shell.publisher import publish

TRANSACTION_TIMEOUT_S = 10.0
"""The broker aborts a transaction that a dead worker left; until then read_committed readers wait behind it."""

RETRY_BACKOFF_MS = 5
"""The end of a transaction is answered before its markers are written; until they are, a few milliseconds later, the
next one is refused. aiokafka would wait 100."""

COMMIT_MARKERS = 1
"""Offsets that the end of a transaction takes in each partition that it wrote to."""


def transactional_id(app_id: str, partition: int | str) -> str:
    """The transactional id of a partition number; rights are granted on the prefix `<app id>-tx-`."""
    return f"{app_id}-tx-{partition}"


def new_producer(kafka: KafkaSettings, identity: str, *, max_request_bytes: int) -> Any:
    """An aiokafka producer with this transactional id; it is not started."""
    return AIOKafkaProducer(
        **aiokafka_options(kafka),
        transactional_id=identity,
        transaction_timeout_ms=round(TRANSACTION_TIMEOUT_S * 1000),
        request_timeout_ms=round(kafka.request_timeout_s * 1000),
        retry_backoff_ms=RETRY_BACKOFF_MS,
        max_batch_size=max_request_bytes,
        max_request_size=max_request_bytes,
    )


class ExactlyOnce:
    """One transactional producer per assigned partition number; their transactions run side by side."""

    commits_offsets = True

    def __init__(
        self,
        new_producer: Callable[[str], Any],
        topics: Topics,
        rows: LocalRows,
        *,
        app_id: str,
        topic_note: str,
        timeout_s: float,
    ) -> None:
        self._new_producer, self._topics, self._rows = new_producer, topics, rows
        self._app_id, self._topic_note, self._timeout_s = app_id, topic_note, timeout_s
        self._producers: dict[int, Any] = {}

    async def begin(self, partitions: Set[int]) -> None:
        """Start a producer for each number, which fences whoever had it. Raises TimeoutError if that takes too long."""
        await self.end()
        self._producers = {
            number: self._new_producer(transactional_id(self._app_id, number)) for number in sorted(partitions)
        }
        async with asyncio.timeout(self._timeout_s):
            await asyncio.gather(*(producer.start() for producer in self._producers.values()))

    async def deliver(self, poll: Poll, outcome: Outcome) -> None:
        """Commit one transaction per partition number of the poll, each followed by its rows in the local store."""
        ends: dict[int, dict[TopicPartition, OffsetAndMetadata]] = {}
        for part in poll.slices:
            end = OffsetAndMetadata(part.end, self._topic_note)
            ends.setdefault(part.partition, {})[TopicPartition(part.topic, part.partition)] = end
        shares = by_number(outcome)
        await asyncio.gather(
            *(self._commit(number, ends[number], shares.get(number, Outcome())) for number in ends),
        )

    async def _commit(self, number: int, ends: dict[TopicPartition, OffsetAndMetadata], outcome: Outcome) -> None:
        producer = self._producers[number]
        outgoing, rows = route(outcome, self._topics)
        await producer.begin_transaction()
        # One after the other: while the coordinator takes in the group, Kafka refuses what is produced, as if replicas
        # were missing. And the group first: aiokafka gives a refused partition 20 ms, whatever the option says.
        await producer.send_offsets_to_transaction(ends, self._app_id)
        offsets = await publish(producer, outgoing | rows)
        await producer.commit_transaction()
        for at, messages in rows.items():
            self._rows.write(at, messages, offsets[at])

    async def end(self) -> None:
        """Close the producers; no transaction is open."""
        producers, self._producers = self._producers, {}
        await asyncio.gather(*(producer.stop() for producer in producers.values()))


def by_number(outcome: Outcome) -> dict[int, Outcome]:
    """What each partition number has part in, in the order of the whole; without counts."""
    shares: dict[int, Outcome] = {}
    for kind in ("rows", "recommendations", "dead_letters"):
        for message in getattr(outcome, kind):
            share = shares.get(message.partition)
            if share is None:
                share = shares[message.partition] = Outcome()
            getattr(share, kind).append(message)
    return shares
