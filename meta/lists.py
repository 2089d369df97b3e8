"""Measures lists that were published, as captured from the recommendations topic.

A list with support_size k includes exactly the user's first k events in the order in which they were sent, as long as k
is below the worker's window; its query set is everything that the user sent later. Beside it, on the same users and k,
stand the user's own unadapted start, and popularity with recency.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from meta import files
from meta.baselines import RECENCY, fit_recency
from meta.dataset import Dataset
from meta.encodings import NEGATIVE_TYPES
from meta.measures import CUTOFF, bootstrap_mean, hit_rate_at, ndcg_at, top_rows
from meta.scorer import Scorer
from meta.supports import Supports
from schemas import InteractionEvent, Recommendation
from schemas.errors import DataError, complaint

ADAPTED, START = "adapted", "unadapted start"
ARMS = (ADAPTED, START, RECENCY)
_BATCH_CELLS = 4_000_000


class Published(NamedTuple):
    """Item ids of the published lists, by user and support size; the last one of each."""

    lists: dict[str, dict[int, list[str]]]
    n_messages: int
    n_forgotten: int


class History(NamedTuple):
    """A held-out user's events in the order in which they were sent: item rows (-1: unknown), right answers, times."""

    items: np.ndarray
    relevant: np.ndarray
    time_ms: np.ndarray


def read_published(path: Path) -> Published:
    """Read Recommendation messages, one a line; null values are counted and skipped.

    Raises DataError naming the line of anything else.
    """
    lists: dict[str, dict[int, list[str]]] = {}
    messages = forgotten = 0
    for line, text in files.lines_of(path):
        if text.strip() == b"null":
            forgotten += 1
            continue
        try:
            message = Recommendation.model_validate_json(text)
        except ValidationError as error:
            raise DataError(
                f"{path}, line {line}: {complaint(error)}; give the values of the recommendations topic"
            ) from None
        messages += 1
        lists.setdefault(message.user_id, {})[message.support_size] = [item.item_id for item in message.items]
    if not lists:
        raise DataError(f"{path}: no list; capture the recommendations topic while events flow")
    return Published(lists, messages, forgotten)


def read_histories(path: Path, item_ids: Sequence[str]) -> dict[str, History]:
    """Read the held-out events by user, in file order. Raises DataError naming the line that is wrong."""
    rows = {item_id: row for row, item_id in enumerate(item_ids)}
    events: dict[str, list[tuple[int, bool, int]]] = {}
    for line, event in files.read(path, InteractionEvent):
        if event.user_id is None or event.timestamp is None:
            missing = "user_id" if event.user_id is None else "timestamp"
            raise DataError(f"{path}, line {line}: no {missing}; in a file every event needs its own")
        row = rows.get(event.item_id, -1)
        right = row >= 0 and event.event_type not in NEGATIVE_TYPES
        events.setdefault(event.user_id, []).append((row, right, event.timestamp))
    return {
        user: History(*(np.array(column) for column in zip(*theirs, strict=True))) for user, theirs in events.items()
    }


def evaluate_lists(
    published: Published, histories: dict[str, History], train: Dataset, *, max_k: int, seed: int
) -> dict[str, Any]:
    """Compare the published lists for k = 1 .. max_k with the unadapted start and popularity with recency.

    A user counts at k where there is a list for k, one for 0, and a query set. `pooled` is the mean over a user's k
    first, then over users, so that users are the unit. Raises DataError where no user counts.
    """
    held_out = [user for user in published.lists if user in histories]
    started = [user for user in held_out if 0 in published.lists[user]]
    values = _values(published, histories, started, train, max_k=max_k, seed=seed)
    if np.isnan(values["ndcg"][ADAPTED]).all():
        raise DataError(
            f"none of the {len(held_out)} held-out users with lists has one for support size 0, one for 1 to {max_k}"
            " and later events; send a request before each user's first event"
        )
    return {
        "cutoff": CUTOFF,
        "n_messages": published.n_messages,
        "n_forgotten": published.n_forgotten,
        "n_not_held_out": len(published.lists) - len(held_out),
        "n_without_start": len(held_out) - len(started),
        "by_k": {str(k): _compare(values, slice(k - 1, k), seed) for k in range(1, max_k + 1)},
        "pooled": _compare(values, slice(0, max_k), seed),
    }


