"""What the report shows, as plain values: every number of the page, and no others."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from meta import all_measures, cold
from meta.baselines import RECENCY
from meta.dataset import Dataset
from meta.groups import user_groups
from meta.measures import bootstrap_mean
from meta.modes import Mode
from meta.prior import popularity
from meta.protocol import KS, eligible_users
from meta.report.calibration import calibration
from meta.report.item_map import item_map
from meta.scorer import Scorer
from meta.served import ServedBundle

Figures = dict[str, Any]
_LEAST_COLD = 10
"""Items without training events that make a measure of them worth showing"""


def collect(
    bundle: ServedBundle, scorers: Sequence[Scorer], held_out: Dataset, train: Dataset, *, mode: Mode, seed: int
) -> Figures:
    """All figures of a bundle beside other scorers; the first of `scorers` is the one that the page is about.

    Raises DataError where no held-out user has events enough.
    """
    users = eligible_users(held_out)
    measured = {
        scorer.name: all_measures.measure_all(scorer, held_out, users, train=train, mode=mode, seed=seed)
        for scorer in scorers
    }
    ndcg = {name: found.per_user["ndcg"] for name, found in measured.items()}
    figures: Figures = {
        "model": bundle.manifest.model,
        "version": bundle.manifest.version,
        "mode": mode.value,
        "n_users": len(users),
        "support_sizes": list(KS),
        "reference": RECENCY,
        "measures": {name: all_measures.by_k(found, seed=seed) for name, found in measured.items()},
        "minus_reference": {name: _by_k(values - ndcg[RECENCY], seed) for name, values in ndcg.items()},
        "steps": steps_sweep(bundle, held_out, users, train=train, mode=mode, seed=seed),
        "groups": all_measures.by_group(ndcg, user_groups(held_out, users), seed=seed),
        "item_map": item_map(bundle),
    }
    # Scores that are ratings are no logits.
    if bundle.manifest.hyper_parameters.get("objective") != "rating":
        figures["calibration"] = calibration(bundle, held_out, users, mode=mode)
    curve = bundle.manifest.data.get("learning_curve")
    if curve:
        figures["learning_curve"] = curve
    return figures | cold_items(scorers, held_out, train, seed=seed)


def steps_sweep(
    bundle: ServedBundle, held_out: Dataset, users: np.ndarray, *, train: Dataset, mode: Mode, seed: int
) -> dict[str, Any]:
    """nDCG@10 by support size after 0, 1, ... all inner steps: a step of size 0 is no step."""
    sizes = bundle.tensors["step_sizes"]
    found = {}
    for steps in range(len(sizes) + 1):
        kept = (np.arange(len(sizes)) < steps).reshape(-1, *[1] * (sizes.ndim - 1)).astype(sizes.dtype)
        shortened = replace(bundle, tensors=bundle.tensors | {"step_sizes": sizes * kept})
        measured = all_measures.measure_all(shortened, held_out, users, train=train, mode=mode, seed=seed)
        found[str(steps)] = _by_k(measured.per_user["ndcg"], seed)
    return found


def cold_items(scorers: Sequence[Scorer], held_out: Dataset, train: Dataset, *, seed: int) -> Figures:
    """AUC of users' items among those without any training event; nothing where there are few such items."""
    unseen = popularity(train) == 0
    if unseen.sum() < _LEAST_COLD or not np.isin(held_out.item, np.flatnonzero(unseen)).any():
        return {}
    compared = [*scorers[:1], cold.fit_category_mean(train), cold.fit_category_taste(train)]
    areas = {scorer.name: cold.item_cold_auc(scorer, held_out, unseen) for scorer in compared}
    return {
        "cold_items": {
            "n_items": int(unseen.sum()),
            "auc": {name: bootstrap_mean(values, seed=seed).as_json() for name, values in areas.items()},
        }
    }


def _by_k(values: np.ndarray, seed: int) -> Mapping[str, Any]:
    return {str(k): bootstrap_mean(values[:, column], seed=seed).as_json() for column, k in enumerate(KS)}
