"""Reads a topic from its first record to what was its end when the reading began."""

from collections.abc import Iterator
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

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._kafka, self._topic = kafka, topic
        self.first: dict[int, int] = {}
        """The first offset of each partition that retention has left."""
        self.gaps: dict[int, int] = {}
        """How many offsets after it hold no record: compaction removed it, or it is the end of a transaction."""

    def __iter__(self) -> Iterator[Any]:
        """Consumed records, in order per partition. Raises BrokerError if Kafka fails or has no such topic."""
        with open_consumer(self._kafka, self._topic, from_beginning=True) as consumer, broker_errors(self._kafka):
            assigned = consumer.assignment()
            starts = consumer.beginning_offsets(list(assigned))
            ends = highwaters(consumer)
            for at, start in starts.items():
                consumer.seek(at, start)
                self.first[at.partition], self.gaps[at.partition] = start, ends[at] - start
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
