"""Tasks of the outer loop: one user, a support set, and what the user did afterwards."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from meta.config import TrainingConfig
from meta.dataset import Dataset
from meta.supports import DAY_MS, Supports, windows
from schemas.errors import DataError

_FEWEST_NEW = 2
"""Events since a switch in a spliced task: fewer tell nothing of it, and would teach to distrust every support set."""


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
    dataset: Dataset,
    users: np.ndarray,
    k: np.ndarray,
    *,
    query_begin: np.ndarray,
    support_begin: int | np.ndarray = 0,
    query_events: int | None = None,
    rated: bool = False,
) -> Episodes:
    """Support = the first k events (b,) from `support_begin` on, query = `query_events` events from event `query_begin`
    (b,) >= k on, all of them if None, candidates = items that no event before `query_begin` was about. Nothing that
    happened after the k-th event is seen by the support side.

    A query event counts if it is a right answer; where what is learned is `rated`, if it is a rating.
    Raises DataError where a query set would tell what the support side must not know.
    """
    _refuse_overlap(dataset, users, k, query_begin)
    shape = (len(users), dataset.n_items)
    lengths = dataset.lengths[users]
    task = np.repeat(np.arange(len(users)), lengths)
    position = np.arange(len(task)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    event = np.repeat(dataset.starts[users], lengths) + position
    before = position < np.repeat(query_begin, lengths)
    hidden, targets = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    hidden[task[before], dataset.item[event[before]]] = True
    right = ~before & (~np.isnan(dataset.rating[event]) if rated else dataset.is_relevant(dataset.kind[event]))
    if query_events is not None:
        right &= position < np.repeat(query_begin, lengths) + query_events
    targets[task[right], dataset.item[event[right]]] = True
    supports = windows(dataset, users, support_begin, k)
    asked_ms = np.full(len(users), np.iinfo(np.int64).max)
    np.minimum.at(asked_ms, task[~before], dataset.time_ms[event[~before]])
    refuse_leaks(supports, asked_ms, user_ids=dataset.user_ids)
    if not rated:
        return Episodes(supports, hidden, targets & ~hidden)
    ratings = np.zeros(shape, dtype=np.float32)
    ratings[task[right], dataset.item[event[right]]] = dataset.rating[event[right]]
    return Episodes(supports, hidden, targets & ~hidden, ratings)


def refuse_leaks(supports: Supports, asked_ms: np.ndarray, *, user_ids: Sequence[str]) -> None:
    """Raise DataError where the query sets, whose earliest events are at `asked_ms` (b,), begin before their support
    sets end, or before the now at which popularity is known.

    However a support set was put together, its ages count back from now: a negative one is an event after it.
    """
    newest = supports.now_ms - np.floor(supports.support_age.min(axis=1, initial=0.0) * DAY_MS).astype(np.int64)
    leaking = np.flatnonzero(newest > asked_ms)
    if len(leaking):
        first = leaking[0]
        raise DataError(
            f"{len(leaking)} tasks leak: the query set of {user_ids[int(supports.users[first])]} begins"
            f" {newest[first] - asked_ms[first]} ms before its support set ends; sort the events of each by time"
        )


def _refuse_overlap(dataset: Dataset, users: np.ndarray, k: np.ndarray, query_begin: np.ndarray) -> None:
    # Events of the same time would pass the comparison of times.
    both = np.flatnonzero(np.minimum(k, dataset.lengths[users]) > query_begin)
    if len(both):
        name, begin = dataset.user_ids[int(users[both[0]])], query_begin[both[0]]
        raise DataError(
            f"{len(both)} tasks leak: the support set of {name} holds query events; end it at event {begin}"
        )


def draw(
    dataset: Dataset, users: np.ndarray, config: TrainingConfig, rng: np.random.Generator, *, over: float = 0.0
) -> Episodes:
    """One random task per user, and for a share of them a second one, after a switch of tastes.

    `over` is the share of the training that is over: the second tasks grow fewer, a quarter at its middle and none at
    its end. They teach what a switch looks like, and in the end the model learns again how rare it is.

    Of the first ones, a share of the users with events enough hides what lies between the support set and a fixed query
    set, so that the query set is the same at every k; for the others the query set is the rest. Another share has its
    support set from anywhere in the history, as a worker's window that has moved on. A query set is never empty, unless
    it is all of items that a spliced past has used up.
    """
    lengths = dataset.lengths[users]
    fixed = (rng.random(len(users)) < config.fixed_share) & (lengths > config.fixed_query_begin)
    short = rng.choice(config.support_sizes, len(users))
    longer = rng.choice(config.support_sizes + config.long_support_sizes, len(users))
    k = np.where(fixed, np.minimum(short, config.fixed_query_begin), np.minimum(longer, lengths - 1))
    query, begin = np.where(fixed, config.fixed_query_begin, k), np.zeros_like(k)
    if config.sliding_share:
        slides = rng.random(len(users)) < config.sliding_share
        moved = rng.integers(0, lengths)
        k, query = np.where(slides, moved, k), np.where(slides, moved, query)
        begin = np.where(slides, np.maximum(0, moved - config.window), 0)
    rated = config.objective.rating
    tasks = episodes(
        dataset, users, k, query_begin=query, support_begin=begin, query_events=config.query_events, rated=rated
    )
    if not config.spliced_share:
        return tasks
    some = users[(rng.random(len(users)) < config.spliced_share * (1.0 - over) ** 2) & (lengths > _FEWEST_NEW)]
    return _together(tasks, _spliced(dataset, some, config, rng))


def _spliced(dataset: Dataset, users: np.ndarray, config: TrainingConfig, rng: np.random.Generator) -> Episodes:
    """Tasks from anywhere in the histories of `users` as if these had just switched tastes: all but the newest events
    of the support set are another user's. The profile is that user's too, for what it says dates from before."""
    window = config.window
    longest = np.minimum(max(_FEWEST_NEW, window // 2), dataset.lengths[users] - 1)
    newest = rng.integers(_FEWEST_NEW, longest + 1)
    k = rng.integers(newest, dataset.lengths[users])
    tasks = episodes(
        dataset,
        users,
        k,
        query_begin=k,
        support_begin=k - newest,
        query_events=config.query_events,
        rated=config.objective.rating,
    )
    others = rng.integers(0, dataset.n_users, len(users))
    until = rng.integers(1, dataset.lengths[others] + 1)
    old = windows(dataset, others, np.maximum(0, until - window + newest), until)
    hidden = tasks.hidden.copy()
    task, event = np.nonzero(old.support_mask)
    hidden[task, old.support_items[task, event]] = True
    joined = _joined(old, tasks.supports)
    refuse_leaks(joined, joined.now_ms, user_ids=dataset.user_ids)
    return tasks._replace(supports=joined, hidden=hidden, targets=tasks.targets & ~hidden)


def _joined(old: Supports, new: Supports) -> Supports:
    """The events of both, `old` ones first, with the profiles of `old` at the time of `new`."""
    age = old.support_age + new.support_age.max(axis=1, keepdims=True, initial=0.0) * old.support_mask
    return new._replace(
        support_items=np.concatenate([old.support_items, new.support_items], axis=1),
        support_mask=np.concatenate([old.support_mask, new.support_mask], axis=1),
        support_kind=np.concatenate([old.support_kind, new.support_kind], axis=1),
        support_age=np.concatenate([age, new.support_age], axis=1),
        user_features=old.user_features,
    )


def _together(first: Episodes, second: Episodes) -> Episodes:
    """The tasks of both, one after the other."""
    width = max(part.supports.support_items.shape[1] for part in (first, second))
    rows = [
        [
            np.pad(column, ((0, 0), (0, width - column.shape[1]))) if name.startswith("support_") else column
            for name, column in part.supports._asdict().items()
        ]
        for part in (first, second)
    ]
    supports = Supports(*(np.concatenate(both) for both in zip(*rows, strict=True)))
    hidden, targets = np.concatenate([first.hidden, second.hidden]), np.concatenate([first.targets, second.targets])
    if first.ratings is None or second.ratings is None:
        return Episodes(supports, hidden, targets)
    return Episodes(supports, hidden, targets, np.concatenate([first.ratings, second.ratings]))
