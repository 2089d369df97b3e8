"""How long a step takes for polls of few events and of many, in a process of its own.

    python -m stream.bench.polls STORE MODEL

Users have windows of events before the clock runs. Nothing is sent: what a list waits for besides is Kafka.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter

from stream.bench.apart import ask
from stream.bench.figures import percentile

SIZES = (1, 256)
"""Events of a poll"""
_USERS, _BEFORE, _POLLS = 2000, 40_000, 120
_NEWEST_MS = 1_750_000_000_000


@dataclass(frozen=True)
class PollTimes:
    """Milliseconds of the steps for polls of `events`, in order."""

    events: int
    ms: list[float]

    def shown(self) -> str:
        """Median and 99th percentile."""
        return f"{percentile(self.ms, 0.5):,.1f} / {percentile(self.ms, 0.99):,.1f}"


def run_polls(store: str, model: str, *, home: Path) -> list[PollTimes]:
    """Measure in a process of its own, as `stream.bench.kernel` is. Raises FewstepError with what it said."""
    return [PollTimes(**one) for one in ask("stream.bench.polls", store, model, home=home)]


def measure_polls(store: str, model: str, sizes: Sequence[int] = SIZES) -> list[PollTimes]:
    """Time the steps of one stream, after the first ones. Raises BundleError for a bundle that cannot be loaded."""
    from schemas import Role
    from stream.bench.traffic import APART_MS, make_events
    from stream.core.records import Record
    from stream.core.step import Step
    from stream.engine.bundle import load_bundle
    from stream.settings import Settings

    bundle, settings = load_bundle(store, model), Settings()
    count = _BEFORE + sum(sizes) * _POLLS
    events = make_events(
        users=_USERS,
        item_ids=bundle.catalog.item_ids,
        kinds=bundle.manifest.kinds,
        event_types=settings.limits.event_types,
        oldest_ms=_NEWEST_MS - count * APART_MS,
        seed=0,
    )
    records = [
        Record(Role.INTERACTIONS, "events", 0, offset, _NEWEST_MS, event.user_id.encode(), event.value)
        for offset, event in enumerate(islice(events, count))
    ]
    step, rows = Step(bundle, settings), dict[bytes, bytes]()

    def take(begin: int, count: int) -> float:
        began = perf_counter()
        outcome = step(records[begin : begin + count], lambda _, key: rows.get(key), clock_ms=_NEWEST_MS)
        taken = perf_counter() - began
        rows.update((row.key, row.value) for row in outcome.rows if row.key is not None and row.value is not None)
        return taken * 1000

    for begin in range(0, _BEFORE, 8000):
        take(begin, 8000)
    found, begin = [], _BEFORE
    for count in sizes:
        found.append(PollTimes(count, [take(begin + number * count, count) for number in range(_POLLS)]))
        begin += _POLLS * count
    return found


if __name__ == "__main__":
    print(json.dumps([asdict(one) for one in measure_polls(sys.argv[1], sys.argv[2])]))  # noqa: T201
