"""How an outcome leaves the worker: published, acknowledged, stored. One protocol, a guarantee each.

`AtLeastOnce` is here: a list may be published twice around a crash, with equal content. `stream.shell.transactions` has
the other.
"""

from collections.abc import Callable, Set
from typing import Any, Protocol

from faust.types import TP

from stream.core.records import Message, Outcome
from stream.shell.agent import Progress, Topics, route
from stream.shell.polls import Poll
from stream.shell.publisher import Partition, publish
from stream.shell.rows import MemoryRows, RocksRows, write_acknowledged


class Delivery(Protocol):
    """What a delivery guarantee does at each turn of a partition's life."""

    commits_offsets: bool
    """Offsets are committed with the outputs, so that the consumer must not."""

    async def begin(self, partitions: Set[int]) -> None:
        """These partition numbers were assigned; nothing of them has been read yet."""

    async def deliver(self, poll: Poll, outcome: Outcome) -> None:
        """Return once an outcome is acknowledged (and, where it commits offsets, committed) and then stored.

        Anything raised means that this is not known: the caller has to die of it.
        """

    async def end(self) -> None:
        """The partitions are given up; no poll is in hand."""


class LocalRows:
    """The local store, as a delivery writes it."""

    def __init__(self, store: MemoryRows | RocksRows, progress: Progress, *, markers: int) -> None:
        self._store, self._progress, self._markers = store, progress, markers

    def write(self, at: Partition, messages: list[Message], first_offset: int) -> None:
        """Store rows of which the changelog has the first at `first_offset`."""
        if not write_acknowledged(self._store, TP(*at), messages, first_offset, markers=self._markers):
            self._progress.counts["foreign_rows"] += 1


class AtLeastOnce:
    """Publishes a poll's outcome in one round trip; the consumer commits the offsets some time later."""

    commits_offsets = False

    def __init__(self, producer: Callable[[], Any], topics: Topics, rows: LocalRows) -> None:
        self._producer, self._topics, self._rows = producer, topics, rows

    async def begin(self, partitions: Set[int]) -> None:
        """Nothing to prepare."""

    async def deliver(self, poll: Poll, outcome: Outcome) -> None:
        """Publish, await every acknowledgement, store."""
        outgoing, rows = route(outcome, self._topics)
        offsets = await publish(self._producer(), outgoing | rows)
        for at, messages in rows.items():
            self._rows.write(at, messages, offsets[at])

    async def end(self) -> None:
        """Nothing to give up."""
