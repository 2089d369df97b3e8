"""Reasons are the largest positive shares of a score."""

import numpy as np

from stream.core.explain import reasons_for


def reasons(items, vectors, *, known=None, most=2, of=((1.0, 0.0),)):
    vectors = np.array([vectors], dtype=np.float32)
    rows, values = reasons_for(
        np.array([of], dtype=np.float32),
        vectors,
        support_items=np.array([items]),
        known=np.ones((1, len(items)), bool) if known is None else np.array([known]),
        most=most,
    )
    return [
        [(int(row), float(value)) for row, value in zip(*pair, strict=True) if row >= 0]
        for pair in zip(rows[0], values[0], strict=True)
    ]


def test_the_largest_contributions_come_first():
    assert reasons([7, 8, 9], [[1, 5], [3, 5], [2, 5]]) == [[(8, 3.0), (9, 2.0)]]


def test_each_listed_item_has_reasons_of_its_own():
    assert reasons([7, 8], [[1, 0], [0, 2]], of=[(1, 0), (0, 1)]) == [[(7, 1.0)], [(8, 2.0)]]


def test_what_speaks_against_an_item_is_no_reason():
    assert reasons([7, 8], [[-1, 0], [0, 1]]) == [[]]


def test_events_on_one_item_are_summed():
    assert reasons([7, 8, 7, 7], [[1, 0], [2, 0], [3, 0], [-0.5, 0]]) == [[(7, 3.5), (8, 2.0)]]


def test_unknown_and_padded_events_are_no_reasons():
    assert reasons([-1, 0, 7], [[9, 0], [9, 0], [1, 0]], known=[False, False, True], most=3) == [[(7, 1.0)]]


def test_an_overflow_is_no_reason():
    assert reasons([7, 8], [[np.inf, 0], [1, 0]]) == [[(8, 1.0)]]


def test_no_reasons_may_be_asked_for():
    assert reasons([7], [[1, 0]], most=0) == [[]]


def test_sums_do_not_depend_on_the_other_users():
    rng = np.random.default_rng(3)
    items = rng.integers(0, 6, (20, 8))
    vectors = rng.standard_normal((20, 8, 4)).astype(np.float32)
    of = rng.standard_normal((20, 5, 4)).astype(np.float32)
    known = rng.random((20, 8)) < 0.8
    rows, values = reasons_for(of, vectors, support_items=items, known=known, most=3)
    for user in range(20):
        alone = reasons_for(of[[user]], vectors[[user]], support_items=items[[user]], known=known[[user]], most=3)
        np.testing.assert_array_equal(alone[0][0], rows[user])
        np.testing.assert_array_equal(alone[1][0], values[user])
