"""Do scores tell how likely an item is? The softmax that they were trained as, against what came true."""

from typing import Any

import numpy as np

from meta.dataset import Dataset
from meta.modes import Mode
from meta.protocol import KS, lists_of
from meta.scorer import Scorer

SUPPORT = 5
BINS = 12


def calibration(scorer: Scorer, dataset: Dataset, users: np.ndarray, *, mode: Mode) -> list[dict[str, Any]]:
    """Expected and observed shares of relevant items, in bins of equally many candidates by the expected share.

    The softmax of the scores over the candidates says how the query events spread; times their number it is how many
    of them are expected on an item. Compared at five support events.
    Source of reliability diagrams: Niculescu-Mizil and Caruana, Predicting good probabilities with supervised
    learning, ICML 2005.
    """
    expected, observed = [], []
    for part in lists_of(scorer, dataset, users, mode=mode, seed=0):
        if KS[part.column] != SUPPORT:
            continue
        scores = np.where(part.candidates, part.scores.astype(np.float64), -np.inf)
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        share = odds / odds.sum(axis=1, keepdims=True) * part.relevant.sum(axis=1, keepdims=True)
        expected.append(share[part.candidates])
        observed.append(part.relevant[part.candidates])
    forecast, truth = np.concatenate(expected), np.concatenate(observed)
    order = np.argsort(forecast, kind="stable")
    return [
        {"expected": float(forecast[rows].mean()), "observed": float(truth[rows].mean()), "n": len(rows)}
        for rows in np.array_split(order, BINS)
        if len(rows)
    ]
