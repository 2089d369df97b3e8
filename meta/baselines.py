"""Simple recommenders, which a learned one has to beat."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from meta.dataset import Dataset, keep_events
from meta.encodings import NEGATIVE_TYPES
from meta.modes import Mode
from meta.prior import decayed_counts, popularity
from meta.protocol import measure
from meta.scorer import Scorer
from meta.supports import Supports
from schemas.errors import DataError

TAUS_DAYS = (20.0, 60.0, 200.0, 600.0)
"""How slowly events may fade; which is best differs by catalog, so it is chosen on the training users"""
_CHOOSING_USERS = 200
_CHOOSING_SEED = 0
# Orders items without recent events by all-time popularity, and no others.
SMOOTHING = 1e-3
# The best of 20 to 200, 10 to 3000 and 0.5 to 0.95 for users of MovieLens-100K that no test fold holds: those of folds
# 1, 4 and 7, fitted on the others; nDCG@10, mean over k >= 1 and both modes.
NEIGHBORS = 50
SHRINKAGE = 3000.0
MIXED_SHRINKAGE = 300.0
RECENCY_SHARE = 0.85

RECENCY = "popularity with recency"
"""Name of the baseline that figures are compared with"""


@dataclass(frozen=True)
class FittedScorer:
    """A name and the function that scores."""

    name: str
    scores: Callable[[Supports], np.ndarray]

    def score(self, supports: Supports) -> np.ndarray:
        """Scores (b, n_items) float32."""
        return np.asarray(self.scores(supports), dtype=np.float32)


def fit_popularity(dataset: Dataset) -> Scorer:
    """The number of events of an item, the same for all users."""
    counts = popularity(_positive(dataset))
    return FittedScorer("popularity", lambda supports: np.tile(counts, (len(supports.users), 1)))


def fit_recency(dataset: Dataset) -> Scorer:
    """Popularity in which events before the user's now fade exponentially."""
    positive = _positive(dataset)
    tau_days = best_tau(positive)
    return FittedScorer(RECENCY, lambda supports: _recency(positive, supports, tau_days))


def best_tau(dataset: Dataset) -> float:
    """The tau in days with the best nDCG@10 for the later events of training users, mean over the usual k.

    Only events before each user's now are counted, so that what is to be foreseen does not help.
    """
    users = np.flatnonzero(dataset.lengths)
    if len(users) > _CHOOSING_USERS:
        users = np.random.default_rng(_CHOOSING_SEED).choice(users, _CHOOSING_USERS, replace=False)

    def mean_ndcg(tau_days: float) -> float:
        scorer = FittedScorer(RECENCY, lambda supports: _recency(dataset, supports, tau_days))
        return float(np.nanmean(measure(scorer, dataset, users, mode=Mode.REST, seed=_CHOOSING_SEED).ndcg))

    return max(TAUS_DAYS, key=mean_ndcg)


def fit_item_knn(dataset: Dataset) -> Scorer:
    """Sum of the shrunk cosine similarities to the support items; popularity where the support set is empty.

    Source: Deshpande and Karypis, Item-based top-N recommendation algorithms, ACM TOIS 22(1), 2004.
    """
    positive = _positive(dataset)
    neighbors, similarities = _neighbors(positive, SHRINKAGE)
    counts = popularity(positive)
    fallback = counts / counts.sum()

    def scores(supports: Supports) -> np.ndarray:
        similar = _similar(supports, neighbors, similarities, dataset)
        # Too small to overturn a similarity, so that it orders only what no support item is similar to.
        return np.asarray(similar + 1e-6 * fallback)

    return FittedScorer("item-kNN", scores)


def fit_item_knn_recency(dataset: Dataset) -> Scorer:
    """Item-kNN and popularity with recency, each scaled to sum to one over the catalog, mixed."""
    positive = _positive(dataset)
    tau_days = best_tau(positive)
    neighbors, similarities = _neighbors(positive, MIXED_SHRINKAGE)

    def scores(supports: Supports) -> np.ndarray:
        similar = _similar(supports, neighbors, similarities, dataset)
        recent = _recency(positive, supports, tau_days)
        return (1 - RECENCY_SHARE) * _shares(similar) + RECENCY_SHARE * _shares(recent)

    return FittedScorer("item-kNN with recency", scores)


def fit_all(dataset: Dataset) -> list[Scorer]:
    """All baselines, fitted on the training users."""
    return [fit(dataset) for fit in (fit_popularity, fit_recency, fit_item_knn, fit_item_knn_recency)]


def _positive(dataset: Dataset) -> Dataset:
    """The events that count as right answers; a user may be left without any."""
    kept = dataset.relevant
    if not kept.any():
        raise DataError("every training event says no; baselines need events that say yes, such as views or ratings")
    return keep_events(dataset, kept)


def _recency(dataset: Dataset, supports: Supports, tau_days: float) -> np.ndarray:
    times, row = np.unique(supports.now_ms, return_inverse=True)
    recent = decayed_counts(dataset, times, tau_days)
    return np.asarray((recent + SMOOTHING * popularity(dataset))[row])


def _neighbors(dataset: Dataset, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """The most similar items of each item and their similarities, both (n_items, neighbors)."""
    pairs = np.unique(dataset.user.astype(np.int64) * dataset.n_items + dataset.item)
    users, items = np.divmod(pairs, dataset.n_items)
    starts = np.searchsorted(users, np.arange(dataset.n_users + 1))
    by_item = np.argsort(items, kind="stable")
    counts = np.bincount(items, minlength=dataset.n_items)
    n = min(NEIGHBORS, dataset.n_items)
    rows, similarities = np.zeros((dataset.n_items, n), dtype=np.int64), np.zeros((dataset.n_items, n))
    for item, theirs in enumerate(np.split(users[by_item], np.cumsum(counts)[:-1])):
        if not len(theirs):
            continue
        together = np.concatenate([items[starts[user] : starts[user + 1]] for user in theirs])
        shared = np.bincount(together, minlength=dataset.n_items)
        cosine = shared / (np.sqrt(counts[item] * counts) + shrinkage)
        cosine[item] = 0.0
        rows[item] = np.argpartition(-cosine, n - 1)[:n]
        similarities[item] = cosine[rows[item]]
    return rows, similarities


def _similar(supports: Supports, neighbors: np.ndarray, similarities: np.ndarray, dataset: Dataset) -> np.ndarray:
    negative = [kind for name in NEGATIVE_TYPES if (kind := dataset.kinds.kind(name, None)) is not None]
    weights = supports.support_mask * ~np.isin(supports.support_kind, negative)
    scores = np.zeros((len(weights), dataset.n_items))
    for row, event in np.argwhere(weights > 0):
        item = supports.support_items[row, event]
        # The neighbors of one item are distinct, so adding in place loses nothing.
        scores[row, neighbors[item]] += similarities[item]
    return scores


def _shares(scores: np.ndarray) -> np.ndarray:
    return np.asarray(scores / np.maximum(scores.sum(axis=1, keepdims=True), 1e-12))
