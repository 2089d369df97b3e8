import numpy as np
import pytest

from meta import baselines, dataset, supports
from meta.baselines import neighbors
from schemas.errors import DataError


@pytest.fixture
def load(write_lines, event):
    items = write_lines("items.jsonl", [{"item_id": name} for name in "abcde"])
    return lambda rows: dataset.load(write_lines("events.jsonl", [event(*row) for row in rows]), items)


def order(scores: np.ndarray, loaded: dataset.Dataset) -> str:
    return "".join(loaded.item_ids[row] for row in np.argsort(-scores, kind="stable"))


def test_popularity_leaves_out_events_that_say_no(load):
    loaded = load([("u", "a", 0, "skip"), ("v", "a", 1, "dislike"), ("v", "b", 2), ("u", "b", 3), ("u", "c", 4)])
    scores = baselines.fit_popularity(loaded).score(supports.first_events(loaded, np.array([0, 1]), 1))
    assert scores.tolist() == [[0, 2, 1, 0, 0]] * 2
    assert scores.dtype == np.float32


def test_recency_sees_only_what_came_before_the_users_now(load):
    rows = [(f"old{n}", "a", n) for n in range(5)] + [(f"new{n}", "b", 700 + n) for n in range(6)]
    loaded = load(rows)
    scorer = baselines.fit_recency(loaded)
    early, late = scorer.score(supports.first_events(loaded, np.array([4, 10]), 0))
    assert order(early, loaded)[0] == "a"
    assert order(late, loaded)[0] == "b"
    assert early[0] > 100 * early[1]


def test_the_better_tau_is_chosen_from_the_training_users(load):
    # What was seen on the day before is seen today; faster fading is better.
    rows = [(f"{day}-{n}", "abcde"[(day + n) // 30 % 5], day + n / 9) for day in range(0, 900, 3) for n in range(3)]
    assert baselines.best_tau(load(rows)) == min(baselines.TAUS_DAYS)


def test_item_knn_scores_by_shrunk_cosine(load):
    rows = [("u", "a", 0), ("u", "b", 1), ("v", "a", 0), ("v", "b", 1), ("w", "a", 0), ("w", "c", 1), ("x", "c", 2)]
    loaded = load(rows)
    scores = baselines.fit_item_knn(loaded).score(supports.first_events(loaded, np.array([0]), 1))[0]
    shrinkage = neighbors.SHRINKAGE
    expected = [0, 2 / (np.sqrt(6) + shrinkage), 1 / (np.sqrt(6) + shrinkage), 0, 0]
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_item_knn_is_not_moved_by_a_dislike(load):
    rows = [("u", "a", 0), ("u", "b", 1), ("v", "c", 0), ("v", "d", 1), ("w", "a", 0, "dislike"), ("w", "c", 1)]
    loaded = load(rows)
    scorer = baselines.fit_item_knn(loaded)
    with_dislike = scorer.score(supports.first_events(loaded, np.array([2]), 2))[0]
    without = scorer.score(supports.windows(loaded, np.array([2]), 1, 2))[0]
    assert with_dislike.tolist() == without.tolist()
    assert order(without, loaded)[0] == "d"


def test_without_support_item_knn_is_popularity(load):
    loaded = load([("u", "b", 0), ("v", "b", 0), ("v", "c", 1), ("w", "b", 2), ("w", "c", 3), ("w", "a", 4)])
    scores = baselines.fit_item_knn(loaded).score(supports.first_events(loaded, np.array([0]), 0))[0]
    assert order(scores, loaded).startswith("bca")


def test_the_mix_answers_to_both_parts(load):
    rows = [(f"u{n}", item, 0) for n in range(3) for item in "ab"] + [(f"v{n}", "e", 1) for n in range(9)]
    rows += [("now", "a", 2), ("now", "d", 3)]
    loaded = load(rows)
    user = np.array([loaded.user_ids.index("now")])
    scorer = baselines.fit_item_knn_recency(loaded)
    start, adapted = (scorer.score(supports.first_events(loaded, user, k))[0] for k in (0, 1))
    assert order(start, loaded)[0] == "e"
    assert adapted[1] - start[1] > 0.01


def test_training_events_that_all_say_no_are_an_error(load):
    with pytest.raises(DataError, match="every training event says no"):
        baselines.fit_all(load([("u", "a", 0, "skip")]))
