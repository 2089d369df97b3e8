"""What all list baselines that learn from the training users have to do."""

import numpy as np
import pytest

from meta import baselines, supports
from meta.baselines import factors, linear

FITS = {
    "EASE": baselines.fit_ease,
    "ALS": lambda dataset: baselines.fit_als(dataset, factors=4, penalty=1.0),
    "BPR": lambda dataset: baselines.fit_bpr(dataset, factors=4),
    "SASRec": lambda dataset: baselines.fit_sasrec(dataset, d=16),
    "few-shot ridge": lambda dataset: baselines.fit_few_shot_ridge(dataset, penalty=1.0),
    "item-kNN with late popularity": baselines.fit_item_knn_late,
}


@pytest.fixture(params=list(FITS))
def fitted(request, tastes):
    scorer = FITS[request.param](tastes)
    assert scorer.name == request.param
    return scorer


def test_a_user_gets_what_users_of_the_same_taste_had(fitted, tastes):
    users = np.array([0, 59])
    scores = fitted.score(supports.first_events(tastes, users, 3))
    assert scores.shape == (2, 17) and scores.dtype == np.float32
    first, second = scores[:, :8].mean(axis=1), scores[:, 8:16].mean(axis=1)
    assert first[0] > second[0] and first[1] < second[1]


def test_without_events_the_list_is_that_of_everybody(fitted, tastes):
    scores = fitted.score(supports.first_events(tastes, np.array([3, 3]), 0))
    np.testing.assert_array_equal(scores[0], scores[1])
    assert np.isfinite(scores).all()
    # All users had it, half of them every other item; but nobody began with it, which SASRec tells.
    assert (scores[0].argmax() == 16) == (fitted.name != "SASRec")


def test_a_fit_can_be_repeated(tastes):
    some = supports.first_events(tastes, np.array([1, 40]), 2)
    for name in ("ALS", "BPR", "SASRec"):
        first, second = (FITS[name](tastes).score(some) for _ in range(2))
        np.testing.assert_array_equal(first, second)


def test_ease_is_the_minimum_of_its_loss(tastes):
    """Weights without a diagonal that solve the ridge regression of each item on all others."""
    from meta.baselines.events import user_matrix

    penalty = 7.0
    had = user_matrix(tastes, np.arange(tastes.n_users))
    scorer = linear.fit_ease(tastes, penalty=penalty)
    others = np.delete(had, 5, axis=1)
    expected = np.linalg.solve(others.T @ others + penalty * np.eye(16), others.T @ had[:, 5])
    row = supports.first_events(tastes, np.array([0]), 1)
    chosen = int(row.support_items[0, 0])
    assert chosen != 5
    assert scorer.score(row)[0, 5] == pytest.approx(np.insert(expected, 5, 0)[chosen], abs=1e-5)


def test_the_folded_in_vector_is_the_minimum_of_the_weighted_loss():
    rng = np.random.default_rng(0)
    items, had = rng.normal(size=(12, 3)), (rng.random((1, 12)) < 0.4).astype(float)
    penalty, confidence = 2.0, 5.0

    def loss(user):
        weight = 1 + confidence * had[0]
        return (weight * (had[0] - items @ user) ** 2).sum() + penalty * user @ user

    (best,) = factors._fold_in(had, items, penalty=penalty, confidence=confidence)
    for step in 1e-3 * np.eye(3):
        assert loss(best) < loss(best + step) and loss(best) < loss(best - step)
