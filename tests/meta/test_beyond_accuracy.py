import numpy as np
import pytest

from meta import beyond_accuracy


def test_coverage_is_the_share_of_the_catalog_that_somebody_is_shown():
    assert beyond_accuracy.coverage(np.array([[0, 1], [1, -1]]), 8) == 2 / 8


def test_novelty_by_hand():
    popularity = np.array([6.0, 2, 4, 0])  # with one more each: 7, 3, 5, 1 of 16
    found = beyond_accuracy.novelty(np.array([[3, 0], [3, -1], [-1, -1]]), popularity)
    assert found.tolist() == pytest.approx([(4 + np.log2(16 / 7)) / 2, 4, np.nan], nan_ok=True)


def test_diversity_by_hand():
    content = np.array([[1.0, 0], [2, 0], [0, 1], [1, 1]])
    found = beyond_accuracy.intra_list_diversity(np.array([[0, 1, -1], [0, 2, 3], [0, -1, -1]]), content)
    slant = 1 - 1 / np.sqrt(2)
    assert found.tolist() == pytest.approx([0, (1 + 2 * slant) / 3, np.nan], nan_ok=True, abs=1e-12)
