"""Tasks of the outer loop: one user, a support set, and what the user did afterwards."""

from typing import NamedTuple

import numpy as np

from meta.config import TrainingConfig
from meta.dataset import Dataset
from meta.supports import Supports, first_events


class Episodes(NamedTuple):
    """b tasks over a catalog of n_items."""

    supports: Supports
    hidden: np.ndarray
    """(b, n_items) bool: no candidates, the user had them before the query set"""
    targets: np.ndarray
    """(b, n_items) bool: items of the query set, each once"""
    ratings: np.ndarray | None = None
    """(b, n_items) float32: the last rating of each target, where ratings are what is learned"""


def episodes(
    dataset: Dataset, users: np.ndarray, k: np.ndarray, *, query_begin: np.ndarray, rated: bool = False
) -> Episodes:
    """Support = the first k events (b,), query = all from event `query_begin` (b,) >= k on, candidates = items that
    no event before `query_begin` was about. Nothing that happened after the k-th event is seen by the support side.

    A query event counts if it is a right answer; where what is learned is `rated`, if it is a rating.
    """
    shape = (len(users), dataset.n_items)
    lengths = dataset.lengths[users]
    task = np.repeat(np.arange(len(users)), lengths)
    position = np.arange(len(task)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    event = np.repeat(dataset.starts[users], lengths) + position
    before = position < np.repeat(query_begin, lengths)
    hidden, targets = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    hidden[task[before], dataset.item[event[before]]] = True
    right = ~before & (~np.isnan(dataset.rating[event]) if rated else dataset.is_relevant(dataset.kind[event]))
    targets[task[right], dataset.item[event[right]]] = True
    supports = first_events(dataset, users, k)
    if not rated:
        return Episodes(supports, hidden, targets & ~hidden)
    ratings = np.zeros(shape, dtype=np.float32)
    ratings[task[right], dataset.item[event[right]]] = dataset.rating[event[right]]
    return Episodes(supports, hidden, targets & ~hidden, ratings)


def draw(dataset: Dataset, users: np.ndarray, config: TrainingConfig, rng: np.random.Generator) -> Episodes:
    """One random task per user.

    A share of the users with events enough hides what lies between the support set and a fixed query set, so that
    the query set is the same at every k; for the others the query set is the rest. A query set is never empty.
    """
    lengths = dataset.lengths[users]
    fixed = (rng.random(len(users)) < config.fixed_share) & (lengths > config.fixed_query_begin)
    short = rng.choice(config.support_sizes, len(users))
    longer = rng.choice(config.support_sizes + config.long_support_sizes, len(users))
    k = np.where(fixed, np.minimum(short, config.fixed_query_begin), np.minimum(longer, lengths - 1))
    begin = np.where(fixed, config.fixed_query_begin, k)
    return episodes(dataset, users, k, query_begin=begin, rated=config.objective.rating)
