"""What the baselines read: events that count as right answers, as matrices."""

import numpy as np

from meta.dataset import Dataset, keep_events
from meta.encodings import NEGATIVE_TYPES
from meta.supports import Supports
from schemas.errors import DataError

_CHUNK_CELLS = 16_000_000


def positive_events(dataset: Dataset) -> Dataset:
    """The events that count as right answers; a user may be left without any. Raises DataError where there is none."""
    kept = dataset.relevant
    if not kept.any():
        raise DataError("every training event says no; baselines need events that say yes, such as views or ratings")
    return keep_events(dataset, kept)


def said_yes(dataset: Dataset, supports: Supports) -> np.ndarray:
    """Which support events are known and of no negative type (b, s) bool."""
    negative = [kind for name in NEGATIVE_TYPES if (kind := dataset.kinds.kind(name, None)) is not None]
    return (supports.support_mask > 0) & ~np.isin(supports.support_kind, negative)


def support_matrix(dataset: Dataset, supports: Supports) -> np.ndarray:
    """1 for every item that a support event said yes to, else 0: (b, n_items) float64."""
    matrix = np.zeros((len(supports.users), dataset.n_items))
    rows, events = np.nonzero(said_yes(dataset, supports))
    matrix[rows, supports.support_items[rows, events]] = 1.0
    return matrix


def user_matrix(dataset: Dataset, users: np.ndarray) -> np.ndarray:
    """1 for every item of these users' events, else 0: (b, n_items) float64."""
    lengths = dataset.lengths[users]
    row = np.repeat(np.arange(len(users)), lengths)
    first = np.repeat(dataset.starts[:-1][users] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    matrix = np.zeros((len(users), dataset.n_items))
    matrix[row, dataset.item[first + np.arange(lengths.sum())]] = 1.0
    return matrix


def user_chunks(dataset: Dataset, width: int = 1) -> list[np.ndarray]:
    """All users in parts for which `width` dense rows of the catalog's size fit into memory."""
    size = max(1, _CHUNK_CELLS // (dataset.n_items * width))
    return np.array_split(np.arange(dataset.n_users), -(-dataset.n_users // size))


def shares(scores: np.ndarray) -> np.ndarray:
    """Scores >= 0, scaled to sum to one over the catalog."""
    return np.asarray(scores / np.maximum(scores.sum(axis=1, keepdims=True), 1e-12))
