"""Simple recommenders, which a learned one has to beat; all are fitted on training users and score support sets.

One file per family. Every setting was chosen on validation users by `python -m meta.benchmark.choosing`.
"""

from meta.baselines.factors import fit_als, fit_bpr
from meta.baselines.linear import fit_ease, fit_few_shot_ridge
from meta.baselines.neighbors import fit_item_knn, fit_item_knn_late, fit_item_knn_recency
from meta.baselines.popularity import (
    RECENCY,
    TAUS_DAYS,
    best_tau,
    fit_late_popularity,
    fit_popularity,
    fit_recency,
)
from meta.baselines.sequence import fit_sasrec
from meta.dataset import Dataset
from meta.scorer import FittedScorer, Scorer

__all__ = [
    "RECENCY",
    "TAUS_DAYS",
    "FittedScorer",
    "best_tau",
    "fit_all",
    "fit_als",
    "fit_bpr",
    "fit_ease",
    "fit_every",
    "fit_few_shot_ridge",
    "fit_item_knn",
    "fit_item_knn_late",
    "fit_item_knn_recency",
    "fit_late_popularity",
    "fit_popularity",
    "fit_recency",
    "fit_sasrec",
]


def fit_all(dataset: Dataset) -> list[Scorer]:
    """The baselines that are fitted in seconds at any size: what every training and evaluation is compared with."""
    return [fit(dataset) for fit in (fit_popularity, fit_recency, fit_item_knn, fit_item_knn_recency)]


def fit_every(dataset: Dataset, *, seed: int) -> list[Scorer]:
    """Those of `fit_all` and the costly ones, for catalogs of some thousand items: some need (n_items, n_items)."""
    return [
        *fit_all(dataset),
        fit_late_popularity(dataset),
        fit_item_knn_late(dataset),
        fit_ease(dataset),
        fit_als(dataset, seed=seed),
        fit_bpr(dataset, seed=seed),
        fit_sasrec(dataset, seed=seed),
        fit_few_shot_ridge(dataset),
    ]
