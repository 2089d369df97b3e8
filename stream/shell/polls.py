"""A poll: what one fetch returned, handed through Faust as one value instead of one message at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Slice(NamedTuple):
    """The records of one partition in one fetch.

    `start` is the position before the fetch and `end` the one after it. Offsets in between may be missing (compaction,
    transaction markers), so `end` can lie beyond the last record's offset + 1, and `records` can be empty.
    """

    topic: str
    partition: int
    start: int
    end: int
    records: Sequence[Any]
    """aiokafka ConsumerRecords, raw bytes."""


class Fetched(NamedTuple):
    """The outcome of one fetch over all active partitions."""

    slices: list[Slice]
    highwaters: dict[tuple[str, int], int]
    """End offset per (topic, partition), as the fetch answers gave it; only partitions that were answered."""
    answered_ms: int = 0
    """Wall-clock time of the newest fetch answer, 0 if there was none."""


@dataclass(frozen=True, slots=True)
class Poll:
    """The source slices of one fetch. It is void once the consumer's epoch has moved on."""

    epoch: int
    slices: list[Slice]

    def __len__(self) -> int:
        return sum(len(part.records) for part in self.slices)
