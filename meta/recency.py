"""Popularity now against popularity at all times: the inputs of the model's prior."""

from typing import NamedTuple

import numpy as np

from meta.dataset import Dataset
from meta.prior import decayed_counts, popularity, time_grid
from schemas.errors import DataError

_MAX_BYTES = 64_000_000
"""Of the tabulated prior: what a worker holds in memory for it."""

_PSEUDO_EVENTS = 100.0
"""Recent counts are smoothed by so many events spread like the popularity of all times."""


class PopularityTable(NamedTuple):
    """Logarithms of the items' shares of the events, at all times and recently."""

    times: np.ndarray  # (T,) int64, epoch ms: row t holds from times[t] on
    log_popularity: np.ndarray  # (n_items,) float32
    log_recent: np.ndarray  # (T, taus, n_items) float32

    def row(self, now_ms: np.ndarray) -> np.ndarray:
        """Rows (b,) int64 that hold at the given times; the first before all, as `Manifest.time_index`."""
        return np.maximum(np.searchsorted(self.times, now_ms, side="right") - 1, 0)


def popularity_table(dataset: Dataset, *, taus_days: tuple[float, ...], max_rows: int) -> PopularityTable:
    """Tabulate on a grid of times, coarse enough that a prior of (T, n_items) float32 takes at most 64 MB.

    Only events that count as right answers make an item popular. Raises DataError where there are none.
    """
    liked = popularity(dataset, relevant=True)
    if not liked.any():
        raise DataError("all interactions are of negative types such as dislike or skip; add some of what users liked")
    affordable = max(1, _MAX_BYTES // (4 * dataset.n_items))
    times = time_grid(dataset, min(max_rows, affordable))
    share = (liked + 1.0) / (liked.sum() + dataset.n_items)
    recent = np.stack([decayed_counts(dataset, times, tau, relevant=True) for tau in taus_days], axis=1)
    smoothed = recent + _PSEUDO_EVENTS * share
    smoothed /= smoothed.sum(axis=2, keepdims=True)
    return PopularityTable(times, np.log(share).astype(np.float32), np.log(smoothed).astype(np.float32))
