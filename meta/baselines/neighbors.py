"""Item-item neighbors, alone and mixed with what is popular.

Source: Deshpande and Karypis, Item-based top-N recommendation algorithms, ACM TOIS 22(1), 2004.
"""

import numpy as np

from meta.baselines.events import positive_events, said_yes, shares
from meta.baselines.popularity import best_tau, late_counts, recent_counts
from meta.dataset import Dataset
from meta.prior import popularity
from meta.scorer import FittedScorer, Scorer
from meta.supports import Supports

# The best of `meta.benchmark.choosing`, nDCG@10, mean over k >= 1 and both modes.
NEIGHBORS = 50
SHRINKAGE = 3000.0
MIXED_SHRINKAGE = 300.0
RECENCY_SHARE = 0.7
LATE_SHARE = 0.7
SATURATION = 5.0
"""Support events at which neighbors have half of the weight that they have in the end"""


def fit_item_knn(dataset: Dataset, *, shrinkage: float = SHRINKAGE) -> Scorer:
    """Sum of the shrunk cosine similarities to the support items; popularity where the support set is empty."""
    positive = positive_events(dataset)
    neighbors, similarities = _neighbors(positive, shrinkage)
    counts = popularity(positive)
    fallback = counts / counts.sum()

    def scores(supports: Supports) -> np.ndarray:
        similar = _similar(supports, neighbors, similarities, dataset)
        # Too small to overturn a similarity, so that it orders only what no support item is similar to.
        return np.asarray(similar + 1e-6 * fallback)

    return FittedScorer("item-kNN", scores)


def fit_item_knn_recency(
    dataset: Dataset,
    *,
    shrinkage: float = MIXED_SHRINKAGE,
    share: float = RECENCY_SHARE,
    saturation: float = SATURATION,
) -> Scorer:
    """Item-kNN and popularity with recency, each scaled to sum to one over the catalog, mixed.

    Neighbors weigh the more, the more support events there are.
    """
    positive = positive_events(dataset)
    tau_days = best_tau(positive)
    neighbors, similarities = _neighbors(positive, shrinkage)

    def scores(supports: Supports) -> np.ndarray:
        similar = _similar(supports, neighbors, similarities, dataset)
        recent = recent_counts(positive, supports, tau_days)
        weight = _weight(dataset, supports, share, saturation)
        return np.asarray(weight * shares(similar) + share * shares(recent))

    return FittedScorer("item-kNN with recency", scores)


def fit_item_knn_late(
    dataset: Dataset,
    *,
    shrinkage: float = MIXED_SHRINKAGE,
    share: float = LATE_SHARE,
    saturation: float = SATURATION,
) -> Scorer:
    """Item-kNN and late popularity, mixed in the same way."""
    neighbors, similarities = _neighbors(positive_events(dataset), shrinkage)
    late = shares(late_counts(dataset)[None])

    def scores(supports: Supports) -> np.ndarray:
        similar = _similar(supports, neighbors, similarities, dataset)
        return np.asarray(_weight(dataset, supports, share, saturation) * shares(similar) + share * late)

    return FittedScorer("item-kNN with late popularity", scores)


def _weight(dataset: Dataset, supports: Supports, share: float, saturation: float) -> np.ndarray:
    """What the neighbors weigh in a mix (b, 1)."""
    count = said_yes(dataset, supports).sum(axis=1, keepdims=True)
    return np.asarray((1 - share) * count / np.maximum(count + saturation, 1.0))


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
    scores = np.zeros((len(supports.users), dataset.n_items))
    for row, event in np.argwhere(said_yes(dataset, supports)):
        item = supports.support_items[row, event]
        # The neighbors of one item are distinct, so adding in place loses nothing.
        scores[row, neighbors[item]] += similarities[item]
    return scores
