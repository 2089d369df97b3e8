"""The step: the raw records of one poll go in, everything that is to be written and sent comes out."""

from collections.abc import Sequence

from schemas import rfc3339
from stream.core.adapter import Adapter
from stream.core.features import encoding_for
from stream.core.fold import encode_rows, fold, wanted_lists
from stream.core.lists import make_lists
from stream.core.provenance import state_header
from stream.core.records import Message, Outcome, ReadRow, Record
from stream.settings import Settings

COUNTERS = (
    "events",
    "late",
    "duplicates",
    "redelivered",
    "unknown_items",
    "requests",
    "profiles",
    "forgotten",
    "lists",
    "dead_letters",
    "key_mismatches",
    "non_finite",
)
"""The counts of an outcome; all are always there.

`events` and `profiles` include those that `duplicates` and `redelivered` count again; `late` events are older than the
newest of their user, `unknown_items` counts events on items that the bundle does not know, and `non_finite` lists made
from the initialization because adaptation overflowed.
"""


class Step:
    """One bundle and the settings, prepared once; a call keeps nothing from one poll to the next."""

    def __init__(self, scorer: Adapter, settings: Settings) -> None:
        self._adapter = scorer
        self._settings = settings
        self._encoding = encoding_for(scorer.manifest, scorer.catalog, window=settings.state.window)

    def __call__(self, records: Sequence[Record], read_row: ReadRow, *, clock_ms: int) -> Outcome:
        """Decode, fold and recommend.

        `records` are in order per partition; `read_row(partition, key)` gives a stored row or None and is asked once
        per user; `clock_ms` is only written into the lists. A forgotten user gets null values, a touched user the row
        and one list, a request one list. Raises StateError for a stored row that cannot be read.
        """
        settings = self._settings
        folded = fold(records, read_row, settings=settings, known_items=self._adapter.catalog.rows)
        wanted = wanted_lists(folded, settings)
        lists, non_finite = make_lists(
            wanted,
            self._adapter,
            encoding=self._encoding,
            reasons=settings.lists.reasons,
            generated_at=rfc3339(clock_ms),
        )
        rows = encode_rows(folded)
        listings = self._adapter.catalog.listings
        forgotten = [Message(*user, None) for user in folded.touched if folded.states[user] is None]
        recommendations = [
            Message(*one.user, value, (state_header(one.state, one.now_ms, listings),))
            for one, value in zip(wanted, lists, strict=True)
        ]
        found = {**folded.counts, "lists": len(lists), "non_finite": non_finite}
        return Outcome(
            rows=rows,
            recommendations=forgotten + recommendations,
            dead_letters=folded.dead_letters,
            counts={name: found.get(name, 0) for name in COUNTERS},
        )
