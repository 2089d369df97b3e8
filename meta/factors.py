"""Factors of the training users' ratings, in closed form: where the item vectors of a rating model start.

Scaled so that the ridge regression of the inner loop (`meta.inner`) is the best linear prediction of a new user's
vector: all directions in which users differ are as wide as their biases are. The rating baselines use them unscaled.
"""

from typing import NamedTuple

import numpy as np

from meta.dataset import Dataset

_BIAS_PENALTY = 5.0
PENALTY = 12.0
"""Of a factor's squared length, beside squared errors"""
_SWEEPS = 15
_VARIANCE_SWEEPS = 10


class Factors(NamedTuple):
    """What the ratings of many users say about items, before anything is learned by gradient."""

    item_vectors: np.ndarray
    """(n_items, d) float64, without the ones of the user's bias"""
    shrinkage: float
    """Variance of a rating around its prediction, over that of a user's bias: the ridge penalty of all coordinates"""


def rating_factors(rated: Dataset, residual: np.ndarray, *, d: int, rng: np.random.Generator) -> Factors:
    """Factorize what ratings are above their items' means, `residual` (n,), and scale by how users differ.

    `rated` holds ratings only.
    """
    items = factorize(rated, residual, d=d, penalty=PENALTY, rng=rng)
    covariance, noise = variances(items, residual, rated)
    return _scaled(items[:, 1:], covariance, noise)


def factorize(rated: Dataset, residual: np.ndarray, *, d: int, penalty: float, rng: np.random.Generator) -> np.ndarray:
    """Item vectors (n_items, 1 + d) by alternating least squares; the first column is 1, for the user's bias.

    Source: Koren, Bell and Volinsky, Matrix Factorization Techniques for Recommender Systems, Computer 42(8), 2009.
    """
    items = np.concatenate([np.ones((rated.n_items, 1)), rng.normal(0, 0.3, (rated.n_items, d))], axis=1)
    precision = precision_of(d, penalty)
    for _ in range(_SWEEPS):
        grams, moments = _systems(items[rated.item], residual, rated.user, rated.n_users)
        users = np.linalg.solve(grams + precision, moments[..., None])[..., 0]
        left = residual - users[rated.user, 0]
        grams, moments = _systems(users[rated.user, 1:], left, rated.item, rated.n_items)
        items[:, 1:] = np.linalg.solve(grams + penalty * np.eye(d), moments[..., None])[..., 0]
    return items


def precision_of(d: int, penalty: float) -> np.ndarray:
    """What a user's bias and d factors are penalized by (1 + d, 1 + d)."""
    return np.diag([_BIAS_PENALTY, *[penalty] * d])


def variances(vectors: np.ndarray, residual: np.ndarray, rated: Dataset) -> tuple[np.ndarray, float]:
    """Covariance (1 + d, 1 + d) of the user vectors, and variance of a rating around its prediction: those that make
    the ratings most likely (EM) when items have `vectors` (n_items, 1 + d).

    Source: Laird and Ware, Random-Effects Models for Longitudinal Data, Biometrics 38(4), 1982.
    """
    vectors = vectors[rated.item]
    grams, moments = _systems(vectors, residual, rated.user, rated.n_users)
    covariance, noise = 0.1 * np.eye(vectors.shape[1]), 1.0
    for _ in range(_VARIANCE_SWEEPS):
        spread = np.linalg.inv(grams / noise + np.linalg.inv(covariance))
        users = np.einsum("uij,uj->ui", spread, moments / noise)
        covariance = users.T @ users / len(users) + spread.mean(axis=0)
        error = residual - (vectors * users[rated.user]).sum(axis=1)
        noise = float(((error**2).sum() + np.einsum("uij,uji->", spread, grams)) / len(residual))
    return covariance, noise


def _scaled(items: np.ndarray, covariance: np.ndarray, noise: float) -> Factors:
    """Turn the factors so that a user's are independent of each other and of the bias, and as wide as it."""
    within, shared = covariance[1:, 1:], covariance[1:, 0]
    # What a user's factors tell about the bias becomes a part of every item.
    slope = np.linalg.solve(within, shared)
    variance = float(covariance[0, 0] - shared @ slope)
    return Factors((items + slope) @ np.linalg.cholesky(within) / np.sqrt(variance), noise / variance)


def _systems(vectors: np.ndarray, wanted: np.ndarray, rows: np.ndarray, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Per row: the sum of v v' (n_rows, c, c) and of wanted v (n_rows, c)."""
    c = vectors.shape[1]
    products = np.concatenate(
        [(vectors[:, :, None] * vectors[:, None]).reshape(-1, c * c), vectors * wanted[:, None]], 1
    )
    order = np.argsort(rows, kind="stable")
    present, first = np.unique(rows[order], return_index=True)
    sums = np.zeros((n_rows, c * c + c))
    sums[present] = np.add.reduceat(products[order], first, axis=0)
    return sums[:, : c * c].reshape(-1, c, c), sums[:, c * c :]
