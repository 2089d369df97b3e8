"""Lists that are the same for all users at one time."""

import numpy as np

from meta.baselines.events import positive_events
from meta.dataset import Dataset, keep_events
from meta.modes import Mode
from meta.prior import decayed_counts, popularity
from meta.protocol import measure
from meta.scorer import FittedScorer, Scorer
from meta.supports import Supports

TAUS_DAYS = (20.0, 60.0, 200.0, 600.0)
"""How slowly events may fade; which is best differs by catalog, so it is chosen on the training users"""
LATE_FROM = 20
"""Events of a user before this one are early."""
RECENCY = "popularity with recency"
"""Name of the baseline that figures are compared with"""
_CHOOSING_USERS = 200
_CHOOSING_SEED = 0
# Orders items without recent events by all-time popularity, and no others.
SMOOTHING = 1e-3


def fit_popularity(dataset: Dataset) -> Scorer:
    """The number of events of an item, the same for all users."""
    counts = popularity(positive_events(dataset))
    return FittedScorer("popularity", lambda supports: np.tile(counts, (len(supports.users), 1)))


def fit_recency(dataset: Dataset) -> Scorer:
    """Popularity in which events before the user's now fade exponentially."""
    positive = positive_events(dataset)
    tau_days = best_tau(positive)
    return FittedScorer(RECENCY, lambda supports: recent_counts(positive, supports, tau_days))


def fit_late_popularity(dataset: Dataset) -> Scorer:
    """What users turn to later: the number of an item's events after each user's twentieth."""
    counts = late_counts(dataset)
    return FittedScorer("late popularity", lambda supports: np.tile(counts, (len(supports.users), 1)))


def late_counts(dataset: Dataset) -> np.ndarray:
    """Events per item after each user's twentieth (n_items,); items without any keep the order of all events."""
    place = np.arange(len(dataset.item)) - np.repeat(dataset.starts[:-1], dataset.lengths)
    late = dataset.relevant & (place >= LATE_FROM)
    return np.asarray(popularity(keep_events(dataset, late)) + SMOOTHING * popularity(positive_events(dataset)))


def best_tau(dataset: Dataset) -> float:
    """The tau in days with the best nDCG@10 for the later events of training users, mean over the usual k.

    Only events before each user's now are counted, so that what is to be predicted does not help.
    """
    users = np.flatnonzero(dataset.lengths)
    if len(users) > _CHOOSING_USERS:
        users = np.random.default_rng(_CHOOSING_SEED).choice(users, _CHOOSING_USERS, replace=False)

    def mean_ndcg(tau_days: float) -> float:
        scorer = FittedScorer(RECENCY, lambda supports: recent_counts(dataset, supports, tau_days))
        return float(np.nanmean(measure(scorer, dataset, users, mode=Mode.REST, seed=_CHOOSING_SEED).ndcg))

    return max(TAUS_DAYS, key=mean_ndcg)


def recent_counts(dataset: Dataset, supports: Supports, tau_days: float) -> np.ndarray:
    """Faded counts at each user's now (b, n_items)."""
    times, row = np.unique(supports.now_ms, return_inverse=True)
    recent = decayed_counts(dataset, times, tau_days)
    return np.asarray((recent + SMOOTHING * popularity(dataset))[row])
