"""A domain's start, adapted by what people do there after the training: its prior moves with their events.

Of an item with c events in training and m of other users since, before the user's now, the prior is lifted by
log (c + w m + s) - log (c + s). What people do first in a domain is not what they do later, so such an event weighs
w < 1. Only the prior moves: ten events of the user say what the vectors would, see docs/learner.md.
"""

import numpy as np
import torch

from meta.dataset import Dataset, keep_events
from meta.inner import adapt, as_support
from meta.prior import decayed_counts, popularity
from meta.scorer import FittedScorer, Scorer
from meta.supports import Supports
from meta.training import Trained, prior_at

_WEIGHT, _SMOOTHING = 0.25, 3.0


def first_of_each(dataset: Dataset, n: int) -> Dataset:
    """The first n events of every user; rows of users stay."""
    return keep_events(dataset, np.arange(len(dataset.item)) - np.repeat(dataset.starts[:-1], dataset.lengths) < n)


def counts_before(arrivals: Dataset, supports: Supports) -> np.ndarray:
    """Right answers among the `arrivals` strictly before each user's now, the user's own left out: (b, n_items).

    `supports.users` are rows of `arrivals`. What has the same time as now is not counted, as it may come after it.
    """
    times, row = np.unique(supports.now_ms, return_inverse=True)
    counts = decayed_counts(arrivals, times, np.inf, relevant=True)[row]
    for place, (user, now) in enumerate(zip(supports.users, supports.now_ms, strict=True)):
        own = slice(arrivals.starts[user], arrivals.starts[user + 1])
        counted = (arrivals.time_ms[own] < now) & arrivals.is_relevant(arrivals.kind[own])
        np.subtract.at(counts[place], arrivals.item[own][counted], 1.0)
    return counts


def through_arrivals(trained: Trained, known: Dataset, arrivals: Dataset) -> Scorer:
    """Scores the users of `arrivals` from a prior that these events have moved; `known` is what was trained on."""
    before = popularity(known, relevant=True) + _SMOOTHING

    def scores(supports: Supports) -> np.ndarray:
        prior, inside = prior_at(trained, supports.now_ms)
        lift = np.log1p(_WEIGHT * counts_before(arrivals, supports) / before)
        lifted = prior + torch.from_numpy(lift).to(prior)
        inside = lifted if inside is prior else inside
        adapted = adapt(as_support(supports), inside, theta=trained.theta, items=trained.items)
        return (adapted.user_vector @ trained.items["item_vectors"].T + lifted).numpy()

    return FittedScorer("with arrivals", scores)
