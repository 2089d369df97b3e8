import numpy as np

from meta.baselines import RECENCY
from meta.benchmark import folds, ranking
from meta.benchmark.lines import SEED, Line
from meta.config import TrainingConfig
from meta.modes import Mode
from meta.protocol import KS, Values

N_USERS = 60
NAMES = {
    "learned": ranking.LEARNED,
    "control": ranking.CONTROL,
    "start": ranking.START,
    "recency": RECENCY,
    "late": ranking.LATE,
}


def pooled(**means: float) -> ranking.Pooled:
    """The same nDCG at every k and in both modes, give or take a noise that all scorers share."""
    noise = np.random.default_rng(0).normal(scale=0.1, size=(N_USERS, len(KS)))
    noise -= noise.mean(axis=0)
    values = {NAMES[name]: Values(mean + noise, mean + noise) for name, mean in means.items()}
    return dict.fromkeys(Mode, values)


def verdicts(lines: list[Line]) -> dict[str, bool]:
    return {asked: holds for asked, _, _, holds in lines}


def test_a_level_holds_where_the_mean_reaches_it():
    found = verdicts(ranking.judge(pooled(learned=0.57, control=0.5, start=0.5, recency=0.5)))
    assert [found[f"fixed, k={k}: nDCG@10"] for k in (5, 10, 20)] == [True, True, False]
    assert not found["rest, k=20: nDCG@10"]


def test_an_advantage_holds_where_its_interval_is_above_zero():
    found = verdicts(ranking.judge(pooled(learned=0.6, control=0.6, start=0.5, recency=0.61)))
    assert not found["rest, mean over k >= 1: minus trained without steps"]
    assert found["rest, mean over k >= 1: minus unadapted start"]
    against = [holds for asked, holds in found.items() if asked.endswith(f"minus {RECENCY}")]
    assert against == [False] * 2 * len(KS[1:])


def test_late_popularity_may_be_a_little_better_after_few_events():
    found = verdicts(ranking.judge(pooled(learned=0.595, control=0.5, start=0.5, late=0.6)))
    assert [found[f"fixed, k={k}: minus {ranking.LATE}"] for k in KS[1:]] == [True, True, True, False, False, False]


def test_a_split_holds_out_one_fold_and_stops_by_the_next(world):
    parts = folds.splits.folds(world.n_users, seed=SEED)
    for fold in (0, 9):
        split = folds.split(world, fold)
        held_out, stopping = ({world.user_ids[user] for user in parts[n]} for n in (fold, (fold + 1) % 10))
        assert set(split.held_out.user_ids) == held_out
        assert not held_out & set(split.known.user_ids)
        assert {split.known.user_ids[user] for user in split.stopping} == stopping


def test_the_held_out_users_of_all_splits_are_pooled(world, monkeypatch):
    # One costly baseline is enough here.
    monkeypatch.setattr(ranking.baselines, "fit_every", lambda known, seed: ranking.baselines.fit_all(known))
    splits = [folds.split(world, fold) for fold in (0, 9)]
    config = TrainingConfig(d=4, epochs=1)
    found = ranking.pool([ranking.measure(split, config) for split in splits])
    eligible = sum((split.held_out.lengths >= 30).sum() for split in splits)
    assert {len(values.ndcg) for values in found[Mode.REST].values()} == {eligible}
    assert {ranking.LEARNED, ranking.CONTROL, ranking.START, RECENCY} < set(found[Mode.FIXED])
