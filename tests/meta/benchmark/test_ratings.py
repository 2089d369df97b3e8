import numpy as np

from meta.benchmark import ratings
from meta.rating_protocol import KS, Predictions


def predictions(error: float) -> Predictions:
    """Ratings of 30 users that are off by this and a noise, the same for all."""
    noise = np.abs(np.random.default_rng(0).normal(0, 0.001, (30, len(KS), 10)))
    return Predictions(3.0 + error + noise, np.full((30, 10), 3.0))


def verdicts(**errors: float) -> dict[str, bool]:
    names = {"learned": ratings.LEARNED, "control": ratings.CONTROL, "ridge": ratings.RIDGE, "melu": ratings.MELU}
    pooled = {names[name]: predictions(error) for name, error in errors.items()}
    return {line.asked: line.holds for line in ratings.judge(pooled)}


def test_ridge_may_be_a_little_better_after_few_ratings():
    found = verdicts(learned=0.802, control=0.9, ridge=0.8, melu=0.9)
    against = [found[f"ratings, k={k}: MAE of ridge fold-in minus"] for k in KS]
    assert against == [True, True, True, False, False, False]
    assert all(found[f"ratings, k={k}: MAE of MeLU minus"] for k in KS)


def test_the_steps_have_to_be_worth_something():
    name = "ratings, k=20: MAE of trained without steps minus"
    assert verdicts(learned=0.8, control=0.84, ridge=0.8, melu=0.8)[name]
    assert not verdicts(learned=0.8, control=0.82, ridge=0.8, melu=0.8)[name]
