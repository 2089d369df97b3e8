import math

import numpy as np
import pytest
import pytrec_eval

from meta import measures


def test_ndcg_by_hand():
    relevant = np.array([[True, False, True, True]])
    lists = np.array([[1, 0, 2]])
    gained = 1 / math.log2(3) + 1 / math.log2(4)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert measures.ndcg_at(lists, relevant)[0] == pytest.approx(gained / ideal)


def test_the_ideal_is_cut_like_the_list():
    relevant = np.ones((1, 50), dtype=bool)
    assert measures.ndcg_at(np.arange(10)[None], relevant)[0] == pytest.approx(1.0)


def test_items_behind_the_cutoff_and_missing_items_count_nothing():
    relevant = np.zeros((1, 20), dtype=bool)
    relevant[0, 19] = True
    lists = np.concatenate([np.arange(10), [19]])[None]
    assert measures.ndcg_at(lists, relevant)[0] == 0
    assert measures.hit_rate_at(np.array([[-1, -1]]), relevant)[0] == 0


def test_without_anything_relevant_there_is_no_value():
    relevant = np.zeros((1, 3), dtype=bool)
    lists = np.array([[0, 1, 2]])
    assert np.isnan(measures.ndcg_at(lists, relevant)[0])
    assert np.isnan(measures.hit_rate_at(lists, relevant)[0])


def test_lists_are_sorted_and_leave_out_what_is_excluded():
    scores = np.array([[3.0, 9, 5, 7], [1, 2, 3, 4]])
    excluded = np.array([[False, True, False, False], [True, True, True, False]])
    assert measures.top_rows(scores, 3, excluded=excluded, seed=0).tolist() == [[3, 2, 0], [3, -1, -1]]


def test_ties_are_ordered_by_the_seed_and_not_by_the_row():
    scores = np.zeros((1, 200))
    none = np.zeros((1, 200), dtype=bool)
    lists = [measures.top_rows(scores, 10, excluded=none, seed=seed)[0].tolist() for seed in (0, 0, 1)]
    assert lists[0] == lists[1] != lists[2]
    assert lists[0] != sorted(lists[0])
    assert len(set(lists[0])) == 10


def test_the_best_rows_agree_with_a_full_sort():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 40, (20, 60)).astype(float)
    excluded = rng.random((20, 60)) < 0.3
    lists = measures.top_rows(scores, 10, excluded=excluded, seed=5)
    best = -np.sort(-np.where(excluded, -np.inf, scores), axis=1)[:, :10]
    assert np.take_along_axis(scores, lists, axis=1).tolist() == best.tolist()
    assert not np.take_along_axis(excluded, lists, axis=1).any()


def test_the_interval_shrinks_with_the_root_of_the_users_and_holds_the_mean():
    values = np.random.default_rng(1).normal(0.4, 0.2, 400)
    few, many = measures.bootstrap_mean(values[:100], seed=0), measures.bootstrap_mean(values, seed=0)
    assert many.low < many.mean < many.high
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(2, rel=0.25)
    assert many.high - many.low == pytest.approx(2 * 1.96 * 0.2 / 20, rel=0.15)


def test_users_without_a_value_are_left_out():
    estimate = measures.bootstrap_mean(np.array([np.nan, 1.0, 3.0]), seed=0)
    assert (estimate.mean, estimate.n_users) == (2.0, 2)
    assert measures.bootstrap_mean(np.array([np.nan]), seed=0).as_json()["mean"] is None


def test_a_root_of_means_gets_its_interval_by_resampling_the_users():
    squared = np.random.default_rng(2).normal(0, 2, 300) ** 2
    found = measures.bootstrap_of((squared,), np.sqrt, seed=0)
    assert found.mean == pytest.approx(np.sqrt(squared.mean()))
    assert found.low < 2 < found.high
    assert measures.bootstrap_of((np.zeros(0),), np.sqrt, seed=0).n_users == 0


