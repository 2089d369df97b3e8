"""The catalog in blocks, best prospects first, with bounds on what is in them: so most of it need not be scored.

With r = |u|, no score u . q_i + z_i is above z_i + r |q_i|, and the largest of these in a block is a convex function of
r: a line between two points of it lies above it. So a few numbers per block and row of the prior bound a block for all
users (the bound of Teflioudi et al., LEMP: fast retrieval of large entries in a matrix product, SIGMOD 2015, with
the prior in it).
"""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.adapter import Block, Floats, Ints
from stream.core.features import BLOCK
from stream.engine.runtime import Array, Graph, run_graph

BLOCK_ITEMS = 1024
"""Items of one scoring run: with 256 users, its scores fit into a core's cache."""
ONE_BLOCK_ITEMS = 4096
"""Up to so many items are scored in one run: to rule out parts of a small catalog costs more than to score them."""
_KNOTS = np.concatenate([[0.0], 2.0 ** np.arange(-3, 7)])
"""Lengths of a user vector for which bounds are tabulated; one of length 1 adds 1 at most to the mean item's score."""
_CACHED = 256
_PROBE = 8


class Blocks(NamedTuple):
    """The score graph, bound to the whole catalog, and the order in which its items are scored."""

    graph: Graph
    rows: tuple[Ints, ...]
    """of the blocks, ascending in each"""
    places: Ints
    """(n_items,) where each row comes in them, put together"""
    vectors: tuple[Floats, ...]
    """of the blocks"""
    lengths: NDArray[np.float64]
    """(knots,) of user vectors, from 0 on"""
    longest: NDArray[np.float64]
    """(n_blocks,) length of the longest vector"""
    tops: Callable[[int], NDArray[np.float64]] | None
    """(knots, n_blocks) the most that a score can be, by row of the prior; None where all is one block"""


def in_blocks(graph: Graph, n_items: int) -> Blocks:
    """Order the items of a score graph by prior and length, longest and most popular first.

    A small catalog gets one block, as does a graph that reads more than vectors and prior, or makes more of them than a
    product and a sum.
    """
    prior, vectors = graph.bound.get("prior"), graph.bound.get("item_vectors")
    small = n_items <= ONE_BLOCK_ITEMS
    if small or prior is None or vectors is None or len(graph.bound) > 2 or not _is_product(graph, prior, vectors):
        every = np.arange(n_items)
        return Blocks(graph, (every,), every, (), np.zeros(1), np.zeros(1), None)
    # Longer than exact: what a float32 product and sum of d terms may come out too large by.
    slack = 4 * (vectors.shape[1] + 2) * float(np.finfo(np.float32).eps)
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1) * (1 + slack)
    unit = 1 / (norms.mean() or 1.0)
    order = np.argsort(-(prior[-1] + unit * norms), kind="stable")
    starts = np.arange(0, len(order), BLOCK_ITEMS)
    rows = tuple(np.sort(order[start : start + BLOCK_ITEMS]) for start in starts)
    order = np.concatenate(rows)
    ordered, lengths = norms[order], _KNOTS * unit

    def tops(time: int) -> NDArray[np.float64]:
        highest = prior[time][order].astype(np.float64)
        highest += slack * np.abs(highest).max()
        return np.stack([np.maximum.reduceat(highest + length * ordered, starts) for length in lengths])

    own = np.split(np.ascontiguousarray(vectors[order]), starts[1:])
    longest = np.maximum.reduceat(ordered, starts)
    places = np.empty(n_items, dtype=np.int64)
    places[order] = np.arange(n_items)
    return Blocks(graph, rows, places, tuple(own), lengths, longest, lru_cache(_CACHED)(tops))


class _Asked(NamedTuple):
    """Users (b, d), the rows of the prior that they need (k,), and which of these is whose (b,)."""

    user_vector: Floats
    times: Ints
    at: Ints


