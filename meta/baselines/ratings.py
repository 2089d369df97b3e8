"""Rating predictors in closed form: means and biases, factors, and a ridge regression on the factors.

Each starts from the ratings that support events carry in their kinds, see `meta.rating_protocol.kind_ratings`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from meta.dataset import Dataset
from meta.factors import PENALTY, factorize, precision_of, variances
from meta.rating_protocol import kind_ratings
from meta.scorer import FittedScorer, Scorer
from meta.supports import Supports

# The best of `meta.benchmark.choosing`, MAE, mean over k.
ITEM_SHRINKAGE, USER_SHRINKAGE = 5.0, 10.0
FACTORS, FACTOR_PENALTY = 16, 6.0
RIDGE_FACTORS = 4
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
    """Biased matrix factorization; a new user's bias and vector are folded in with the penalties of the training."""
    means, items = _factorized(rated, factors, penalty, seed)
    return _folded_in("biased factors, folded in", means, items, precision_of(factors, penalty))


def fit_ridge_fold_in(
    rated: Dataset, *, factors: int = RIDGE_FACTORS, penalty: float = PENALTY, seed: int = 0
) -> Scorer:
    """The same factors, but a user's vector is drawn to 0 the more in a direction, the less users differ in it."""
    means, items = _factorized(rated, factors, penalty, seed)
    covariance, noise = variances(items, rated.rating - means.item[rated.item], rated)
    return _folded_in("ridge fold-in", means, items, noise * np.linalg.inv(covariance))


def _factorized(rated: Dataset, factors: int, penalty: float, seed: int) -> tuple[Means, np.ndarray]:
    means, rng = item_means(rated), np.random.default_rng(seed)
    return means, factorize(rated, rated.rating - means.item[rated.item], d=factors, penalty=penalty, rng=rng)


def _folded_in(name: str, means: Means, items: np.ndarray, precision: np.ndarray) -> Scorer:
    """Predicts by user vectors that are best for the support ratings under a penalty."""
    return means.clipped(name, lambda found: means.item + _solve(means.rated(found), items, precision) @ items.T)


def _solve(rated: Rated, items: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """User vectors (b, d) that are best for the ratings, with a Gaussian prior around 0 of this precision."""
    vectors = items[rated.items] * rated.present[..., None]
    grams = vectors.transpose(0, 2, 1) @ vectors
    moments = (vectors * rated.residual[..., None]).sum(axis=1)
    return np.asarray(np.linalg.solve(grams + precision, moments[..., None])[..., 0])
