"""The best items, exactly and in one order, whatever the scores look like."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from stream.core.adapter import Block
from stream.core.ranking import HIDDEN, best_rows, round_scores


def blocks_of(scores, *parts):
    """Scores (b, n_items) as blocks of these rows, with the best bounds that there are; without parts as one block."""
    parts = [np.sort(part) for part in parts] or [np.arange(scores.shape[1])]
    rest = [scores[:, np.concatenate(parts[at:])].max(axis=1) for at in range(len(parts))]
    for rows, bound in zip(parts, rest, strict=True):
        yield Block(rows, scores[:, rows].max(axis=1), bound, lambda users, rows=rows: scores[np.ix_(users, rows)])


def by_sorting(scores, n):
    """The definition: by score, then by row, without hidden items."""
    found = np.full((len(scores), n), -1)
    for user, row in enumerate(scores):
        best = sorted(np.flatnonzero(row > HIDDEN), key=lambda item: (-row[item], item))[:n]
        found[user, : len(best)] = best
    return found


@pytest.mark.parametrize(("n_items", "n"), [(1, 1), (7, 3), (7, 7), (7, 9), (500, 1), (500, 10), (517, 20), (500, 400)])
def test_the_best_rows_are_those_of_a_full_sort(n_items, n):
    rng = np.random.default_rng(n_items)
    scores = rng.standard_normal((9, n_items)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = HIDDEN
    np.testing.assert_array_equal(best_rows(blocks_of(scores), n).rows, by_sorting(scores, n))


@given(
    npst.arrays(
        np.float32, st.tuples(st.integers(1, 3), st.integers(1, 90)), elements=st.sampled_from([0, 1, 2, HIDDEN])
    ),
    st.integers(1, 5),
)
def test_a_lower_row_wins_a_tie(scores, n):
    np.testing.assert_array_equal(best_rows(blocks_of(scores), n).rows, by_sorting(scores, n))


@pytest.mark.parametrize("n", [1, 10, 300])
@pytest.mark.parametrize("values", [3, 1000])
def test_blocks_give_the_same_as_the_whole(n, values):
    rng = np.random.default_rng(n)
    scores = rng.integers(values, size=(9, 2600)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.2] = HIDDEN
    scores[3], scores[4, 5:] = HIDDEN, HIDDEN
    parts = np.split(rng.permutation(2600), [1000, 2003, 2010])
    found = best_rows(blocks_of(scores, *parts), n)
    np.testing.assert_array_equal(found.rows, by_sorting(scores, n))
    listed = np.take_along_axis(scores, np.maximum(found.rows, 0), axis=1)
    np.testing.assert_array_equal(found.scores, np.where(found.rows < 0, HIDDEN, listed))


@pytest.mark.parametrize("at", [0, 700, 999, 1000, 1019])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_told_by_user(at, value):
    scores = np.zeros((3, 1020), dtype=np.float32)
    scores[1, at] = value
    assert best_rows(blocks_of(scores, np.arange(1000), np.arange(1000, 1020)), 5).finite.tolist() == [
        True,
        False,
        True,
    ]


def test_scores_that_cannot_be_listed_are_not_asked_for():
    scores = np.repeat(np.arange(40.0, dtype=np.float32)[None, ::-1], 3, axis=0)
    scores[1, 30:] = 99
    asked = []

    def noting(block):
        return block._replace(score=lambda users: asked.append((block.rows[0], *users)) or block.score(users))

    parts = np.split(np.arange(40), [10, 20, 30])
    found = best_rows(map(noting, blocks_of(scores, *parts)), 4)
    np.testing.assert_array_equal(found.rows, by_sorting(scores, 4))
    assert asked == [(0, 0, 1, 2), (30, 1)]


def test_a_list_is_shorter_only_when_the_catalog_is_exhausted():
    scores = np.full((1, 200), HIDDEN)
    scores[0, [150, 3]] = 1.0, 2.0
    assert best_rows(blocks_of(scores), 4).rows.tolist() == [[3, 150, -1, -1]]


def test_the_lowest_finite_score_is_not_hidden():
    scores = np.full((1, 3), np.finfo(np.float32).min)
    assert best_rows(blocks_of(scores), 2).rows.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (123456.78, "123457.0"),
        (-2.0000005, "-2.0"),
        (0.000123456789, "0.000123457"),
        (98765432.0, "98765400.0"),
        (0.0, "0.0"),
    ],
)
def test_scores_are_rounded_to_six_digits(value, text):
    assert repr(float(round_scores(np.array([value], dtype=np.float32))[0])) == text
