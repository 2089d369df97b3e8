"""The splits of MovieLens-100K that all sections are measured on."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from meta import corpus, dataset, movielens, splits
from meta.benchmark.lines import SEED
from meta.dataset import Dataset, subset

FOLDS = (0, 2, 3, 5, 6, 8, 9)
"""Held out in turn. Choices are made on the users of the other three, who are never measured here."""
VALIDATION_FOLDS = (1, 4, 7)


class Split(NamedTuple):
    """One fold held out."""

    fold: int
    known: Dataset
    held_out: Dataset
    stopping: np.ndarray
    """Rows of `known` that are for early stopping; the baselines need none and get those users as well, a refit too"""


def load_movielens() -> Dataset:
    """MovieLens-100K as `fewstep data` writes it. Raises DataError where it cannot be fetched."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        corpus.write(movielens.load(), out)
        return dataset.load(out / "interactions.jsonl", out / "items.jsonl", out / "users.jsonl")


def split(data: Dataset, fold: int) -> Split:
    """Hold out one of the ten folds, and stop early by the next one."""
    parts = splits.folds(data.n_users, seed=SEED)
    rest = np.setdiff1d(np.arange(data.n_users), parts[fold])
    stopping = np.flatnonzero(np.isin(rest, parts[(fold + 1) % len(parts)]))
    return Split(fold, subset(data, rest), subset(data, np.sort(parts[fold])), stopping)
