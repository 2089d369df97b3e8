"""Matrix factorization of who had what, with the vector of a new user folded in while the items stay."""

import numpy as np

from meta.baselines.events import positive_events, said_yes, shares, support_matrix, user_chunks, user_matrix
from meta.dataset import Dataset
from meta.prior import popularity
from meta.scorer import FittedScorer, Scorer
from meta.supports import Supports

# The best of `meta.benchmark.choosing`.
ALS_FACTORS, ALS_PENALTY, ALS_CONFIDENCE = 16, 300.0, 1.0
ALS_SWEEPS = 15
BPR_FACTORS, BPR_PENALTY, BPR_FOLD_PENALTY = 32, 0.01, 1.0
BPR_EPOCHS, BPR_BATCH, BPR_RATE = 20, 1024, 0.05
FOLD_STEPS, FOLD_RATE, FOLD_NEGATIVES = 50, 1.0, 200


def fit_als(
    dataset: Dataset,
    *,
    factors: int = ALS_FACTORS,
    penalty: float = ALS_PENALTY,
    confidence: float = ALS_CONFIDENCE,
    seed: int = 0,
) -> Scorer:
    """Implicit-feedback ALS: an event weighs 1 + confidence, its absence 1. Popularity where the support is empty.

    Source: Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008.
    """
    positive = positive_events(dataset)
    items: np.ndarray = np.random.default_rng(seed).normal(0, 0.1, (dataset.n_items, factors))
    for _ in range(ALS_SWEEPS):
        left, right = np.zeros((factors, factors)), np.zeros((dataset.n_items, factors))
        weighted = np.zeros((dataset.n_items, factors * factors))
        for users in user_chunks(positive):
            had = user_matrix(positive, users)
            vectors = _fold_in(had, items, penalty=penalty, confidence=confidence)
            left += vectors.T @ vectors
            right += (1 + confidence) * had.T @ vectors
            weighted += confidence * had.T @ _outer(vectors)
        systems = weighted.reshape(-1, factors, factors) + left + penalty * np.eye(factors)
        items = np.linalg.solve(systems, right[..., None])[..., 0]
    fallback = shares(popularity(positive)[None])

    def scores(supports: Supports) -> np.ndarray:
        users = _fold_in(support_matrix(dataset, supports), items, penalty=penalty, confidence=confidence)
        return np.asarray(users @ items.T + 1e-6 * fallback)

    return FittedScorer("ALS", scores)


def _fold_in(had: np.ndarray, items: np.ndarray, *, penalty: float, confidence: float) -> np.ndarray:
    """The user vectors (b, factors) that are best for these items and users' rows (b, n_items)."""
    factors = items.shape[1]
    weighted = (confidence * had @ _outer(items)).reshape(-1, factors, factors)
    systems = items.T @ items + penalty * np.eye(factors) + weighted
    return np.asarray(np.linalg.solve(systems, ((1 + confidence) * had @ items)[..., None])[..., 0])


def _outer(vectors: np.ndarray) -> np.ndarray:
    return np.asarray((vectors[:, :, None] * vectors[:, None, :]).reshape(len(vectors), -1))


def fit_bpr(
    dataset: Dataset,
    *,
    factors: int = BPR_FACTORS,
    penalty: float = BPR_PENALTY,
    fold_penalty: float = BPR_FOLD_PENALTY,
    seed: int = 0,
) -> Scorer:
    """Pairs of an item that a user had and one drawn from the others, with a bias per item; Adagrad.

    A new user's vector starts at the mean of the training users' and takes steps of the same loss on the support items
    against a seeded draw of the catalog.
    Source: Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009.
    """
    positive = positive_events(dataset)
    rng = np.random.default_rng(seed)
    mean, items, bias = _train_bpr(positive, factors, penalty, rng)
    negatives = rng.integers(0, dataset.n_items, FOLD_NEGATIVES)

    def scores(supports: Supports) -> np.ndarray:
        yes = said_yes(dataset, supports).astype(float)
        share = yes / np.maximum(yes.sum(axis=1, keepdims=True), 1.0)
        wanted = items[supports.support_items]
        margin_of_bias = bias[supports.support_items][:, :, None] - bias[negatives]
        users = np.tile(mean, (len(yes), 1))
        for _ in range(FOLD_STEPS):
            margin = (wanted @ users[:, :, None]) - (users @ items[negatives].T)[:, None, :] + margin_of_bias
            doubt = share[:, :, None] / (1.0 + np.exp(margin)) / FOLD_NEGATIVES
            gradient = np.einsum("bsn,bsd->bd", doubt, wanted) - doubt.sum(axis=1) @ items[negatives]
            users = users + FOLD_RATE * (gradient - fold_penalty * (users - mean))
        return np.asarray(users @ items.T + bias)

    return FittedScorer("BPR", scores)


def _train_bpr(
    dataset: Dataset, factors: int, penalty: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The users' mean vector (factors,), item vectors (n_items, factors) and biases (n_items,)."""
    users = rng.normal(0, 0.1, (dataset.n_users, factors))
    # The last column is the bias; a user's is a constant 1.
    items = np.concatenate([rng.normal(0, 0.1, (dataset.n_items, factors)), np.zeros((dataset.n_items, 1))], axis=1)
    user_squares, item_squares = np.full_like(users, 1e-8), np.full_like(items, 1e-8)
    had = np.unique(dataset.user.astype(np.int64) * dataset.n_items + dataset.item)
    batches = -(-len(dataset.item) // BPR_BATCH)
    for _ in range(BPR_EPOCHS):
        for batch in np.array_split(rng.permutation(len(dataset.item)), batches):
            user, wanted = dataset.user[batch], dataset.item[batch]
            other = rng.integers(0, dataset.n_items, len(batch))
            pair = user.astype(np.int64) * dataset.n_items + other
            unknown = had[np.minimum(np.searchsorted(had, pair), len(had) - 1)] != pair
            user, wanted, other = user[unknown], wanted[unknown], other[unknown]
            theirs = np.concatenate([users[user], np.ones((len(user), 1))], axis=1)
            apart = items[wanted] - items[other]
            doubt = 1.0 / (1.0 + np.exp((theirs * apart).sum(axis=1, keepdims=True)))
            _ascend(users, user_squares, user, doubt * apart[:, :-1] - penalty * users[user])
            rows = np.concatenate([wanted, other])
            ascent = np.concatenate([doubt * theirs, -doubt * theirs]) - penalty * items[rows]
            _ascend(items, item_squares, rows, ascent)
    return users.mean(axis=0), items[:, :-1], items[:, -1]


def _ascend(values: np.ndarray, squares: np.ndarray, rows: np.ndarray, gradients: np.ndarray) -> None:
    """One Adagrad step in place; gradients of a row that occurs more than once are added."""
    unique, place = np.unique(rows, return_inverse=True)
    total = np.zeros((len(unique), values.shape[1]))
    np.add.at(total, place, gradients)
    squares[unique] += total**2
    values[unique] += BPR_RATE * total / np.sqrt(squares[unique])
