"""A step that measures the bundles which it serves, on a sample of the users, and notices when one has become worse."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple
from zlib import crc32

from schemas import Manifest, RefreshRequest
from stream.core.adapter import Adapter
from stream.core.arms import is_challenged
from stream.core.drift import PageHinkley
from stream.core.features import Encoding, encoding_for
from stream.core.prequential import CUTOFF, Observation, choices, observe
from stream.core.records import Outcome, ReadRow, Record
from stream.core.tally import Sums, Tally, summarize
from stream.settings import Settings

_MOST_TALLIES = 8
"""Versions whose measures are kept; the oldest goes first."""


class Measures:
    """What was measured since the worker started, by (model, version), and the requests that are due.

    Written by the step's thread alone; others may read.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.due: deque[RefreshRequest] = deque(maxlen=16)
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._detector = PageHinkley()
        self._watched: tuple[str, str] | None = None
        self._asked_ms: int | None = None

    def totals(self) -> dict[tuple[str, str], Sums]:
        """What was added up, by (model, version)."""
        return {name: tally.total() for name, tally in self._tallies.copy().items()}

    def add(self, manifest: Manifest, found: Sequence[Observation], *, is_incumbent: bool) -> None:
        """Add what was observed of one bundle; of the incumbent, watch for drift."""
        name = manifest.model, manifest.version
        tally = self._tallies.setdefault(name, Tally())
        while len(self._tallies) > _MOST_TALLIES:
            del self._tallies[next(iter(self._tallies))]
        if is_incumbent and name != self._watched:
            self._watched, self._detector = name, PageHinkley()
        for one in found:
            tally.add(one)
            if is_incumbent and self._detector.add(one.loss):
                self._ask(name, tally, one.time_ms)

    def _ask(self, name: tuple[str, str], tally: Tally, now_ms: int) -> None:
        cooldown_ms = self.settings.measures.cooldown_s * 1000
        if self._asked_ms is not None and now_ms < self._asked_ms + cooldown_ms:
            return
        self._asked_ms = now_ms
        self.due.append(
            RefreshRequest(
                model=name[0],
                model_version=name[1],
                reason="drift: the loss of what users choose next has risen (Page-Hinkley)",
                measures=summarize(tally.total()),
                timestamp=now_ms,
            )
        )


class Measured:
    """A step around another: measures first, on the states before the poll, then serves."""

    def __init__(
        self,
        step: Callable[..., Outcome],
        measures: Measures,
        *,
        incumbent: Adapter,
        challenger: Adapter | None = None,
    ) -> None:
        window = measures.settings.state.window
        self._step, self._measures = step, measures
        self._incumbent = _Arm(incumbent, encoding_for(incumbent.manifest, incumbent.catalog, window=window))
        self._challenger = (
            None
            if challenger is None
            else _Arm(challenger, encoding_for(challenger.manifest, challenger.catalog, window=window))
        )

    def __call__(self, records: Sequence[Record], read_row: ReadRow, *, clock_ms: int) -> Outcome:
        """As the step within; `measured` and `hits` are added to its counts."""
        counts = self._measure(records, read_row)
        outcome = self._step(records, read_row, clock_ms=clock_ms)
        outcome.counts.update(counts)
        return outcome

    def _measure(self, records: Sequence[Record], read_row: ReadRow) -> dict[str, int]:
        settings, counts = self._measures.settings, {"measured": 0, "hits": 0}
        most = settings.measures.share * 2**32
        sampled = [record for record in records if record.key and _scattered(record.key) < most]
        made = choices(sampled, read_row, settings=settings)
        if not made:
            return counts
        for arm in (self._incumbent, self._challenger):
            if arm is None:
                continue
            share = settings.model.challenger_share
            # In shadow both are measured on everybody, in a trial each on those whom it serves.
            own = [one for one in made if not share or self._serves(one.user[1], share) == (arm is self._challenger)]
            found = observe(own, arm.adapter, arm.encoding)
            self._measures.add(arm.adapter.manifest, found, is_incumbent=arm is self._incumbent)
            counts["measured"] += len(found)
            counts["hits"] += sum(one.rank <= CUTOFF for one in found)
        return counts

    def _serves(self, user: bytes, share: float) -> bool:
        """Whether the challenger serves the user."""
        name = self._measures.settings.model.challenger
        return self._challenger is not None and is_challenged(user, challenger=name, share=share)


def _scattered(user: bytes) -> int:
    """A number below 2^32 for each user; every record asks for one, and a cryptographic hash would take ten times as
    long. The factor (Knuth, The Art of Computer Programming 3, 6.4) parts it from hashes that choose partitions."""
    return crc32(user) * 2_654_435_761 & 0xFFFF_FFFF


class _Arm(NamedTuple):
    adapter: Adapter
    encoding: Encoding
