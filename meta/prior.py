"""How popular items are, over all time and lately."""

import numpy as np

from meta.dataset import Dataset
from meta.supports import DAY_MS


def popularity(dataset: Dataset) -> np.ndarray:
    """Events per item (n_items,) float64."""
    return np.bincount(dataset.item, minlength=dataset.n_items).astype(np.float64)


def decayed_counts(dataset: Dataset, times_ms: np.ndarray, tau_days: float) -> np.ndarray:
    """Counts of the events strictly before each time, each event weighing exp(-age / tau): (T, n_items) float64.

    `times_ms` (T,) may come in any order. One pass over the events.
    """
    events = np.argsort(dataset.time_ms, kind="stable")
    times, items = dataset.time_ms[events], dataset.item[events]
    counts = np.empty((len(times_ms), dataset.n_items))
    running = np.zeros(dataset.n_items)
    done, now = 0, times[0]
    for row in np.argsort(times_ms, kind="stable"):
        until = np.searchsorted(times, times_ms[row], side="left")
        running *= np.exp(-max(0, times_ms[row] - now) / (tau_days * DAY_MS))
        weights = np.exp(-(times_ms[row] - times[done:until]) / (tau_days * DAY_MS))
        running += np.bincount(items[done:until], weights=weights, minlength=dataset.n_items)
        counts[row] = running
        done, now = until, max(now, times_ms[row])
    return counts


def time_grid(dataset: Dataset, max_rows: int) -> np.ndarray:
    """Times (T,) int64 from the first event on, whole days apart, at most `max_rows`; the last is just after the last
    event."""
    first, after = dataset.time_ms.min(), dataset.time_ms.max() + 1
    if max_rows < 2:
        return np.array([after], dtype=np.int64)
    days = max(1, int(np.ceil((after - first) / ((max_rows - 1) * DAY_MS))))
    return np.append(np.arange(first, after, days * DAY_MS, dtype=np.int64), after)
