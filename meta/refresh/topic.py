"""Reads what a topic holds now, from given positions on, in chunks, and nothing that arrives meanwhile."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

from kafka import TopicPartition
from kafka.errors import OffsetOutOfRangeError

from meta.refresh.kafka import open_consumer, require_topic
from schemas import KafkaSettings
from schemas.errors import BrokerError, DataError

Positions = dict[int, int]
"""The next offset to read, by partition."""
_POLL_MS = 200


class TopicReader:
    """The records between the positions and the ends, which are the high watermarks of the first fetches.

    ListOffsets would tell the ends in one request, but the embedded broker answers it wrongly.
    """

    def __init__(self, consumer: Any, topic: str, positions: Positions, *, expired: int, idle_s: float) -> None:
        self._consumer, self._topic, self._idle_s = consumer, topic, idle_s
        self._ends: Positions = {}
        self.positions = positions
        self.expired = expired
        """Records that the topic dropped before they were read"""

    def take(self, n: int) -> list[Any]:
        """Up to n records, in order per partition; none when all are read. `positions` stand behind them.

        Raises BrokerError where nothing comes though something is there, DataError where the topic was recreated.
        """
        taken: list[Any] = []
        deadline = monotonic() + self._idle_s
        while len(taken) < n and self._open():
            try:
                polled = self._consumer.poll(timeout_ms=_POLL_MS, max_records=n - len(taken))
            except OffsetOutOfRangeError as error:
                raise self._recreated() from error
            if self._advance() or polled:
                deadline = monotonic() + self._idle_s
            elif monotonic() > deadline:
                raise BrokerError(f"topic {self._topic} gave nothing for {self._idle_s:.0f} s: see the broker's log")
            for partition, records in polled.items():
                taken += [record for record in records if record.offset < self._ends[partition.partition]]
        return taken

    def _advance(self) -> bool:
        """Note ends and positions; whether anything is new."""
        moved = False
        for partition in self._consumer.assignment():
            number = partition.partition
            highwater = self._consumer.highwater(partition)
            if number not in self._ends and highwater is not None:
                if highwater < self.positions[number]:
                    raise self._recreated()
                self._ends[number], moved = highwater, True
            if number in self._ends:
                position = min(self._consumer.position(partition), self._ends[number])
                moved = moved or position > self.positions[number]
                self.positions[number] = max(position, self.positions[number])
                if position >= self._ends[number]:
                    self._consumer.pause(partition)
        return moved

    def _open(self) -> bool:
        return any(self.positions[number] < self._ends.get(number, 1 << 62) for number in self.positions)

    def _recreated(self) -> DataError:
        return DataError(
            f"topic {self._topic} ends before the position up to which the archive holds it: it was recreated, or this"
            " is another cluster; use another --archive, or the old one with its own topics"
        )


@contextmanager
def reading(kafka: KafkaSettings, topic: str, positions: Mapping[int, int]) -> Iterator[TopicReader]:
    """A reader from these positions on; partitions without one, and positions that have expired, begin at the oldest.

    Raises BrokerError if Kafka or the topic is missing.
    """
    count = require_topic(kafka, topic)
    with open_consumer(kafka) as consumer:
        partitions = [TopicPartition(topic, number) for number in range(count)]
        consumer.assign(partitions)
        oldest = {each.partition: offset for each, offset in consumer.beginning_offsets(partitions).items()}
        starts = {number: max(positions.get(number, offset), offset) for number, offset in oldest.items()}
        # Once and before the first fetch: a consumer that is sent back later may stop delivering (kafka-python 3).
        for each in partitions:
            consumer.seek(each, starts[each.partition])
        expired = sum(max(0, oldest[number] - position) for number, position in positions.items() if number in oldest)
        yield TopicReader(consumer, topic, starts, expired=expired, idle_s=2 * kafka.request_timeout_s)
