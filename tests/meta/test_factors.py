import numpy as np
import pytest

from meta.dataset import load
from meta.factors import rating_factors


@pytest.fixture
def planted(write_lines, event):
    """200 users rate 12 of 40 items: a bias of their own, and one taste that half of the items please."""
    rng = np.random.default_rng(0)
    taste, bias = rng.normal(0, 1, 200), rng.normal(0, 0.5, 200)
    rows = []
    for user in range(200):
        for day, item in enumerate(rng.permutation(40)[:12]):
            value = 3 + bias[user] + (1 if item % 2 else -1) * taste[user] + rng.normal(0, 0.3)
            rows.append(event(f"u{user}", f"i{item}", day, kind="rating", value=float(value)))
    items = [{"item_id": f"i{item}"} for item in range(40)]
    return load(write_lines("e.jsonl", rows), write_lines("i.jsonl", items))


def test_one_penalty_for_all_coordinates_foresees_a_users_next_ratings(planted):
    residual = planted.rating - planted.rating.mean()
    found = rating_factors(planted, residual, d=1, rng=np.random.default_rng(1))
    vectors = np.concatenate([np.ones((40, 1)), found.item_vectors], axis=1)
    errors = {"factors": [], "bias": []}
    for begin in planted.starts[:-1]:
        known, asked = np.arange(begin, begin + 6), np.arange(begin + 6, begin + 12)
        for name, columns in (("factors", 2), ("bias", 1)):
            x = vectors[:, :columns]
            curvature = x[planted.item[known]].T @ x[planted.item[known]] + found.shrinkage * np.eye(columns)
            user = np.linalg.solve(curvature, x[planted.item[known]].T @ residual[known])
            errors[name].append(residual[asked] - x[planted.item[asked]] @ user)
    assert np.std(errors["factors"]) < 0.45  # 0.3 is the noise
    assert np.std(errors["bias"]) > 0.9
    assert found.shrinkage == pytest.approx(0.3**2 / 0.5**2, rel=0.3)
