import json

import numpy as np
import pytest

from meta import all_measures, baselines, dataset, protocol
from meta.modes import Mode


@pytest.fixture(scope="module")
def measured(made_up):
    def load(name):
        return dataset.load(made_up / name, made_up / "items.jsonl")

    train, held_out = load("interactions.jsonl"), load("held-out.jsonl")
    users = protocol.eligible_users(held_out)
    scorer = baselines.fit_item_knn(train)
    found = all_measures.measure_all(scorer, held_out, users, train=train, mode=Mode.REST, seed=0)
    return found, protocol.measure(scorer, held_out, users, mode=Mode.REST, seed=0)


def test_all_measures_are_taken_of_the_same_lists(measured):
    found, values = measured
    np.testing.assert_array_equal(found.per_user["ndcg"], values.ndcg)
    np.testing.assert_array_equal(found.per_user["hit_rate"], values.hit_rate)
    assert set(all_measures.NAMES) == {*all_measures.PER_USER, "coverage"} == {*found.per_user, "coverage"}


def test_neighbors_show_more_of_the_catalog_than_popularity_does(measured):
    found, _ = measured
    assert found.coverage[0] < 0.5 * found.coverage[-1] <= 0.5
    assert np.nanmean(found.per_user["novelty"][:, -1]) > np.nanmean(found.per_user["novelty"][:, 0])
    # A user's neighbors are of one taste.
    diversity = np.nanmean(found.per_user["intra_list_diversity"], axis=0)
    assert diversity[-1] < diversity[0]


def test_the_report_is_serializable(measured):
    report = all_measures.by_k(measured[0], seed=0)
    assert json.loads(json.dumps(report)) == report
    assert report["coverage"]["5"]["low"] is None
    assert report["auc"]["5"]["low"] > 0.5


def test_a_group_has_the_mean_of_its_members():
    values = np.arange(14.0).reshape(2, 7)
    groups = {"first": np.array([True, False]), "both": np.array([True, True])}
    found = all_measures.by_group({"scorer": values}, groups, seed=0)
    assert found["first"]["scorer"]["mean"] == np.mean([1, 2, 3, 4, 5, 6])
    assert found["both"]["scorer"]["mean"] == pytest.approx(values[:, 1:].mean())
