"""Picks the best items of scores: exact, deterministic, ties broken by item row.

Scores come in blocks of the catalog that fit into a core's cache, and only where they can matter; no matrix of all of
them is ever held.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.adapter import Block

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


def best_rows(blocks: Iterable[Block], n: int) -> Best:
    """The n highest scores of blocks that hold each item once; a lower row wins a tie. Where no score of a block can be
    among them, none is asked for.

    Raises ValueError without blocks.
    """
    best = None
    for block in blocks:
        if best is None:
            best = _nothing(len(block.most), n)
        if (block.rest < best.scores[:, -1]).all():
            break
        lowest = _to_reach(best, int(block.rows[0]))
        users = np.flatnonzero(~(block.most < lowest))  # a bound that is NaN rules nothing out
        if len(users):
            _take(best, block, users, lowest[users])
    if best is None:
        raise ValueError("no scores")
    return best


def _to_reach(best: Best, row: int) -> NDArray[np.float32]:
    """The least score (b,) with which an item of this row or a higher one can be among the best."""
    least, rows = best.scores[:, -1], best.rows[:, -1]
    return np.where(rows < row, np.nextafter(least, np.float32(np.inf)), least)


def _take(best: Best, block: Block, users: NDArray[np.int64], lowest: NDArray[np.float32]) -> None:
    """Put what reaches its user's lowest score among the best of some users."""
    scores, n = block.score(users), best.rows.shape[1]
    folded = _fold(scores, n)
    best.finite[users] &= folded.max(axis=1) < np.inf  # False for NaN too
    if (lowest <= _LOWEST).any():
        lowest = np.maximum(lowest, _thresholds(folded, n))
    owners, columns = _reaching(scores, folded, lowest)
    _merge(best, users[owners], block.rows[columns], scores[owners, columns])


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
    """User and column of all scores that reach their user's threshold, by user."""
    width, parts = scores.shape[1], folded.shape[1]
    at = np.flatnonzero(folded >= thresholds[:, None])
    owners, found = np.divmod(at, parts)
    if parts == width:
        return owners, found
    columns = found[:, None] + np.arange(0, width, parts)
    places = (owners * width)[:, None] + columns
    values = scores.ravel().take(places, mode="clip")  # what is taken beyond the end of a row is another's
    reaching = np.flatnonzero((values >= thresholds[owners, None]) & (columns < width))
    return owners.take(reaching // columns.shape[1]), columns.ravel().take(reaching)


def _merge(best: Best, owners: NDArray[np.int64], rows: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
    """Put further scores, ordered by owner, among the best so far."""
    counts = np.bincount(owners, minlength=len(best.rows))
    more = np.flatnonzero(counts)
    if not len(more):
        return
    n, most = best.rows.shape[1], int(counts.max())
    inside = np.zeros((len(more), n + most), dtype=bool)
    inside[:, n:] = np.arange(most) < counts[more, None]
    padded_rows = np.full(inside.shape, -1, dtype=np.int64)
    padded_rows[:, :n], padded_rows[inside] = best.rows[more], rows
    padded_scores = np.full(inside.shape, HIDDEN)
    padded_scores[:, :n], padded_scores[inside] = best.scores[more], scores
    order = np.lexsort((padded_rows, -padded_scores))[:, :n]
    best.rows[more] = np.take_along_axis(padded_rows, order, axis=1)
    best.scores[more] = np.take_along_axis(padded_scores, order, axis=1)


def round_scores(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Round finite numbers to 6 significant digits, which is what a float32 holds: their texts are short then."""
    exact = values.astype(np.float64)
    magnitude = np.abs(exact)
    digits = np.floor(np.log10(magnitude, out=np.zeros_like(exact), where=magnitude > 0)).astype(np.int64)
    # Dividing a whole number by an exact power of ten is rounded correctly, so that the text has no further digits.
    scale = _POWERS[:23].take(5 - digits, mode="clip")
    if digits.max(initial=0) <= 5:
        rounded: NDArray[np.float64] = np.round(exact * scale) / scale
    else:
        coarse = _POWERS.take(digits - 5, mode="clip")
        rounded = np.round(exact / coarse * scale) / scale * coarse
    return rounded


_POWERS = 10.0 ** np.arange(41)
