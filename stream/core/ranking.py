"""Picks the best items of score rows: exact, deterministic, ties broken by item row."""

import numpy as np
from numpy.typing import NDArray

_FOLDS = 16
HIDDEN = np.float32(-np.inf)
"""The score of an item that must not appear."""


def best_rows(scores: NDArray[np.float32], n: int) -> NDArray[np.int64]:
    """Rows (b, n) of the n highest of scores (b, n_items), best first; -1 where all items that are not HIDDEN are used.

    A lower row wins a tie.
    """
    users, n_items = scores.shape
    candidates = np.flatnonzero(scores >= _thresholds(scores, n)[:, None])
    owners, rows = np.divmod(candidates, n_items)
    counts = np.bincount(owners, minlength=users)
    width = max(n, int(counts.max(initial=0)))
    inside = np.arange(width) < counts[:, None]
    padded_rows = np.full((users, width), -1, dtype=np.int64)
    padded_rows[inside] = rows
    padded_scores = np.full((users, width), HIDDEN)
    padded_scores[inside] = scores[owners, rows]
    order = np.argsort(-padded_scores, axis=1, kind="stable")[:, :n]
    return np.take_along_axis(padded_rows, order, axis=1)


def _thresholds(scores: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """A bound (b,) that at least n scores of each row reach, and few more; the lowest finite number if there are less.

    The catalog is folded to the maxima of 16 interleaved parts: n of these maxima are n different items, so that their
    n-th largest is such a bound, and finding it takes a sixteenth of the work.
    """
    n_items = scores.shape[1]
    width = n_items // _FOLDS
    if width < 2 * n:
        width, folded = n_items, scores
    else:
        folded = scores[:, : width * _FOLDS].reshape(-1, _FOLDS, width).max(axis=1)
    lowest = np.finfo(np.float32).min
    if width <= n:
        return np.full(len(scores), lowest, dtype=np.float32)
    return np.maximum(np.partition(folded, width - n, axis=1)[:, width - n], lowest)


def round_scores(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Round finite numbers to 6 significant digits, which is what a float32 holds: their texts are short then."""
    exact = values.astype(np.float64)
    magnitude = np.abs(exact)
    digits = np.floor(np.log10(magnitude, out=np.zeros_like(exact), where=magnitude > 0)).astype(np.int64)
    # Dividing a whole number by an exact power of ten is rounded correctly, so that the text has no further digits.
    scale = _POWERS[np.clip(5 - digits, 0, 22)]
    coarse = _POWERS[np.clip(digits - 5, 0, 40)]
    rounded: NDArray[np.float64] = np.round(exact / coarse * scale) / scale * coarse
    return rounded


_POWERS = 10.0 ** np.arange(41)
