"""How fast a list follows a user whose tastes switch: measured on users of whom it is known when they did.

The query set is the same at every number of events after the switch, so that levels compare: the ten events that begin
with the tenth of the new tastes; all that came before is hidden. The level before is that of the old tastes' last ten
events, seen from a window that ends where they begin. `stale` keeps the window as it was at the switch: an adaptation
that is never renewed.
"""

from typing import NamedTuple

import numpy as np

from meta.dataset import Dataset
from meta.measures import CUTOFF, Estimate, ndcg_at, top_rows
from meta.scorer import Scorer
from meta.supports import windows

AFTER = (0, 1, 2, 3, 5, 10)
"""Events since the switch at which the list is measured; 0 is right after it, before anything tells of it"""
WINDOW = 20
"""Events that a support set holds at most"""
QUERY = 10
"""Events of a query set"""
LONG = (20, 40, 60, 80, 100)
"""Events of a long history after which the list is measured, on all that follows"""
_LONG_ENOUGH = 150
_RESAMPLES = 2000


class Levels(NamedTuple):
    """nDCG@10 per user, NaN where a query set holds nothing that counts as right."""

    before: np.ndarray
    """(n_users,)"""
    after: np.ndarray
    """(n_users, len(AFTER))"""


def measurable(dataset: Dataset, switch: np.ndarray) -> np.ndarray:
    """Rows of the users with a full window before the level before, and a whole query set after the switch.

    `switch` (n_users,) counts events of a user, negative for users without one.
    """
    return np.flatnonzero((switch >= WINDOW + QUERY) & (dataset.lengths >= switch + AFTER[-1] + QUERY))


def measure(scorer: Scorer, dataset: Dataset, users: np.ndarray, switch: np.ndarray, *, seed: int) -> Levels:
    """Levels of the users (b,) around their `switch` (b,); `seed` orders ties."""
    start = switch - QUERY
    before = _ndcg(scorer, dataset, users, end=start, query=(start, switch), seed=seed)
    start = switch + AFTER[-1]
    after = [_ndcg(scorer, dataset, users, end=switch + j, query=(start, start + QUERY), seed=seed) for j in AFTER]
    return Levels(before, np.stack(after, axis=1))


def measure_long(scorer: Scorer, dataset: Dataset, *, slides: bool, seed: int) -> np.ndarray:
    """nDCG@10 (n_users, len(LONG)) of the users with a long history, each time on all that they did afterwards.

    The window slides to the newest events, or stays at the first ones.
    """
    users = np.flatnonzero(dataset.lengths >= _LONG_ENOUGH)
    columns = []
    for at in LONG:
        end = np.full(len(users), at if slides else WINDOW)
        query = (np.full(len(users), at), dataset.lengths[users])
        columns.append(_ndcg(scorer, dataset, users, end=end, query=query, seed=seed))
    return np.stack(columns, axis=1)


def recovered(levels: Levels, *, seed: int) -> list[Estimate]:
    """For each of AFTER, the share that is made up of the distance from right after the switch to before it.

    A ratio of means over users, with its percentile interval over resamples of the users.
    """
    kept = ~np.isnan(levels.before) & ~np.isnan(levels.after).any(axis=1)
    before, after = levels.before[kept], levels.after[kept]
    drawn = np.random.default_rng(seed).integers(0, len(before), (_RESAMPLES, len(before)))
    resampled = after[drawn].mean(axis=1)
    found = _share(before.mean(), after.mean(axis=0))
    shares = _share(before[drawn].mean(axis=1)[:, None], resampled)
    low, high = np.quantile(shares, [0.025, 0.975], axis=0)
    return [Estimate(float(found[j]), float(low[j]), float(high[j]), len(before)) for j in range(len(AFTER))]


def _share(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    right_after = after[..., :1]
    return np.asarray((after - right_after) / (before - right_after))


def _ndcg(
    scorer: Scorer,
    dataset: Dataset,
    users: np.ndarray,
    *,
    end: np.ndarray,
    query: tuple[np.ndarray, np.ndarray],
    seed: int,
) -> np.ndarray:
    """nDCG@10 (b,) of lists made from the window before event `end` (b,), for a query set of the events between two
    (b,) each; what came before these is hidden."""
    scores = scorer.score(windows(dataset, users, np.maximum(0, end - WINDOW), end, width=WINDOW))
    hidden = np.zeros((len(users), dataset.n_items), dtype=bool)
    wanted = np.zeros_like(hidden)
    right = dataset.relevant
    for row, (start, first, last) in enumerate(zip(dataset.starts[users], *query, strict=True)):
        hidden[row, dataset.item[start : start + first]] = True
        asked = np.arange(start + first, start + last)
        wanted[row, dataset.item[asked[right[asked]]]] = True
    return ndcg_at(top_rows(scores, CUTOFF, excluded=hidden, seed=seed), wanted & ~hidden)
