"""How good lists and predictions are, and what a mean over users is worth."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

CUTOFF = 10
_CHUNK = 4_000_000


class Estimate(NamedTuple):
    """A mean over users with its bootstrap 95 % interval."""

    mean: float
    low: float
    high: float
    n_users: int

    def as_json(self) -> dict[str, float | int | None]:
        """The fields by name; None in place of NaN, which JSON lacks."""
        return {name: None if math.isnan(value) else value for name, value in self._asdict().items()}


def top_rows(scores: np.ndarray, n: int, *, excluded: np.ndarray, seed: int) -> np.ndarray:
    """Item rows of the n best scores (b, n), best first; -1 where fewer than n are left.

    `scores` (b, n_items); `excluded` (b, n_items) bool. A seeded permutation of the items orders ties, so that neither
    row order nor item ids decide.
    """
    order = np.random.default_rng(seed).permutation(scores.shape[1])
    shuffled = np.where(excluded, -np.inf, scores)[:, order]
    n_kept = min(n, scores.shape[1])
    least = np.partition(shuffled, -n_kept, axis=1)[:, -n_kept]
    lists = np.full((len(scores), n), -1, dtype=np.int64)
    for row, (values, bound) in enumerate(zip(shuffled, least, strict=True)):
        at = np.flatnonzero((values >= bound) & (values > -np.inf))
        best = at[np.argsort(-values[at], kind="stable")[:n]]
        lists[row, : len(best)] = order[best]
    return lists


def ndcg_at(lists: np.ndarray, relevant: np.ndarray, cutoff: int = CUTOFF) -> np.ndarray:
    """nDCG with binary gains (b,), NaN where nothing is relevant; ideal: min(cutoff, number of relevant items) hits.

    `lists` (b, n) item rows, best first, -1 for none; `relevant` (b, n_items) bool.
    Source: Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, ACM TOIS 20(4), 2002.
    """
    discounts = 1.0 / np.log2(np.arange(cutoff) + 2)
    hits = _hits(lists, relevant, cutoff)
    ideal = np.concatenate([[np.nan], np.cumsum(discounts)])
    n_relevant = np.minimum(relevant.sum(axis=1), cutoff)
    return np.asarray((hits * discounts[: hits.shape[1]]).sum(axis=1) / ideal[n_relevant])


def hit_rate_at(lists: np.ndarray, relevant: np.ndarray, cutoff: int = CUTOFF) -> np.ndarray:
    """1 where the first `cutoff` items hold a relevant one, else 0, NaN where nothing is relevant: (b,)."""
    return np.where(relevant.any(axis=1), _hits(lists, relevant, cutoff).any(axis=1).astype(float), np.nan)


def precision_at(lists: np.ndarray, relevant: np.ndarray, cutoff: int = CUTOFF) -> np.ndarray:
    """Share of the first `cutoff` places that hold a relevant item (b,), NaN where nothing is relevant.

    Source of precision, recall and F1: van Rijsbergen, Information Retrieval, 2nd edition, 1979, chapter 7.
    """
    return _known(_hits(lists, relevant, cutoff).sum(axis=1) / cutoff, relevant)


def recall_at(lists: np.ndarray, relevant: np.ndarray, cutoff: int = CUTOFF) -> np.ndarray:
    """Share of the relevant items that the first `cutoff` places hold (b,), NaN where nothing is relevant."""
    return _known(_hits(lists, relevant, cutoff).sum(axis=1) / np.maximum(relevant.sum(axis=1), 1), relevant)


def f1_at(lists: np.ndarray, relevant: np.ndarray, cutoff: int = CUTOFF) -> np.ndarray:
    """Harmonic mean of precision and recall (b,): 2 hits / (cutoff + relevant); NaN where nothing is relevant."""
    return _known(2 * _hits(lists, relevant, cutoff).sum(axis=1) / (cutoff + relevant.sum(axis=1)), relevant)


def accuracy_at(lists: np.ndarray, relevant: np.ndarray, candidates: np.ndarray, cutoff: int = CUTOFF) -> np.ndarray:
    """Share of the candidates (b, n_items) bool that are listed and relevant, or neither (b,).

    Hardly a measure of lists, as most candidates are neither; here because people ask for it.
    """
    hits = _hits(lists, relevant, cutoff).sum(axis=1)
    listed = (lists[:, :cutoff] >= 0).sum(axis=1)
    wrong = (listed - hits) + ((relevant & candidates).sum(axis=1) - hits)
    return _known(1 - wrong / np.maximum(candidates.sum(axis=1), 1), relevant)


def reciprocal_rank_at(lists: np.ndarray, relevant: np.ndarray, cutoff: int = CUTOFF) -> np.ndarray:
    """1 / place of the first relevant item, 0 where the first `cutoff` hold none (b,); its mean is MRR.

    Source: Voorhees, The TREC-8 Question Answering Track Report, 1999.
    """
    hits = _hits(lists, relevant, cutoff)
    return _known(np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0), relevant)


def average_precision_at(lists: np.ndarray, relevant: np.ndarray, cutoff: int = CUTOFF) -> np.ndarray:
    """Mean of the precisions at the places of the hits, over min(cutoff, number of relevant items); its mean is MAP.

    Source: Buckley and Voorhees, Evaluating evaluation measure stability, SIGIR 2000.
    """
    hits = _hits(lists, relevant, cutoff)
    precision = hits.cumsum(axis=1) / (np.arange(hits.shape[1]) + 1)
    ideal = np.maximum(np.minimum(relevant.sum(axis=1), cutoff), 1)
    return _known((hits * precision).sum(axis=1) / ideal, relevant)


def bootstrap_mean(values: np.ndarray, *, seed: int, n: int = 2000) -> Estimate:
    """Mean of one value per user and its percentile interval over `n` resamples of the users, NaN left out.

    Of paired differences it says whether one list is better than another on the same users.
    """
    kept = values[~np.isnan(values)]
    if not len(kept):
        return Estimate(math.nan, math.nan, math.nan, 0)
    rng = np.random.default_rng(seed)
    means = np.empty(n)
    step = max(1, _CHUNK // len(kept))
    for start in range(0, n, step):
        size = min(step, n - start)
        means[start : start + size] = kept[rng.integers(0, len(kept), (size, len(kept)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(kept.mean()), float(low), float(high), len(kept))


def bootstrap_of(
    columns: Sequence[np.ndarray], combine: Callable[..., np.ndarray], *, seed: int, n: int = 2000
) -> Estimate:
    """A function of means over users, such as a root or a ratio, with its interval over `n` resamples of the users.

    `columns` hold one value per user each; `combine` takes their means, single numbers or (n,), and gives as many.
    """
    users = len(columns[0])
    if not users:
        return Estimate(math.nan, math.nan, math.nan, 0)
    rng = np.random.default_rng(seed)
    stacked = np.stack(columns)
    means = np.empty((len(columns), n))
    step = max(1, _CHUNK // users)
    for start in range(0, n, step):
        drawn = rng.integers(0, users, (min(step, n - start), users))
        means[:, start : start + step] = stacked[:, drawn].mean(axis=2)
    (found,) = combine(*stacked.mean(axis=1, keepdims=True))
    if math.isnan(found):
        return Estimate(math.nan, math.nan, math.nan, users)
    low, high = np.nanquantile(combine(*means), [0.025, 0.975])
    return Estimate(float(found), float(low), float(high), users)


def auc(scores: np.ndarray, relevant: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Probability that a relevant candidate is scored above another one, ties half: (b,); NaN where a side is empty.

    All three are (b, n); what is no candidate does not count. By ranks, as the statistic of Mann and Whitney.
    Source: Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 143(1), 1982.
    """
    areas = np.full(len(scores), np.nan)
    for row, (values, wanted, allowed) in enumerate(zip(scores, relevant, candidates, strict=True)):
        wanted = wanted[allowed]
        n_wanted = int(wanted.sum())
        n_others = len(wanted) - n_wanted
        if n_wanted and n_others:
            _, place, counts = np.unique(values[allowed], return_inverse=True, return_counts=True)
            ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
            areas[row] = (ranks[wanted].sum() - n_wanted * (n_wanted + 1) / 2) / (n_wanted * n_others)
    return areas


def _known(values: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    return np.where(relevant.any(axis=1), values, np.nan)


def _hits(lists: np.ndarray, relevant: np.ndarray, cutoff: int) -> np.ndarray:
    first = lists[:, :cutoff]
    return np.take_along_axis(relevant, np.maximum(first, 0), axis=1) & (first >= 0)