def _values(
    published: Published, histories: dict[str, History], users: list[str], train: Dataset, *, max_k: int, seed: int
) -> dict[str, dict[str, np.ndarray]]:
    """By measure and arm: (n_users, max_k), NaN where a user does not count."""
    recency = fit_recency(train)
    rows = {item_id: row for row, item_id in enumerate(train.item_ids)}
    values = {measure: {arm: np.full((len(users), max_k), np.nan) for arm in ARMS} for measure in ("ndcg", "hit_rate")}
    step = max(1, _BATCH_CELLS // train.n_items)
    for k in range(1, max_k + 1):
        at = [
            index
            for index, user in enumerate(users)
            if k in published.lists[user] and histories[user].relevant[k:].any()
        ]
        for start in range(0, len(at), step):
            batch = at[start : start + step]
            lists, relevant = _arms(published, histories, [users[i] for i in batch], k, rows, recency, seed)
            for arm in ARMS:
                values["ndcg"][arm][batch, k - 1] = ndcg_at(lists[arm], relevant)
                values["hit_rate"][arm][batch, k - 1] = hit_rate_at(lists[arm], relevant)
    return values


def _arms(
    published: Published,
    histories: dict[str, History],
    users: list[str],
    k: int,
    rows: dict[str, int],
    recency: Scorer,
    seed: int,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Lists (b, cutoff) of every arm, and what is relevant (b, n_items)."""
    relevant = np.zeros((len(users), len(rows)), dtype=bool)
    support = np.zeros_like(relevant)
    lists = {arm: np.full((len(users), CUTOFF), -1, dtype=np.int64) for arm in (ADAPTED, START)}
    for index, user in enumerate(users):
        history = histories[user]
        seen = set(history.items[:k].tolist())
        support[index, [row for row in seen if row >= 0]] = True
        relevant[index, history.items[k:][history.relevant[k:]]] = True
        adapted = [rows.get(item_id, -1) for item_id in published.lists[user][k]]
        start = [row for item_id in published.lists[user][0] if (row := rows.get(item_id, -1)) not in seen or row < 0]
        for arm, items in ((ADAPTED, adapted), (START, start)):
            lists[arm][index, : len(items[:CUTOFF])] = items[:CUTOFF]
    now_ms = np.array([histories[user].time_ms[:k].max() for user in users])
    lists[RECENCY] = top_rows(recency.score(_at(now_ms)), CUTOFF, excluded=support, seed=seed)
    return lists, relevant & ~support


def _at(now_ms: np.ndarray) -> Supports:
    """Empty support sets at these times: all that popularity asks for."""
    empty = np.zeros((len(now_ms), 1))
    return Supports(
        users=np.arange(len(now_ms)),
        support_items=empty.astype(np.int64),
        support_mask=empty.astype(np.float32),
        support_kind=empty.astype(np.int64),
        support_age=empty.astype(np.float32),
        user_features=np.zeros((len(now_ms), 0), dtype=np.float32),
        now_ms=now_ms,
    )


def _compare(values: dict[str, dict[str, np.ndarray]], ks: slice, seed: int) -> dict[str, Any]:
    """Means of the arms, and of adapted minus the others, over users."""
    compared: dict[str, Any] = {}
    for measure, arms in values.items():
        per_user = {arm: _mean_over_k(arms[arm][:, ks]) for arm in ARMS}
        compared[measure] = {arm: bootstrap_mean(per_user[arm], seed=seed).as_json() for arm in ARMS}
        for arm in (START, RECENCY):
            difference = bootstrap_mean(per_user[ADAPTED] - per_user[arm], seed=seed)
            compared[measure][f"{ADAPTED} minus {arm}"] = difference.as_json()
    return compared


def _mean_over_k(values: np.ndarray) -> np.ndarray:
    counts = (~np.isnan(values)).sum(axis=1)
    return np.where(counts > 0, np.nansum(values, axis=1) / np.maximum(counts, 1), math.nan)
