"""How popular items are, over all time and lately."""

from collections.abc import Iterator

import numpy as np

from meta.dataset import Dataset
from meta.supports import DAY_MS

_CHUNK_EVENTS = 2_000_000


def popularity(dataset: Dataset, *, relevant: bool = False) -> np.ndarray:
    """Events per item (n_items,) float64; with `relevant` only those that count as right answers."""
    counts = np.zeros(dataset.n_items)
    for items, _ in _chunks(dataset, relevant):
        counts += np.bincount(items, minlength=dataset.n_items)
    return counts


def decayed_counts(dataset: Dataset, times_ms: np.ndarray, tau_days: float, *, relevant: bool = False) -> np.ndarray:
    """Counts of the events strictly before each time, each event weighing exp(-age / tau): (T, n_items) float64.

    `times_ms` (T,) may come in any order; with `relevant` only events that count as right answers are counted. One pass
    over the events, a chunk in memory at a time.
    """
    order = np.argsort(times_ms, kind="stable")
    times, tau_ms = np.asarray(times_ms)[order], tau_days * DAY_MS
    added = np.zeros(len(times) * dataset.n_items)
    for items, moments in _chunks(dataset, relevant):
        first = np.searchsorted(times, moments, side="right")  # the first of the times that lies behind the event
        counted = first < len(times)
        first, moments = first[counted], moments[counted]
        weights = np.exp((moments - times[first]) / tau_ms)
        added += np.bincount(first * dataset.n_items + items[counted], weights=weights, minlength=len(added))
    counts = added.reshape(len(times), dataset.n_items)
    for row in range(1, len(times)):
        counts[row] += counts[row - 1] * np.exp((times[row - 1] - times[row]) / tau_ms)
    found = np.empty_like(counts)
    found[order] = counts
    return found


def time_grid(dataset: Dataset, max_rows: int) -> np.ndarray:
    """Times (T,) int64 from the first event on, whole days apart, at most `max_rows`; the last is just after the last
    event."""
    first, after = dataset.time_ms.min(), dataset.time_ms.max() + 1
    if max_rows < 2:
        return np.array([after], dtype=np.int64)
    days = max(1, int(np.ceil((after - first) / ((max_rows - 1) * DAY_MS))))
    return np.append(np.arange(first, after, days * DAY_MS, dtype=np.int64), after)


def _chunks(dataset: Dataset, relevant: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Items and times of the events, some at a time."""
    for start in range(0, len(dataset.item), _CHUNK_EVENTS):
        part = slice(start, start + _CHUNK_EVENTS)
        items, moments = dataset.item[part], dataset.time_ms[part]
        kept = dataset.is_relevant(dataset.kind[part]) if relevant else slice(None)
        yield items[kept], moments[kept]
