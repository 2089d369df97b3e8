"""Rating predictors in closed form: means and biases, factors, and a ridge regression on the factors.

Each starts from the ratings that support events carry in their kinds, see `meta.rating_protocol.kind_ratings`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from meta.dataset import Dataset
from meta.rating_protocol import kind_ratings
from meta.scorer import FittedScorer, Scorer
from meta.supports import Supports

# The best of `meta.benchmark.choosing`, MAE, mean over k.
ITEM_SHRINKAGE, USER_SHRINKAGE = 5.0, 5.0
FACTORS, FACTOR_PENALTY, SWEEPS = 8, 12.0, 15
RIDGE_FACTORS = 4
VARIANCE_SWEEPS = 10
BIAS = "item mean and user bias"
"""Name of the baseline that rating figures are compared with"""


class Rated(NamedTuple):
    """Support ratings of b users: items (b, s), what the rating is above the item's mean, and whether there is one."""

    items: np.ndarray
    residual: np.ndarray
    present: np.ndarray


class Means(NamedTuple):
    """Item means (n_items,), shrunk to the mean of all, what kinds stand for, and the ends of the scale."""

    item: np.ndarray
    by_kind: np.ndarray
    low: float
    high: float

    def rated(self, supports: Supports) -> Rated:
        """The ratings of the support events, from the kinds that are ratings."""
        ratings = self.by_kind[supports.support_kind]
        present = (supports.support_mask > 0) & ~np.isnan(ratings)
        residual = np.where(present, np.nan_to_num(ratings) - self.item[supports.support_items], 0.0)
        return Rated(supports.support_items, residual, present.astype(np.float64))

    def clipped(self, name: str, scores: Callable[[Supports], np.ndarray]) -> Scorer:
        """A scorer that keeps to the scale."""
        return FittedScorer(name, lambda supports: np.clip(scores(supports), self.low, self.high))


def item_means(rated: Dataset, *, item_shrinkage: float = ITEM_SHRINKAGE) -> Means:
    """Means of a dataset that holds ratings only."""
    overall = float(rated.rating.mean(dtype=np.float64))
    totals = np.bincount(rated.item, weights=rated.rating - overall, minlength=rated.n_items)
    counts = np.bincount(rated.item, minlength=rated.n_items)
    low, high = float(rated.rating.min()), float(rated.rating.max())
    return Means(overall + totals / (counts + item_shrinkage), kind_ratings(rated), low, high)


def fit_global_mean(rated: Dataset) -> Scorer:
    """The mean of all ratings."""
    mean = rated.rating.mean(dtype=np.float64)
    return FittedScorer("mean of all", lambda supports: np.full((len(supports.users), rated.n_items), mean))


def fit_item_mean(rated: Dataset, *, item_shrinkage: float = ITEM_SHRINKAGE) -> Scorer:
    """The item's mean, shrunk."""
    means = item_means(rated, item_shrinkage=item_shrinkage)
    return FittedScorer("item mean", lambda supports: np.tile(means.item, (len(supports.users), 1)))


def fit_bias(
    rated: Dataset, *, item_shrinkage: float = ITEM_SHRINKAGE, user_shrinkage: float = USER_SHRINKAGE
) -> Scorer:
    """The item's mean plus how far the user's ratings are above the means of their items, shrunk.

    Source: Koren, Factorization Meets the Neighborhood, KDD 2008, section 2.1.
    """
    means = item_means(rated, item_shrinkage=item_shrinkage)

    def scores(supports: Supports) -> np.ndarray:
        _, residual, present = means.rated(supports)
        bias = residual.sum(axis=1) / (present.sum(axis=1) + user_shrinkage)
        return np.asarray(means.item + bias[:, None])

    return means.clipped(BIAS, scores)


def fit_biased_factors(
    rated: Dataset, *, factors: int = FACTORS, penalty: float = FACTOR_PENALTY, seed: int = 0
) -> Scorer:
    """Biased matrix factorization by alternating least squares; a new user's bias and vector are folded in.

    Source: Koren, Bell and Volinsky, Matrix Factorization Techniques for Recommender Systems, Computer 42(8), 2009.
    """
    means = item_means(rated)
    items, _ = _factorize(rated, means, factors, penalty, seed)
    precision = np.diag([USER_SHRINKAGE, *[penalty] * factors])

    def scores(supports: Supports) -> np.ndarray:
        users = _solve(means.rated(supports), items, precision)
        return np.asarray(means.item + users @ items.T)

    return means.clipped("biased factors, folded in", scores)


