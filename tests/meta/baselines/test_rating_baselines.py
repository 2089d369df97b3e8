import numpy as np
import pytest

from meta import rating_protocol, supports
from meta.baselines import melu, ratings


def errors(fit, rated, **settings) -> np.ndarray:
    train, held_out = rated
    users = rating_protocol.rating_users(held_out)
    return rating_protocol.predict(fit(train, **settings), held_out, users).absolute.mean(axis=0)


def test_each_step_up_predicts_better(rated):
    fits = (ratings.fit_global_mean, ratings.fit_item_mean, ratings.fit_bias)
    mean, item, bias = (errors(fit, rated) for fit in fits)
    assert (item < mean).all()
    assert bias[0] == pytest.approx(item[0]), "without ratings nobody has a bias"
    assert bias[-1] < item[-1] - 0.01


def test_factors_learn_from_many_ratings_and_do_no_harm_before(rated):
    bias = errors(ratings.fit_bias, rated)
    for fit in (ratings.fit_biased_factors, ratings.fit_ridge_fold_in):
        found = errors(fit, rated)
        assert (found < bias + 0.01).all()
        assert found[-1] < bias[-1]


def test_predictions_keep_to_the_scale(rated):
    train, held_out = rated
    some = supports.first_events(held_out, np.arange(20), 20)
    for fit in (ratings.fit_bias, ratings.fit_biased_factors, ratings.fit_ridge_fold_in):
        scores = fit(train).score(some)
        assert scores.min() >= 1 and scores.max() <= 5


def test_the_local_steps_of_melu_go_down_the_support_error(rated, monkeypatch):
    monkeypatch.setattr(melu, "EPOCHS", 4)
    found = errors(melu.fit_melu, rated)
    assert found[-1] < found[0] - 0.005


def test_melu_adapts_each_user_alone(rated, monkeypatch):
    monkeypatch.setattr(melu, "EPOCHS", 1)
    train, held_out = rated
    scorer = melu.fit_melu(train)
    users = np.array([0, 1, 2])
    together = scorer.score(supports.first_events(held_out, users, 5))
    alone = scorer.score(supports.first_events(held_out, users[1:2], 5))
    np.testing.assert_allclose(together[1], alone[0], atol=1e-5)
