"""Evaluates rating predictors on held-out users as a function of how many ratings have been seen of them.

Support: a user's first k ratings. Query: the ratings 21 to 30 at every k, so that the figures of all k are comparable.
Users need 30 ratings. Only events of type `rating` count; whatever else a user did is left out.

A predictor is a `Scorer` whose scores are ratings: (b, n_items), kept within the scale by the predictor itself.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from meta.dataset import Dataset, keep_events
from meta.measures import auc, bootstrap_mean, bootstrap_of
from meta.scorer import Scorer
from meta.supports import first_events
from schemas.errors import DataError

KS = (0, 1, 3, 5, 10, 20)
QUERY_BEGIN, QUERY_END = 20, 30
LIKED_FROM = 4.0
"""A rating from here on counts as liked where a measure knows only yes and no."""
_BATCH_CELLS = 4_000_000

MEASURES = ("mae", "rmse", "accuracy", "precision", "recall", "f1", "auc")


class Predictions(NamedTuple):
    """What was predicted for each user's query ratings at each k, and what they were."""

    predicted: np.ndarray
    """(n_users, len(KS), 10) float64"""
    actual: np.ndarray
    """(n_users, 10) float64"""

    @property
    def absolute(self) -> np.ndarray:
        """Mean absolute error per user and k, (n_users, len(KS)): what paired differences are taken of."""
        return np.asarray(np.abs(self.predicted - self.actual[:, None]).mean(axis=2))


def rated_only(dataset: Dataset) -> Dataset:
    """The rating events; users may be left without any. Raises DataError where there is none."""
    rated = ~np.isnan(dataset.rating)
    if not rated.any():
        raise DataError("no event is a rating with a value; rating measures need events of type `rating`")
    return keep_events(dataset, rated)


def rating_users(rated: Dataset) -> np.ndarray:
    """Rows of the users with ratings enough. Raises DataError where there is none."""
    users = np.flatnonzero(rated.lengths >= QUERY_END)
    if not len(users):
        raise DataError(f"no held-out user has {QUERY_END} ratings; hold out more users or longer histories")
    return users


def kind_ratings(dataset: Dataset) -> np.ndarray:
    """The rating that an event's kind stands for, (n_kinds,) float64: its mean value; NaN for a kind without ratings.

    Supports carry kinds, as the worker's feeds do; this gives a predictor the ratings back.
    """
    rated = ~np.isnan(dataset.rating) & (dataset.kind >= 0)
    n_kinds = len(dataset.kinds)
    totals = np.bincount(dataset.kind[rated], weights=dataset.rating[rated], minlength=n_kinds)
    counts = np.bincount(dataset.kind[rated], minlength=n_kinds)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def predict(scorer: Scorer, rated: Dataset, users: np.ndarray) -> Predictions:
    """Predictions for these users of a dataset that holds ratings only."""
    at = rated.starts[:-1][users][:, None] + np.arange(QUERY_BEGIN, QUERY_END)
    items, actual = rated.item[at], rated.rating[at].astype(np.float64)
    predicted = np.empty((len(users), len(KS), QUERY_END - QUERY_BEGIN))
    step = max(1, _BATCH_CELLS // rated.n_items)
    for start in range(0, len(users), step):
        batch = slice(start, start + step)
        for column, k in enumerate(KS):
            scores = scorer.score(first_events(rated, users[batch], k, width=KS[-1]))
            predicted[batch, column] = np.take_along_axis(scores, items[batch], axis=1)
    return Predictions(predicted, actual)


def report(found: Mapping[str, Predictions], reference: str, *, seed: int) -> dict[str, Any]:
    """All measures with 95 % intervals per predictor and k, and paired differences of the MAE to `reference`."""
    compared = found[reference].absolute
    return {
        "n_users": len(compared),
        "reference": reference,
        "liked_from": LIKED_FROM,
        "scorers": {
            name: measures(each, seed=seed) | {"mae_minus_reference": _by_k(each.absolute - compared, seed)}
            for name, each in found.items()
        },
    }


def measures(found: Predictions, *, seed: int) -> dict[str, dict[str, Any]]:
    """By name of the measure and k: estimates as JSON. Counts of yes and no are pooled over users, AUC is per user."""
    error = found.predicted - found.actual[:, None]
    said, liked = found.predicted >= LIKED_FROM, (found.actual >= LIKED_FROM)[:, None]
    right, wrong, missed, total = (
        part.sum(axis=2).astype(float)
        for part in (said & liked, said & ~liked, ~said & liked, np.ones_like(said, dtype=int))
    )
    squared = (error**2).mean(axis=2)
    values: dict[str, dict[str, Any]] = {
        "mae": _by_k(np.abs(error).mean(axis=2), seed),
        **{m: {} for m in MEASURES[1:]},
    }
    for column, k in enumerate(KS):
        tp, fp, fn, n = (part[:, column] for part in (right, wrong, missed, total))
        ratios = {
            "accuracy": (n - fp - fn, n),
            "precision": (tp, tp + fp),
            "recall": (tp, tp + fn),
            "f1": (2 * tp, 2 * tp + fp + fn),
        }
        for name, (part, whole) in ratios.items():
            values[name][str(k)] = bootstrap_of((part, whole), _ratio, seed=seed).as_json()
        values["rmse"][str(k)] = bootstrap_of((squared[:, column],), np.sqrt, seed=seed).as_json()
        areas = auc(found.predicted[:, column], liked[:, 0], np.ones_like(liked[:, 0]))
        values["auc"][str(k)] = bootstrap_mean(areas, seed=seed).as_json()
    return values


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0))


def _by_k(values: np.ndarray, seed: int) -> dict[str, dict[str, Any]]:
    return {str(k): bootstrap_mean(values[:, column], seed=seed).as_json() for column, k in enumerate(KS)}
