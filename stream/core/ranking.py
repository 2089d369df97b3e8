"""Picks the best items of scores: exact, deterministic, ties broken by item row.

Scores come in blocks of the catalog that fit into a core's cache, and no matrix of all of them is ever held.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_FOLDS = 16
HIDDEN = np.float32(-np.inf)
"""The score of an item that must not appear."""
_LOWEST = np.finfo(np.float32).min


class Best(NamedTuple):
    """The best items of b users: `rows` (b, n), best first, -1 where all items that are not HIDDEN are used; `scores`
    (b, n), HIDDEN where there is none. `finite` (b,): no score was NaN or positive infinity; else a row means nothing.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    finite: NDArray[np.bool_]


def best_rows(blocks: Iterable[NDArray[np.float32]], n: int) -> Best:
    """The n highest of scores that come as blocks (b, ...) of one or more items, in row order; a lower row wins a tie.

    Raises ValueError without blocks.
    """
    best, begins = None, 0
    for scores in blocks:
        folded = _fold(scores, n)
        highest = folded.max(axis=1)
        finite = highest < np.inf  # False for NaN too
        if best is None:
            best = _nothing(len(scores), n)
            thresholds = _thresholds(folded, n)
            owners, rows = _reaching(scores, folded, thresholds)
        else:
            # An equal score in a later block loses: its row is higher.
            owners, rows = _reaching(scores, folded, np.nextafter(best.scores[:, -1], np.float32(np.inf)))
        best = _merged(best, owners, rows + begins, scores[owners, rows])
        best = best._replace(finite=best.finite & finite)
        begins += scores.shape[1]
    if best is None:
        raise ValueError("no scores")
    return best


def _nothing(users: int, n: int) -> Best:
    return Best(np.full((users, n), -1, dtype=np.int64), np.full((users, n), HIDDEN), np.ones(users, dtype=bool))


def _fold(scores: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """The maxima (b, parts) of interleaved parts: part p has the columns p, p + parts, ...; each its own if few."""
    width = scores.shape[1]
    parts = width // _FOLDS
    if parts < max(2 * n, _FOLDS):
        return scores
    folded: NDArray[np.float32] = scores[:, : parts * _FOLDS].reshape(-1, _FOLDS, parts).max(axis=1)
    left = width - parts * _FOLDS
    if left:
        np.maximum(folded[:, :left], scores[:, parts * _FOLDS :], out=folded[:, :left])
    return folded


def _thresholds(folded: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """A bound (b,) that at least n scores of each user reach, and few more; the lowest finite number if there are less.

    n of the maxima of different parts are n different items, so that their n-th largest is such a bound, and finding it
    takes a sixteenth of the work.
    """
    parts = folded.shape[1]
    if parts <= n:
        return np.full(len(folded), _LOWEST, dtype=np.float32)
    return np.maximum(np.partition(folded, parts - n, axis=1)[:, parts - n], _LOWEST)


def _reaching(
    scores: NDArray[np.float32], folded: NDArray[np.float32], thresholds: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """User and column of all scores that reach their user's threshold, by user and then by column."""
    width, parts = scores.shape[1], folded.shape[1]
    owners, found = np.divmod(np.flatnonzero(folded >= thresholds[:, None]), parts)
    if parts == width:
        return owners, found
    columns = found[:, None] + np.arange(0, width, parts)
    inside = columns < width
    reaching = inside & (scores[owners[:, None], np.where(inside, columns, 0)] >= thresholds[owners, None])
    places = np.sort((owners[:, None] * width + columns)[reaching])
    return np.divmod(places, width)


def _merged(best: Best, owners: NDArray[np.int64], rows: NDArray[np.int64], scores: NDArray[np.float32]) -> Best:
    """The best of those so far and of further scores, ordered by owner and row, whose rows are all higher."""
    counts = np.bincount(owners, minlength=len(best.rows))
    more = np.flatnonzero(counts)
    if not len(more):
        return best
    n, most = best.rows.shape[1], int(counts.max())
    inside = np.zeros((len(more), n + most), dtype=bool)
    inside[:, n:] = np.arange(most) < counts[more, None]
    padded_rows = np.full(inside.shape, -1, dtype=np.int64)
    padded_rows[:, :n], padded_rows[inside] = best.rows[more], rows
    padded_scores = np.full(inside.shape, HIDDEN)
    padded_scores[:, :n], padded_scores[inside] = best.scores[more], scores
    order = np.argsort(-padded_scores, axis=1, kind="stable")[:, :n]
    best.rows[more] = np.take_along_axis(padded_rows, order, axis=1)
    best.scores[more] = np.take_along_axis(padded_scores, order, axis=1)
    return best


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
