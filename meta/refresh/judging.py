"""Measures scorers on what came after the cut: users with a history, and users who were not seen before."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from meta.dataset import Dataset
from meta.measures import CUTOFF, ndcg_at, top_rows
from meta.scorer import Scorer
from meta.served import ServedBundle
from meta.supports import Supports, windows

WIDTH = 32
"""Events of a support set, the worker's default window."""
COLD_SIZES = (0, 1, 3)
NEWEST, COLD = "newest", "cold"
_BATCH_CELLS = 4_000_000


class Judged(NamedTuple):
    """One scorer with the users encoded as it knows them; the item rows are the candidate's for all."""

    scorer: Scorer
    dataset: Dataset
    relevant: np.ndarray
    """(n,) bool: events that count as right answers, the same for all scorers"""


class Translated(NamedTuple):
    """A bundle with a catalog of its own, asked in the rows of another one.

    What it does not know it neither sees in a support set nor puts on a list.
    """

    bundle: ServedBundle
    rows: np.ndarray
    """(n_items,) int64: the bundle's row of each item, -1 for none"""
    name: str = "incumbent"

    def score(self, supports: Supports) -> np.ndarray:
        """Scores (b, n_items) float32."""
        rows = self.rows[supports.support_items]
        known = rows >= 0
        translated = supports._replace(
            support_items=np.where(known, rows, 0), support_mask=supports.support_mask * known.astype(np.float32)
        )
        scores = np.full((len(supports.users), len(self.rows)), -np.inf, dtype=np.float32)
        scores[:, self.rows >= 0] = self.bundle.score(translated)[:, self.rows[self.rows >= 0]]
        return scores


def translated(bundle: ServedBundle, item_ids: list[str]) -> Translated:
    """The bundle for users whose events are on these items."""
    position = {item_id: row for row, item_id in enumerate(bundle.item_ids)}
    return Translated(bundle, np.array([position.get(item_id, -1) for item_id in item_ids], dtype=np.int64))


def measure(judged: Judged, cut_ms: int, *, seed: int) -> Mapping[str, np.ndarray]:
    """nDCG@10 by group: `newest` (n_warm, 1) for users with events before the cut, `cold` (n_cold, sizes) for others.

    A user's support set ends at the cut, that of a cold user after so many events; what comes after it is to be found,
    and no item of it was seen before. Nothing after the support set is shown to the scorer. NaN where nothing is left
    to find.
    """
    dataset = judged.dataset
    after = np.add.reduceat((dataset.time_ms >= cut_ms).astype(np.int64), dataset.starts[:-1])
    before = dataset.lengths - after
    warm = np.flatnonzero((before > 0) & (after > 0))
    cold = np.flatnonzero(before == 0)
    sizes = [np.full(len(cold), size) for size in COLD_SIZES]
    return {
        NEWEST: _ndcg(judged, warm, before[warm], seed)[:, None],
        COLD: np.stack([_ndcg(judged, cold, size, seed) for size in sizes], axis=1),
    }


def supports_at(dataset: Dataset, users: np.ndarray, ends: np.ndarray) -> Supports:
    """What the worker would hold of these users after so many of their events (b,)."""
    return windows(dataset, users, np.maximum(ends - WIDTH, 0), ends, width=WIDTH)


def _ndcg(judged: Judged, users: np.ndarray, ends: np.ndarray, seed: int) -> np.ndarray:
    dataset = judged.dataset
    values = np.full(len(users), np.nan)
    step = max(1, _BATCH_CELLS // dataset.n_items)
    for start in range(0, len(users), step):
        batch, end = users[start : start + step], ends[start : start + step]
        seen, wanted = np.zeros((2, len(batch), dataset.n_items), dtype=bool)
        for row, (user, count) in enumerate(zip(batch, end, strict=True)):
            first, last = dataset.starts[user], dataset.starts[user + 1]
            middle = min(first + count, last)
            seen[row, dataset.item[first:middle]] = True
            later = np.arange(middle, last)
            wanted[row, dataset.item[later[judged.relevant[later]]]] = True
        scores = judged.scorer.score(supports_at(dataset, batch, end))
        lists = top_rows(scores, CUTOFF, excluded=seen, seed=seed)
        values[start : start + step] = ndcg_at(lists, wanted & ~seen)
    return values
