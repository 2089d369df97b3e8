"""Support sets as padded arrays: what a scorer is given, in the shapes of the bundle's inputs."""

from typing import NamedTuple

import numpy as np

from meta.dataset import Dataset

DAY_MS = 86_400_000


class Supports(NamedTuple):
    """Support sets of b users, s events wide: oldest event first, zero padding at the end."""

    users: np.ndarray
    """(b,) int64: rows of the dataset"""
    support_items: np.ndarray
    """(b, s) int64"""
    support_mask: np.ndarray
    """(b, s) float32: 1 for an event of a kind that is known, else 0"""
    support_kind: np.ndarray
    """(b, s) int64"""
    support_age: np.ndarray
    """(b, s) float32: days between the event and now"""
    user_features: np.ndarray
    """(b, F) float32"""
    now_ms: np.ndarray
    """(b,) int64"""


def first_events(dataset: Dataset, users: np.ndarray, k: int | np.ndarray, *, width: int | None = None) -> Supports:
    """Support sets of each user's first k events; now is the time of the k-th, of the first one where k is 0."""
    return windows(dataset, users, 0, k, width=width)


def windows(
    dataset: Dataset, users: np.ndarray, begin: int | np.ndarray, end: int | np.ndarray, *, width: int | None = None
) -> Supports:
    """Support sets of each user's events `begin:end`, counted from the user's first, cut at the user's last.

    `begin` and `end` are one for all or (b,). Now is the time of the last event of the window; of an empty window, of
    the event that follows it. `width` is the widest window, and at least 1, unless given; wider windows keep their
    newest `width` events.
    """
    users = np.asarray(users, dtype=np.int64)
    length = dataset.lengths[users]
    last_end = np.minimum(np.broadcast_to(end, users.shape), length)
    first = np.minimum(np.broadcast_to(begin, users.shape), last_end)
    if width is None:
        width = max(1, int((last_end - first).max(initial=0)))
    first = np.maximum(first, last_end - width)
    last = np.where(last_end > first, last_end - 1, np.minimum(last_end, length - 1))
    now_ms = dataset.time_ms[dataset.starts[users] + last]
    offsets = first[:, None] + np.arange(width)
    inside = offsets < last_end[:, None]
    at = np.where(inside, dataset.starts[users][:, None] + offsets, 0)
    known = inside & (dataset.kind[at] >= 0)
    return Supports(
        users=users,
        support_items=np.where(inside, dataset.item[at], 0).astype(np.int64),
        support_mask=known.astype(np.float32),
        support_kind=np.where(known, dataset.kind[at], 0).astype(np.int64),
        support_age=np.where(inside, (now_ms[:, None] - dataset.time_ms[at]) / DAY_MS, 0).astype(np.float32),
        user_features=dataset.user_matrix[users],
        now_ms=now_ms,
    )
