"""Reads a topic from its first record, or another, to what was its end when the reading began."""

from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Any

from schemas import KafkaSettings
from schemas.errors import BrokerError
from stream.clients.connect import broker_errors, open_consumer

_POLL_MS = 200
# A broker that moves its partitions, or restarts, answers again within this time.
_PATIENCE_S = 60.0
_UNKNOWN = 2**63


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
            wanted = [at for at in consumer.assignment() if self._starts is None or at.partition in self._starts]
            consumer.assign(wanted)
            for at, first in consumer.beginning_offsets(wanted).items():
                begin = first if self._starts is None else max(first, self._starts[at.partition])
                consumer.seek(at, begin)
                self.first[at.partition] = first
                self.gaps[at.partition] = -begin
            ends: dict[Any, int] = {}
            deadline = monotonic() + _PATIENCE_S
            while not all(consumer.position(at) >= ends.get(at, _UNKNOWN) for at in wanted):
                found = consumer.poll(timeout_ms=_POLL_MS)
                for at in wanted:
                    if at not in ends and (highwater := consumer.highwater(at)) is not None:
                        ends[at] = highwater
                        self.gaps[at.partition] = max(0, self.gaps[at.partition] + highwater)
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
