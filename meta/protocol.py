"""Evaluates scorers on held-out users as a function of how much has been seen of them.

Modes: `rest`, what a service meets: support = the first k events, query = all later ones, candidates = catalog less the
support. `fixed`, a comparable curve: query = the events after the 20th, the first 20 items hidden at every k.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from meta.dataset import Dataset
from meta.measures import CUTOFF, bootstrap_mean, hit_rate_at, ndcg_at, top_rows
from meta.modes import Mode
from meta.scorer import Scorer
from meta.supports import Supports, first_events
from schemas.errors import DataError

KS = (0, 1, 2, 3, 5, 10, 20)
MIN_EVENTS = 30
"""Events that a user needs to be measured on"""
_BATCH_CELLS = 4_000_000


class Values(NamedTuple):
    """Measures per user and k, both (n_users, len(KS)); NaN where a user has no query set."""

    ndcg: np.ndarray
    hit_rate: np.ndarray


class Unadapted(NamedTuple):
    """A scorer that is told nothing but who the user is and when: the initialization."""

    scorer: Scorer
    name: str

    def score(self, supports: Supports) -> np.ndarray:
        """Scores (b, n_items) as for an empty support set at the same time."""
        empty = {
            name: np.zeros_like(getattr(supports, name))
            for name in ("support_items", "support_mask", "support_kind", "support_age")
        }
        return self.scorer.score(supports._replace(**empty))


def eligible_users(dataset: Dataset) -> np.ndarray:
    """Rows of the users with enough events. Raises DataError where there is none."""
    users = np.flatnonzero(dataset.lengths >= MIN_EVENTS)
    if not len(users):
        raise DataError(f"no held-out user has {MIN_EVENTS} events; hold out more users or longer histories")
    return users


class Lists(NamedTuple):
    """What a scorer makes of some users at one k, and what would have been right."""

    rows: slice
    """Which of the users"""
    column: int
    """Place of k in KS"""
    scores: np.ndarray
    """(b, n_items)"""
    lists: np.ndarray
    """(b, CUTOFF) item rows, best first"""
    relevant: np.ndarray
    """(b, n_items) bool"""
    candidates: np.ndarray
    """(b, n_items) bool"""


def lists_of(scorer: Scorer, dataset: Dataset, users: np.ndarray, *, mode: Mode, seed: int) -> Iterator[Lists]:
    """The lists for every user and k, a batch of users at a time; `seed` orders ties."""
    step = max(1, _BATCH_CELLS // dataset.n_items)
    for start in range(0, len(users), step):
        rows = slice(start, start + step)
        batch = users[rows]
        for column, k in enumerate(KS):
            hidden_events = k if mode is Mode.REST else KS[-1]
            hidden = _items_between(dataset, batch, 0, hidden_events)
            relevant = _items_between(dataset, batch, hidden_events, None) & ~hidden
            scores = scorer.score(first_events(dataset, batch, k, width=KS[-1]))
            lists = top_rows(scores, CUTOFF, excluded=hidden, seed=seed)
            yield Lists(rows, column, scores, lists, relevant, ~hidden)


def measure(scorer: Scorer, dataset: Dataset, users: np.ndarray, *, mode: Mode, seed: int) -> Values:
    """nDCG@10 and hit rate@10 of a scorer for every user and k; `seed` orders ties."""
    values = Values(np.empty((len(users), len(KS))), np.empty((len(users), len(KS))))
    for part in lists_of(scorer, dataset, users, mode=mode, seed=seed):
        values.ndcg[part.rows, part.column] = ndcg_at(part.lists, part.relevant)
        values.hit_rate[part.rows, part.column] = hit_rate_at(part.lists, part.relevant)
    return values


def report(values: Mapping[str, Values], reference: str, *, mode: Mode, seed: int) -> dict[str, Any]:
    """Means with 95 % intervals per scorer and k, and paired differences to the scorer named `reference`."""
    compared = values[reference]
    scorers = {
        name: {
            "ndcg": _by_k(each.ndcg, seed),
            "hit_rate": _by_k(each.hit_rate, seed),
            "ndcg_minus_reference": _by_k(each.ndcg - compared.ndcg, seed),
            "hit_rate_minus_reference": _by_k(each.hit_rate - compared.hit_rate, seed),
        }
        for name, each in values.items()
    }
    return {
        "mode": mode.value,
        "cutoff": CUTOFF,
        "n_users": len(compared.ndcg),
        "reference": reference,
        "scorers": scorers,
    }


def evaluate(scorers: Sequence[Scorer], dataset: Dataset, *, mode: Mode, reference: str, seed: int) -> dict[str, Any]:
    """Measure all scorers on the users of `dataset` with at least 30 events and report them.

    Raises DataError where no user has that many.
    """
    users = eligible_users(dataset)
    values = {scorer.name: measure(scorer, dataset, users, mode=mode, seed=seed) for scorer in scorers}
    return report(values, reference, mode=mode, seed=seed)


def _by_k(values: np.ndarray, seed: int) -> dict[str, dict[str, Any]]:
    return {str(k): bootstrap_mean(values[:, column], seed=seed).as_json() for column, k in enumerate(KS)}


def _items_between(dataset: Dataset, users: np.ndarray, begin: int, end: int | None) -> np.ndarray:
    """Items of each user's events `begin:end` (b, n_items) bool; behind the support only those that count as right."""
    relevant = dataset.relevant
    items = np.zeros((len(users), dataset.n_items), dtype=bool)
    for row, user in enumerate(users):
        start, stop = dataset.starts[user], dataset.starts[user + 1]
        at = np.arange(start + begin, stop if end is None else min(stop, start + end))
        items[row, dataset.item[at if end is not None else at[relevant[at]]]] = True
    return items
