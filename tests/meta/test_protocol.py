import json
from pathlib import Path

import numpy as np
import pytest

from meta import baselines, corpus, dataset, movielens, protocol, splits
from meta.baselines import FittedScorer
from meta.modes import Mode
from schemas.errors import DataError

LETTERS = [f"i{n:02d}" for n in range(60)]


@pytest.fixture
def one_user(write_lines, event):
    items = write_lines("items.jsonl", [{"item_id": name} for name in LETTERS])
    rows = [event("u", LETTERS[n], n, "skip" if n in (25, 33) else "view") for n in range(35)]
    rows += [event("short", "i00", n) for n in range(29)]
    return dataset.load(write_lines("events.jsonl", rows), items)


def constant(scores: np.ndarray) -> FittedScorer:
    return FittedScorer("constant", lambda supports: np.tile(scores, (len(supports.users), 1)))


def test_users_with_few_events_are_not_measured(one_user):
    assert protocol.eligible_users(one_user).tolist() == [0]
    with pytest.raises(DataError, match="no held-out user has 30 events"):
        protocol.eligible_users(dataset.subset(one_user, np.array([1])))


def test_in_mode_rest_the_query_is_all_behind_the_support(one_user):
    descending = constant(-np.arange(60.0))
    values = protocol.measure(descending, one_user, np.array([0]), mode=Mode.REST, seed=0)
    # Items are seen in the order of their scores, so that every list is right as long as ten good items follow ...
    assert values.ndcg[0, :-1].tolist() == pytest.approx([1.0] * 6)
    # ... and behind the 20th the skipped 25 and nothing else is wrong.
    gains = 1 / np.log2(np.arange(10) + 2)
    assert values.ndcg[0, -1] == pytest.approx(1 - gains[5] / gains.sum())
    assert values.hit_rate.tolist() == [[1.0] * 7]


def test_in_mode_fixed_a_constant_list_is_a_flat_line(one_user):
    rng = np.random.default_rng(0)
    values = protocol.measure(constant(rng.random(60)), one_user, np.array([0]), mode=Mode.FIXED, seed=0)
    assert len(set(values.ndcg[0].tolist())) == 1
    assert 0 < values.ndcg[0, 0] < 1


def test_support_items_are_never_candidates(one_user):
    ascending = constant(np.where(np.arange(60) < 20, 100.0, -np.arange(60.0)))
    fixed = protocol.measure(ascending, one_user, np.array([0]), mode=Mode.FIXED, seed=0)
    assert fixed.ndcg[0, 0] > 0.8


def test_the_unadapted_start_knows_the_time_but_no_events(one_user):
    def by_support(supports):
        assert not any(np.any(part) for part in supports[1:5])
        return np.tile(supports.now_ms[:, None].astype(float), (1, 60))

    users = np.array([0])
    start = protocol.Unadapted(FittedScorer("spy", by_support), "unadapted start")
    protocol.measure(start, one_user, users, mode=Mode.REST, seed=0)
    assert start.name == "unadapted start"


def test_the_report_is_paired_and_serializable(made_up: Path):
    def load(name):
        return dataset.load(made_up / name, made_up / "items.jsonl")

    found = protocol.evaluate(
        baselines.fit_all(load("interactions.jsonl")),
        load("held-out.jsonl"),
        mode=Mode.REST,
        reference=baselines.RECENCY,
        seed=0,
    )
    assert json.loads(json.dumps(found)) == found
    knn, reference = found["scorers"]["item-kNN"], found["scorers"][baselines.RECENCY]
    difference = knn["ndcg_minus_reference"]["10"]
    assert difference["mean"] == pytest.approx(knn["ndcg"]["10"]["mean"] - reference["ndcg"]["10"]["mean"])
    assert difference["low"] > 0, "planted tastes must be found"
    assert set(reference["ndcg_minus_reference"]["10"].values()) == {0.0, found["n_users"]}


def test_known_levels_on_movielens_are_met(movielens_cache: Path, tmp_path: Path):
    corpus.write(movielens.load(movielens_cache), tmp_path)
    loaded = dataset.load(tmp_path / "interactions.jsonl", tmp_path / "items.jsonl")
    folds = splits.folds(loaded.n_users, seed=0)
    train, test = (dataset.subset(loaded, np.concatenate(part)) for part in (folds[3:], folds[:3]))
    users = protocol.eligible_users(test)
    fits = (baselines.fit_popularity, baselines.fit_recency, baselines.fit_item_knn)
    popularity, recency, knn = (
        protocol.measure(fit(train), test, users, mode=Mode.FIXED, seed=0).ndcg.mean(axis=0) for fit in fits
    )
    # Other splits give .40 to .42, .43 to .45, and .34 to .50 for growing k, +-.03.
    assert popularity == pytest.approx([0.41] * 7, abs=0.035)
    assert recency[0] - popularity[0] == pytest.approx(0.03, abs=0.015)
    assert knn[1] == pytest.approx(0.34, abs=0.04) and knn[-1] == pytest.approx(0.5, abs=0.04)
