"""Kinds of users, by what is known of them: how much they do, who they are, when they came."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from meta.dataset import Dataset
from meta.supports import DAY_MS
from schemas import UserFeature

_LEAST_USERS = 10
"""A smaller group's interval says nothing."""
_PERIODS = 4


def user_groups(dataset: Dataset, users: np.ndarray) -> Mapping[str, np.ndarray]:
    """Which of `users` belong to a group, (n_users,) bool by its name; groups of fewer than ten are left out.

    Activity: thirds by the number of events. Features: one group per column of the profiles. Time: quarters of the
    users by the day of their first event.
    """
    found: dict[str, np.ndarray] = {}
    lengths = dataset.lengths[users]
    for name, part in zip(("few events", "some events", "many events"), _parts(lengths, 3), strict=True):
        found[f"activity: {name}"] = part
    names = [name for feature in dataset.user_features for name in _columns(feature)]
    for column, name in enumerate(names):
        found[name] = dataset.user_matrix[users, column] > 0
    first = dataset.time_ms[dataset.starts[:-1][users]]
    for part in _parts(first, _PERIODS):
        if part.any():
            begin, end = (str(np.datetime64(int(day), "D")) for day in _days(first[part]))
            found[f"first event: {begin} to {end}"] = part
    return {name: part for name, part in found.items() if part.sum() >= _LEAST_USERS}


def _columns(feature: UserFeature) -> list[str]:
    if not feature.edges:
        return [f"{feature.field}: {value}" for value in feature.values]
    cuts = [f"{edge:g}" for edge in feature.edges]
    inner = [f"{low} to {high}" for low, high in pairwise(cuts)]
    return [f"{feature.field}: {part}" for part in (f"below {cuts[0]}", *inner, f"from {cuts[-1]}")]


def _parts(values: np.ndarray, n: int) -> list[np.ndarray]:
    """Members of the n parts of nearly equal size, by rank."""
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return [ranks * n // max(1, len(values)) == part for part in range(n)]


def _days(times_ms: np.ndarray) -> tuple[int, int]:
    return int(times_ms.min() // DAY_MS), int(times_ms.max() // DAY_MS)