def test_auc_by_hand():
    scores = np.array([[4.0, 3, 2, 1, 9]])
    relevant = np.array([[True, False, True, False, True]])
    candidates = np.array([[True, True, True, True, False]])
    assert measures.auc(scores, relevant, candidates).tolist() == [0.75]


def test_auc_counts_ties_half_and_needs_both_sides():
    ties = np.array([[1.0, 1, 1], [1, 2, 3]])
    relevant = np.array([[True, False, False], [True, True, True]])
    assert measures.auc(ties, relevant, np.ones((2, 3), dtype=bool)).tolist() == pytest.approx(
        [0.5, np.nan], nan_ok=True
    )


@pytest.fixture
def by_hand():
    """Hits at the places 2 and 3 of a list of four; three are relevant among six items, one of them is no candidate."""
    lists = np.array([[5, 1, 0, 3]])
    relevant = np.array([[True, True, True, False, False, False]])
    return lists, relevant


def test_measures_of_lists_by_hand(by_hand):
    lists, relevant = by_hand
    assert measures.precision_at(lists, relevant, 4)[0] == pytest.approx(2 / 4)
    assert measures.recall_at(lists, relevant, 4)[0] == pytest.approx(2 / 3)
    assert measures.f1_at(lists, relevant, 4)[0] == pytest.approx(2 * (1 / 2 * 2 / 3) / (1 / 2 + 2 / 3))
    assert measures.reciprocal_rank_at(lists, relevant, 4)[0] == pytest.approx(1 / 2)
    assert measures.average_precision_at(lists, relevant, 4)[0] == pytest.approx((1 / 2 + 2 / 3) / 3)
    everything = np.ones((1, 6), dtype=bool)
    # Two wrong ones are listed and a right one is not; item 4 is rightly left out.
    assert measures.accuracy_at(lists, relevant, everything, 4)[0] == pytest.approx(3 / 6)


def test_behind_the_cutoff_nothing_counts(by_hand):
    lists, relevant = by_hand
    of_lists = (measures.precision_at, measures.recall_at, measures.f1_at)
    ranked = (measures.reciprocal_rank_at, measures.average_precision_at)
    assert [float(measure(lists, relevant, 1)[0]) for measure in (*of_lists, *ranked)] == [0.0] * 5


def test_no_measure_has_a_value_for_a_user_without_anything_relevant(by_hand):
    lists, relevant = by_hand
    nothing, everything = np.zeros_like(relevant), np.ones_like(relevant)
    of_lists = (measures.precision_at, measures.recall_at, measures.f1_at)
    ranked = (measures.reciprocal_rank_at, measures.average_precision_at)
    assert all(np.isnan(measure(lists, nothing)[0]) for measure in (*of_lists, *ranked))
    assert np.isnan(measures.accuracy_at(lists, nothing, everything)[0])


def test_the_measures_agree_with_those_of_trec():
    rng = np.random.default_rng(4)
    scores, relevant = rng.random((30, 50)), rng.random((30, 50)) < 0.2
    lists = measures.top_rows(scores, 10, excluded=np.zeros_like(relevant), seed=0)
    run = {str(user): {str(item): float(value) for item, value in enumerate(row)} for user, row in enumerate(scores)}
    answers = {
        str(user): {str(item): int(value) for item, value in enumerate(row)} for user, row in enumerate(relevant)
    }
    theirs = pytrec_eval.RelevanceEvaluator(answers, {"ndcg_cut.10", "P.10", "recall.10"}).evaluate(run)
    ours = {
        "ndcg_cut_10": measures.ndcg_at(lists, relevant),
        "P_10": measures.precision_at(lists, relevant),
        "recall_10": measures.recall_at(lists, relevant),
    }
    for name, values in ours.items():
        assert values.tolist() == pytest.approx([theirs[str(user)][name] for user in range(30)])
