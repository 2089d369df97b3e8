"""Makes up a large archive, and measures what cutting a window out of it takes:

    python tests/big_archive.py FOLDER EVENTS MAX [NEW]

Prints JSON: seconds and peak resident memory of a first refresh's window and of an incremental one's.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import numpy as np
import polars as pl

from meta.refresh.archive import PART_ROWS, State, open_archive
from meta.refresh.window import cut_window

NOW = datetime(2026, 1, 31, tzinfo=UTC)
TOPIC = "fewstep-interactions"
PARTITIONS = 12


def make_up(folder: Path, n_events: int, *, seed: int = 0) -> State:
    """An archive of so many events of a fiftieth as many users on 20,000 items, in full parts."""
    archive, rng = open_archive(str(folder)), np.random.default_rng(seed)
    state = State()
    names = [f"item-{n}" for n in range(20_000)]
    messages = pl.DataFrame({"item_id": names, "message": [json.dumps({"item_id": name}) for name in names]})
    state = state.model_copy(update={"parts": (archive.write(state, "items", messages),)})
    for start in range(0, n_events, PART_ROWS):
        rows = min(PART_ROWS, n_events - start)
        offsets = np.arange(start, start + rows)
        users = rng.integers(0, max(1, n_events // 50), rows)
        frame = pl.DataFrame(
            {
                "event_id": pl.Series([f"{n:x}" for n in offsets]),
                "user_id": pl.Series([f"user-{n}" for n in users]),
                "item_id": pl.Series([f"item-{n}" for n in (20_000 * rng.random(rows) ** 3).astype(int)]),
                "event_type": pl.Series(["view"] * rows),
                "value": pl.Series([None] * rows, dtype=pl.Float64),
                "timestamp": 1_700_000_000_000 + offsets * 1000,
                "received": 1_700_000_000_000 + offsets * 1000,
                "partition": pl.Series(users % PARTITIONS, dtype=pl.Int32),
                "offset": offsets // PARTITIONS,
            }
        )
        after = state.model_copy(
            update={
                "parts": (*state.parts, archive.write(state, "interactions", frame)),
                "events": state.events + rows,
                "positions": {TOPIC: dict.fromkeys(range(PARTITIONS), (start + rows) // PARTITIONS)},
            }
        )
        state = archive.commit(state, after, NOW)
    return state


def measure(folder: Path, *, max_events: int, n_new: int | None) -> dict[str, float]:
    """Cut a window; `n_new` is None for a first refresh."""
    archive = open_archive(str(folder))
    state = archive.state()
    started = monotonic()
    ends = state.positions[TOPIC]
    trained = {} if n_new is None else {number: end - n_new // PARTITIONS for number, end in ends.items()}
    with TemporaryDirectory() as out:
        window = cut_window(
            archive,
            state,
            Path(out),
            trained=trained,
            n_new=state.events if n_new is None else n_new,
            max_events=max_events,
            incremental=n_new is not None,
            fallback_items=[],
        )
    return {"seconds": monotonic() - started, "peak_mb": peak_mb(), "events": window.n_events, "new": window.n_new}


def peak_mb() -> float:
    """Peak resident memory of this process; what getrusage tells begins with the peak of the process that forked it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    where, n, most = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    if not open_archive(str(where)).state().events:
        make_up(where, n)
    new = int(sys.argv[4]) if len(sys.argv) > 4 else None
    print(json.dumps(measure(where, max_events=most, n_new=new)))  # noqa: T201
