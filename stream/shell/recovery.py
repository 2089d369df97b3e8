"""Recovery of the support sets from the changelog, a fetch at a time.

Stock recovery passes each record through a queue and ends by comparing offsets with ListOffsets. Here a fetch's records
go to the store in one write, and recovery ends when every changelog partition has reached the end that *fetch answers*
report: that also holds behind a trailing transaction marker, and on brokers whose ListOffsets is not exact.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP
from mode import Service

from schemas.errors import StateError
from stream.core.codec import decode_row
from stream.shell.heap import return_unused
from stream.shell.polls import Slice


class ShortChangelogError(Exception):
    """The changelog ends before the local state: it was recreated or truncated."""


def _short(tp: TP, end: int, held: int) -> ShortChangelogError:
    return ShortChangelogError(
        f"changelog {tp.topic} {tp.partition} ends at offset {end}, the local state holds offset {held}: "
        "the topic was recreated or truncated; delete the data directory to start from the changelog"
    )


def require_readable(part: Slice) -> None:
    """Check the rows of a changelog slice before any is stored. Raises StateError naming the key's hash and the offset.

    Found here it is one clear refusal; found by a step it would be a worker that dies at this user's next event.
    """
    for record in part.records:
        if record.value is not None:
            try:
                decode_row(record.value, record.key or b"")
            except StateError as error:
                raise StateError(
                    f"changelog {part.topic} {part.partition} at offset {record.offset}: {error}"
                ) from error


class BatchRecovery(Recovery):
    """Applies changelog slices that the consumer fetched."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ends: dict[TP, int] = {}
        self.restored = 0
        """Changelog records read since the start."""

    async def on_rebalance(self, *args: Any, **kwargs: Any) -> None:
        """Forget what was known of the previous assignment."""
        self._ends.clear()
        await super().on_rebalance(*args, **kwargs)

    def need_recovery(self) -> bool:
        """True until each active changelog partition has been read to its end."""
        return any(self._remaining(tp) > 0 for tp in self.active_tps)

    def _remaining(self, tp: TP) -> int:
        if tp not in self._ends:
            return 1  # not answered yet
        offset = self.active_offsets[tp]
        return self._ends[tp] - 1 - (-1 if offset is None else offset)

    def remaining(self) -> int:
        """Changelog records still to be read, as far as fetch answers have told."""
        return sum(max(0, self._remaining(tp)) for tp in list(self.active_tps) if tp in self._ends)

    def apply(self, slices: Sequence[Slice], highwaters: Mapping[tuple[str, int], int]) -> None:
        """Write changelog slices to the store, and end recovery when all is read.

        Raises ShortChangelogError where the changelog ends before what the store already holds, StateError for a row
        that this build cannot read.
        """
        if not self.in_recovery:
            return
        for part in slices:
            tp = TP(part.topic, part.partition)
            if tp in self.active_tps:
                self._require_onward(tp, part)
                require_readable(part)
                self.tp_to_table[tp].data.restore(tp, part.records, part.end - 1)
                self.active_offsets[tp] = part.end - 1
                self.restored += part.end - part.start
        for tp in self.active_tps:
            end = highwaters.get((tp.topic, tp.partition))
            if end is None:
                continue
            self._ends[tp] = end
            held = self.tp_to_table[tp].persisted_offset(tp)
            if held is not None and held >= end:
                raise _short(tp, end, held)
        if self.active_tps and not self.need_recovery():
            self._set_recovery_ended()
            self.signal_recovery_end.set()

    def _require_onward(self, tp: TP, part: Slice) -> None:
        """Raise ShortChangelogError for a slice that lies before what is held.

        aiokafka starts at the beginning again where the position is beyond the end, and says so in no other way.
        """
        held = self.active_offsets[tp]
        if held is not None and held >= 0 and (part.start < held or part.end <= held):
            raise _short(tp, part.end, held)

    def _set_recovery_started(self) -> None:
        self.signal_recovery_end.clear()
        super()._set_recovery_started()

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Stop the flow while positions are set: a fetch in flight would otherwise bring records of old positions."""
        self.app.consumer.stop_flow()
        await self.app.consumer.wait_for_stopped_flow()
        await super().on_recovery_completed(generation_id)
        return_unused()  # what was fetched is in the store now, and partitions that went took their databases along

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """Stock reads changelog events from a queue here; `apply` has taken its place."""


class BatchTableManager(TableManager):
    """Faust's table manager with batch recovery."""

    @property
    def recovery(self) -> BatchRecovery:
        """The recovery service, made on first use."""
        if self._recovery is None:
            self._recovery: BatchRecovery | None = BatchRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
