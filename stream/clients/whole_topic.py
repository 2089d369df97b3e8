"""Reads a topic from its first record, or another, to what was its end when the reading began."""

from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any

from schemas import KafkaSettings
from schemas.errors import BrokerError
from stream.clients.connect import broker_errors, highwaters, open_consumer

_POLL_MS = 200
# A broker that moves its partitions, or restarts, answers again within this time.
_PATIENCE_S = 60.0


class WholeTopic:
    """Iterate over it once; then `first` and `gaps` say what there was."""

    def __init__(self, kafka: KafkaSettings, topic: str, starts: Mapping[int, int] | None = None) -> None:
        """With `starts`, only those partitions, each from that offset on."""
        self._kafka, self._topic, self._starts = kafka, topic, starts
        self.first: dict[int, int] = {}
        """The first offset of each partition that retention has left."""
        self.gaps: dict[int, int] = {}
        """How many of the offsets that were read hold no record: it was compacted, or is the end of a transaction."""

    def __iter__(self) -> Iterator[Any]:
        """Consumed records, in order per partition. Raises BrokerError if Kafka fails or has no such topic."""
        with open_consumer(self._kafka, self._topic, from_beginning=True) as consumer, broker_errors(self._kafka):
            assigned = consumer.assignment()
            starts = consumer.beginning_offsets(list(assigned))
            ends = highwaters(consumer)
            for at, first in starts.items():
                begin = first if self._starts is None else max(first, self._starts.get(at.partition, ends[at]))
                consumer.seek(at, begin)
                self.first[at.partition], self.gaps[at.partition] = first, max(0, ends[at] - begin)
            deadline = monotonic() + _PATIENCE_S
            while any(consumer.position(at) < end for at, end in ends.items()):
                found = consumer.poll(timeout_ms=_POLL_MS)
                for at, records in found.items():
                    for record in records:
                        if record.offset < ends[at]:
                            self.gaps[at.partition] -= 1
                            yield record
                if found:
                    deadline = monotonic() + _PATIENCE_S
                elif monotonic() > deadline:
                    raise BrokerError(
                        f"topic {self._topic} at {self._kafka.bootstrap_servers} gave no record for "
                        f"{_PATIENCE_S:.0f} s before its end: see the broker's log"
                    )
