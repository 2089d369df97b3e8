"""Linear maps from what a user had to what the user will have, in closed form."""

import numpy as np

from meta.baselines.events import positive_events, shares, support_matrix, user_chunks, user_matrix
from meta.baselines.popularity import LATE_FROM, best_tau, recent_counts
from meta.dataset import Dataset
from meta.prior import popularity
from meta.scorer import FittedScorer, Scorer
from meta.supports import Supports, first_events

# The best of `meta.benchmark.choosing`.
EASE_PENALTY = 1e6
RIDGE_PENALTY = 100.0
RIDGE_RECENCY = 1.0
SIZES = (0, 1, 2, 3, 5, 10, 20)
"""Support sizes that the few-shot map is fitted on"""


def fit_ease(dataset: Dataset, *, penalty: float = EASE_PENALTY) -> Scorer:
    """An item-item map without a diagonal; popularity where the support set is empty. Memory: (n_items, n_items).

    Source: Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019.
    """
    positive = positive_events(dataset)
    gram = np.zeros((dataset.n_items, dataset.n_items))
    for users in user_chunks(positive):
        chunk = user_matrix(positive, users)
        gram += chunk.T @ chunk
    inverse = np.linalg.inv(gram + penalty * np.eye(dataset.n_items))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    fallback = shares(popularity(positive)[None])
    # As with item-kNN, popularity orders what nothing else does.
    return FittedScorer("EASE", lambda supports: support_matrix(dataset, supports) @ weights + 1e-6 * fallback)


def fit_few_shot_ridge(
    dataset: Dataset, *, penalty: float = RIDGE_PENALTY, power: float = 0.5, recency: float = RIDGE_RECENCY
) -> Scorer:
    """Ridge regression of later events on the first k, on user features, and on k itself, over all k at once.

    A training user is a row for every k: inputs are the k items, scaled by k^-power, and what is known of the user;
    outputs are the items after the twentieth event, and in a second row those after the k-th. Recent popularity, scaled
    to the mean of the outputs, is added.
    """
    positive = positive_events(dataset)
    tau_days = best_tau(positive)
    users = np.flatnonzero(positive.lengths > LATE_FROM)
    if not len(users):
        users = np.flatnonzero(positive.lengths)
    n_inputs = len(SIZES) + dataset.user_matrix.shape[1] + dataset.n_items
    gram, moment = np.zeros((n_inputs, n_inputs)), np.zeros((n_inputs, dataset.n_items))
    for k in SIZES:
        inputs = _inputs(dataset, first_events(positive, users, k, width=SIZES[-1]), power)
        later = [_later(positive, users, begin) for begin in {k, LATE_FROM}]
        gram += len(later) * inputs.T @ inputs
        moment += inputs.T @ sum(later)
    penalties = np.full(n_inputs, penalty)
    penalties[: len(SIZES)] = 1.0
    weights = np.linalg.solve(gram + np.diag(penalties), moment)
    scale = moment[: len(SIZES)].sum() / gram[: len(SIZES), : len(SIZES)].sum()

    def scores(supports: Supports) -> np.ndarray:
        recent = shares(recent_counts(positive, supports, tau_days))
        return np.asarray(_inputs(dataset, supports, power) @ weights + recency * scale * recent)

    return FittedScorer("few-shot ridge", scores)


def _inputs(dataset: Dataset, supports: Supports, power: float) -> np.ndarray:
    """Which of the sizes is nearest from below, user features, scaled support items: (b, n_inputs)."""
    items = support_matrix(dataset, supports)
    count = items.sum(axis=1)
    size = np.zeros((len(items), len(SIZES)))
    size[np.arange(len(items)), np.searchsorted(SIZES, count, side="right") - 1] = 1.0
    scaled = items * np.maximum(count, 1.0)[:, None] ** -power
    return np.concatenate([size, supports.user_features, scaled], axis=1)


def _later(dataset: Dataset, users: np.ndarray, begin: int) -> np.ndarray:
    """1 for every item of each user's events from `begin` on (b, n_items)."""
    matrix = np.zeros((len(users), dataset.n_items))
    for row, user in enumerate(users):
        matrix[row, dataset.item[dataset.starts[user] + begin : dataset.starts[user + 1]]] = 1.0
    return matrix