def score_blocks(blocks: Blocks, user_vector: Floats, time_index: Ints) -> Iterator[Block]:
    """The blocks for users (b, d) at rows (b,) of the prior."""
    if blocks.tops is None:
        bound = np.full(len(user_vector), np.inf)
        yield Block(
            blocks.rows[0], bound, bound, partial(_run, blocks.graph, blocks.graph.bound, user_vector, time_index)
        )
        return
    asked = _Asked(user_vector, *np.unique(time_index, return_inverse=True))
    bounds = _bounds(blocks, blocks.tops, asked)
    # Behind it: the highest of all blocks from each on.
    rest = np.maximum.accumulate(bounds[::-1], axis=0)[::-1]
    for number, rows in enumerate(blocks.rows):
        yield Block(rows, bounds[number], rest[number], partial(_score, blocks, number, asked))


def score_all(blocks: Blocks, user_vector: Floats, time_index: Ints) -> Floats:
    """Scores (b, n_items) in row order, the same to the bit."""
    users, n_items, graph = np.arange(len(user_vector)), len(blocks.places), blocks.graph
    if blocks.tops is None:
        return _run(graph, graph.bound, user_vector, time_index, users)
    times, at = np.unique(time_index, return_inverse=True)
    scores = np.empty((len(users), n_items), dtype=np.float32)
    for begin in range(0, n_items, BLOCK_ITEMS):
        part = slice(begin, begin + BLOCK_ITEMS)
        prior = np.ascontiguousarray(graph.bound["prior"][times, part])
        own = {"item_vectors": graph.bound["item_vectors"][part], "prior": prior}
        scores[:, part] = _run(graph, own, user_vector, at, users)
    return scores


def _score(blocks: Blocks, number: int, asked: _Asked, users: Ints) -> Floats:
    """Scores (u, m) of some of the users asked for, for one block."""
    # A copy of few numbers for each time that occurs, so that no table of the prior is held twice.
    prior = blocks.graph.bound["prior"][asked.times[:, None], blocks.rows[number]]
    own = {"item_vectors": blocks.vectors[number], "prior": prior}
    return _run(blocks.graph, own, asked.user_vector, asked.at, users)


def _run(graph: Graph, bound: dict[str, Array], user_vector: Floats, at: Ints, users: Ints) -> Floats:
    """Scores (u, m) of the items that are bound, for some of the users (b, d) at rows (b,) of the bound prior; padded
    as batches are in `stream.core.features`, for its reason."""
    padded = np.resize(users, -(-len(users) // BLOCK) * BLOCK)
    features: dict[str, Array] = {"user_vector": user_vector[padded], "time_index": at[padded]}
    scores: Floats = run_graph(graph._replace(bound=bound), features)[0][: len(users)]
    return scores


def _bounds(blocks: Blocks, tops_at: Callable[[int], NDArray[np.float64]], asked: _Asked) -> NDArray[np.float64]:
    """(n_blocks, b), NaN or infinite for a vector that is not finite."""
    lengths, last = blocks.lengths, len(blocks.lengths) - 1
    norms = np.linalg.norm(asked.user_vector.astype(np.float64), axis=1)
    above = np.clip(np.searchsorted(lengths, norms), 1, last)
    share = np.minimum((norms - lengths[above - 1]) / (lengths[above] - lengths[above - 1]), 1.0)
    beyond = np.maximum(norms - lengths[last], 0.0)
    bounds = np.empty((len(blocks.rows), len(asked.at)))
    for place, time in enumerate(asked.times):
        users, tops = np.flatnonzero(asked.at == place), tops_at(int(time))
        below, over = tops[above[users] - 1], tops[above[users]]
        with np.errstate(invalid="ignore"):
            further = beyond[users, None] * blocks.longest
        bounds[:, users] = (below + share[users, None] * (over - below) + further).T
    return bounds


def _is_product(graph: Graph, prior: Floats, vectors: Floats) -> bool:
    """Whether the graph gives user_vector @ item_vectors.T + prior[time_index], as far as drawn users tell."""
    users = np.random.default_rng(0).standard_normal((_PROBE, vectors.shape[1])).astype(np.float32)
    times = np.arange(_PROBE, dtype=np.int64) % len(prior)
    found = run_graph(graph, {"user_vector": users, "time_index": times})[0]
    with np.errstate(all="ignore"):
        expected = users @ vectors.T + prior[times]
    return found.shape == expected.shape and np.allclose(found, expected, rtol=1e-4, atol=1e-4)
