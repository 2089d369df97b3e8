"""All measures of lists beside each other: per user and k, in groups of users, and of the catalog as a whole."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from meta import beyond_accuracy, measures
from meta.content import content_matrix
from meta.dataset import Dataset
from meta.measures import CUTOFF, Estimate, bootstrap_mean
from meta.modes import Mode
from meta.prior import popularity
from meta.protocol import KS, lists_of
from meta.scorer import Scorer

PER_USER = (
    *("ndcg", "hit_rate", "precision", "recall", "f1", "accuracy", "mrr", "map", "auc"),
    *("novelty", "intra_list_diversity"),
)
"""Measures with one value per user and k; their order is that of the tables"""
NAMES = {
    "ndcg": f"nDCG@{CUTOFF}",
    "hit_rate": f"HR@{CUTOFF}",
    "precision": f"precision@{CUTOFF}",
    "recall": f"recall@{CUTOFF}",
    "f1": f"F1@{CUTOFF}",
    "accuracy": f"accuracy@{CUTOFF}",
    "mrr": f"MRR@{CUTOFF}",
    "map": f"MAP@{CUTOFF}",
    "auc": "AUC",
    "novelty": "novelty, bits",
    "intra_list_diversity": "intra-list diversity",
    "coverage": "coverage",
}
"""What people call them"""


class Measured(NamedTuple):
    """A scorer's measures."""

    per_user: Mapping[str, np.ndarray]
    """By name (n_users, len(KS)); NaN where a user has no query set"""
    coverage: np.ndarray
    """Share of the catalog in the lists of all users (len(KS),)"""


def measure_all(
    scorer: Scorer, dataset: Dataset, users: np.ndarray, *, train: Dataset, mode: Mode, seed: int
) -> Measured:
    """Every measure for every user and k; novelty is by the popularity of items in `train`."""
    content, counts = content_matrix(dataset.items), popularity(train)
    per_user = {name: np.empty((len(users), len(KS))) for name in PER_USER}
    shown: list[list[np.ndarray]] = [[] for _ in KS]
    for part in lists_of(scorer, dataset, users, mode=mode, seed=seed):
        lists, relevant = part.lists, part.relevant
        found = {
            "ndcg": measures.ndcg_at(lists, relevant),
            "hit_rate": measures.hit_rate_at(lists, relevant),
            "precision": measures.precision_at(lists, relevant),
            "recall": measures.recall_at(lists, relevant),
            "f1": measures.f1_at(lists, relevant),
            "accuracy": measures.accuracy_at(lists, relevant, part.candidates),
            "mrr": measures.reciprocal_rank_at(lists, relevant),
            "map": measures.average_precision_at(lists, relevant),
            "auc": measures.auc(part.scores, relevant, part.candidates),
            "novelty": beyond_accuracy.novelty(lists, counts),
            "intra_list_diversity": beyond_accuracy.intra_list_diversity(lists, content),
        }
        for name, values in found.items():
            per_user[name][part.rows, part.column] = values
        shown[part.column].append(lists)
    covered = [beyond_accuracy.coverage(np.concatenate(lists), dataset.n_items) for lists in shown]
    return Measured(per_user, np.array(covered))


def by_k(measured: Measured, *, seed: int) -> dict[str, dict[str, Any]]:
    """Estimates as JSON by measure and k; coverage is one number for all users and has no interval."""
    found = {
        name: {str(k): bootstrap_mean(values[:, column], seed=seed).as_json() for column, k in enumerate(KS)}
        for name, values in measured.per_user.items()
    }
    n_users = len(measured.per_user["ndcg"])
    found["coverage"] = {
        str(k): Estimate(float(value), np.nan, np.nan, n_users).as_json()
        for k, value in zip(KS, measured.coverage, strict=True)
    }
    return found


def by_group(ndcg: Mapping[str, np.ndarray], groups: Mapping[str, np.ndarray], *, seed: int) -> dict[str, Any]:
    """nDCG@10 of each scorer in each group: mean over k >= 1 of a user, then over the users, with its interval."""
    first = KS.index(1)
    return {
        group: {
            scorer: bootstrap_mean(values[members, first:].mean(axis=1), seed=seed).as_json()
            for scorer, values in ndcg.items()
        }
        for group, members in groups.items()
    }
