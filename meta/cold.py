"""Cold items and cold domains: how well is scored what training has hardly seen, or never.

Item-cold: a random tenth of the items loses all its training events. A held-out user's support set holds none of them,
and those that the user had are to be told from the others of the tenth by their features.

Domain-cold: the training events in one category are thinned to a twentieth. Then held-out users come with events in
that category alone: the first ten are the support set, the rest is the query, the candidates are its items.
"""

from typing import NamedTuple

import numpy as np

from meta.content import content_matrix
from meta.dataset import Dataset, keep_events
from meta.measures import CUTOFF, auc, ndcg_at, top_rows
from meta.prior import popularity
from meta.scorer import FittedScorer, Scorer
from meta.supports import Supports, first_events
from schemas.errors import DataError

COLD_SHARE = 0.1
KEPT_SHARE = 0.05
SUPPORT = 10
"""Events of a user that are known"""
LEAST_QUERY = 10
"""Events in the domain behind the support that a user needs"""
CATEGORY_MEAN = "category mean"


class Domain(NamedTuple):
    """The items of a category, and the users who have events enough in it."""

    items: np.ndarray
    """(n_items,) bool"""
    events: Dataset
    """The held-out events in the domain, and no others"""
    users: np.ndarray
    """Rows of the users with a support and a query set in the domain"""


def cold_items(dataset: Dataset, *, seed: int) -> np.ndarray:
    """A random tenth of the items (n_items,) bool."""
    chosen = np.zeros(dataset.n_items, dtype=bool)
    n = max(2, round(COLD_SHARE * dataset.n_items))
    chosen[np.random.default_rng(seed).choice(dataset.n_items, n, replace=False)] = True
    return chosen


def without_items(dataset: Dataset, cold: np.ndarray) -> Dataset:
    """The events that are on other items; users may be left without any."""
    return keep_events(dataset, ~cold[dataset.item])


def item_cold_auc(scorer: Scorer, held_out: Dataset, cold: np.ndarray) -> np.ndarray:
    """AUC of a user's cold items among all cold items (n_users,); NaN for a user without any, or with all of them."""
    warm = without_items(held_out, cold)
    areas = np.full(held_out.n_users, np.nan)
    users = np.flatnonzero(warm.lengths)
    scores = scorer.score(first_events(warm, users, SUPPORT))
    had = np.zeros((held_out.n_users, held_out.n_items), dtype=bool)
    right = held_out.relevant
    had[held_out.user[right], held_out.item[right]] = True
    areas[users] = auc(scores, had[users], np.broadcast_to(cold, scores.shape))
    return areas


def fit_category_mean(dataset: Dataset) -> Scorer:
    """The mean number of events of the items that share an attribute, mean over an item's attributes.

    Items without training events are left out of the means, so that what is cold does not count as unpopular.
    """
    has = content_matrix(dataset.items) > 0
    counts = popularity(keep_events(dataset, dataset.relevant))
    seen = has & (counts > 0)[:, None]
    of_attribute = counts @ seen / np.maximum(seen.sum(axis=0), 1)
    scores = has @ of_attribute / np.maximum(has.sum(axis=1), 1)
    return FittedScorer(CATEGORY_MEAN, lambda supports: np.tile(scores, (len(supports.users), 1)))


def fit_category_taste(dataset: Dataset) -> Scorer:
    """Cosine of an item's attributes and the mean of those of the support items, what people do first."""
    content = content_matrix(dataset.items).astype(np.float64)

    def scores(supports: Supports) -> np.ndarray:
        profile = (content[supports.support_items] * supports.support_mask[..., None]).sum(axis=1)
        return np.asarray(profile @ content.T)

    return FittedScorer("category taste", scores)


def domain_items(dataset: Dataset, category: str) -> np.ndarray:
    """Which items have a category (n_items,) bool. Raises DataError where none has."""
    chosen = np.array([category in item.categories or category == item.domain for item in dataset.items])
    if not chosen.any():
        raise DataError(f"no item has category or domain {category!r}; name one that items have")
    return chosen


def thinned(dataset: Dataset, items: np.ndarray, *, seed: int) -> Dataset:
    """A twentieth of the events on these items, and all others; users may be left without any."""
    kept = np.random.default_rng(seed).random(len(dataset.item)) < KEPT_SHARE
    return keep_events(dataset, kept | ~items[dataset.item])


def domain_of(held_out: Dataset, items: np.ndarray) -> Domain:
    """Held-out events and users of a domain."""
    events = keep_events(held_out, items[held_out.item])
    return Domain(items, events, np.flatnonzero(events.lengths >= SUPPORT + LEAST_QUERY))


def domain_ndcg(scorer: Scorer, domain: Domain, *, seed: int) -> np.ndarray:
    """nDCG@10 among the items of the domain after ten events in it (n_users,)."""
    supports = first_events(domain.events, domain.users, SUPPORT)
    hidden = np.tile(~domain.items, (len(domain.users), 1))
    np.put_along_axis(hidden, supports.support_items, True, axis=1)
    relevant = np.zeros_like(hidden)
    right = domain.events.relevant
    for row, user in enumerate(domain.users):
        at = np.arange(domain.events.starts[user] + SUPPORT, domain.events.starts[user + 1])
        relevant[row, domain.events.item[at[right[at]]]] = True
    lists = top_rows(scorer.score(supports), CUTOFF, excluded=hidden, seed=seed)
    return ndcg_at(lists, relevant & ~hidden)