def fit_ridge_fold_in(
    rated: Dataset, *, factors: int = RIDGE_FACTORS, penalty: float = FACTOR_PENALTY, seed: int = 0
) -> Scorer:
    """The same factors, but a user's vector is drawn to 0 the more in a direction, the less users differ in it.

    The covariance of the user vectors and the noise are those that make the training users most likely (EM).
    Source: Laird and Ware, Random-Effects Models for Longitudinal Data, Biometrics 38(4), 1982.
    """
    means = item_means(rated)
    items, _ = _factorize(rated, means, factors, penalty, seed)
    grams, moments, squares, counts = _systems(rated, means, items)
    covariance, noise = np.eye(factors + 1) * 0.1, 0.9
    for _ in range(VARIANCE_SWEEPS):
        inverse = np.linalg.inv(covariance)
        spread = np.linalg.inv(grams / noise + inverse)
        users = np.einsum("uij,uj->ui", spread, moments / noise)
        covariance = users.T @ users / len(users) + spread.mean(axis=0)
        misfit = squares - 2 * (users * moments).sum(1) + np.einsum("ui,uij,uj->u", users, grams, users)
        noise = float((misfit + np.einsum("uij,uji->u", spread, grams)).sum() / counts.sum())
    precision = noise * np.linalg.inv(covariance)

    def scores(supports: Supports) -> np.ndarray:
        return np.asarray(means.item + _solve(means.rated(supports), items, precision) @ items.T)

    return means.clipped("ridge fold-in", scores)


def _factorize(rated: Dataset, means: Means, factors: int, penalty: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Item vectors (n_items, 1 + factors), the first column 1 for the user's bias, and user vectors alike."""
    rng = np.random.default_rng(seed)
    items = np.concatenate([np.ones((rated.n_items, 1)), rng.normal(0, 0.3, (rated.n_items, factors))], axis=1)
    precision = np.diag([USER_SHRINKAGE, *[penalty] * factors])
    residual = rated.rating - means.item[rated.item]
    by_item = np.argsort(rated.item, kind="stable")
    for _ in range(SWEEPS):
        grams, moments, _, _ = _systems(rated, means, items)
        users = np.linalg.solve(grams + precision, moments[..., None])[..., 0]
        theirs, left = users[rated.user][by_item], (residual - users[rated.user, 0])[by_item]
        grams = _sums(_outer(theirs[:, 1:]), rated.item[by_item], rated.n_items).reshape(-1, factors, factors)
        moments = _sums(theirs[:, 1:] * left[:, None], rated.item[by_item], rated.n_items)
        items[:, 1:] = np.linalg.solve(grams + penalty * np.eye(factors), moments[..., None])[..., 0]
    return items, users


def _systems(rated: Dataset, means: Means, items: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Per user: sum of q q' (n, d, d), of r q (n, d), of r^2 (n,), and number of ratings (n,)."""
    vectors, residual = items[rated.item], rated.rating - means.item[rated.item]
    d = items.shape[1]
    grams = _sums(_outer(vectors), rated.user, rated.n_users).reshape(-1, d, d)
    moments = _sums(vectors * residual[:, None], rated.user, rated.n_users)
    squares = np.bincount(rated.user, weights=residual**2, minlength=rated.n_users)
    return grams, moments, squares, rated.lengths


def _sums(values: np.ndarray, rows: np.ndarray, n_rows: int) -> np.ndarray:
    """Sums of values (n, c) by their row, which ascends: (n_rows, c)."""
    totals = np.zeros((n_rows, values.shape[1]))
    present, first = np.unique(rows, return_index=True)
    totals[present] = np.add.reduceat(values, first, axis=0)
    return totals


def _outer(vectors: np.ndarray) -> np.ndarray:
    return np.asarray((vectors[:, :, None] * vectors[:, None, :]).reshape(len(vectors), -1))


def _solve(rated: Rated, items: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """User vectors (b, d) that are best for the ratings, with a Gaussian prior around 0 of this precision."""
    vectors = items[rated.items] * rated.present[..., None]
    grams = vectors.transpose(0, 2, 1) @ vectors
    moments = (vectors * rated.residual[..., None]).sum(axis=1)
    return np.asarray(np.linalg.solve(grams + precision, moments[..., None])[..., 0])
