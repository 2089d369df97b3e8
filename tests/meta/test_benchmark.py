import numpy as np
import pytest

from meta import benchmark, dataset
from meta.baselines import RECENCY
from meta.config import TrainingConfig
from meta.modes import Mode
from meta.protocol import KS, Values

N_USERS = 60


def pooled(**means: float) -> benchmark.Pooled:
    """The same nDCG at every k and in both modes, give or take a noise that all scorers share."""
    noise = np.random.default_rng(0).normal(scale=0.1, size=(N_USERS, len(KS)))
    noise -= noise.mean(axis=0)
    names = {"learned": benchmark.LEARNED, "control": benchmark.CONTROL, "start": benchmark.START, "recency": RECENCY}
    values = {names[name]: Values(mean + noise, mean + noise) for name, mean in means.items()}
    return dict.fromkeys(Mode, values)


def verdicts(lines: list[benchmark.Line]) -> dict[str, bool]:
    return {asked: holds for asked, _, _, holds in lines}


def test_a_level_holds_where_the_mean_reaches_it():
    found = verdicts(benchmark.judge(pooled(learned=0.57, control=0.5, start=0.5, recency=0.5)))
    assert [found[f"fixed, k={k}: nDCG@10"] for k in (5, 10, 20)] == [True, True, False]
    assert not found["rest, k=20: nDCG@10"]


def test_an_advantage_holds_where_its_interval_is_above_zero():
    found = verdicts(benchmark.judge(pooled(learned=0.6, control=0.6, start=0.5, recency=0.61)))
    assert not found["rest, mean over k >= 1: minus trained without steps"]
    assert found["rest, mean over k >= 1: minus unadapted start"]
    against = [holds for asked, holds in found.items() if asked.endswith(f"minus {RECENCY}")]
    assert against == [False] * 2 * len(KS[1:])


@pytest.fixture
def world(made_up):
    return dataset.load(made_up / "interactions.jsonl", made_up / "items.jsonl", made_up / "users.jsonl")


def test_the_held_out_users_of_all_folds_are_pooled_and_none_is_trained_on(world, monkeypatch):
    seen = []

    def train(known, config, *, seed, validation):
        seen.append((known, validation))
        return trained(known, config, seed=seed, validation=validation)

    trained = benchmark.train
    monkeypatch.setattr(benchmark, "train", train)
    config = TrainingConfig(d=4, epochs=1)
    told = []
    found = benchmark.measure_folds(world, config, folds=(0, 9), tell=told.append)
    parts = benchmark.splits.folds(world.n_users, seed=benchmark.SEED)
    for fold, (known, validation) in zip((0, 0, 9, 9), seen, strict=True):
        ids = [
            {users[user] for user in rows}
            for users, rows in (
                (world.user_ids, parts[fold]),
                (world.user_ids, parts[(fold + 1) % 10]),
                (known.user_ids, validation),
            )
        ]
        assert not ids[0] & set(known.user_ids)
        assert ids[1] == ids[2]
    eligible = sum((world.lengths[parts[fold]] >= 30).sum() for fold in (0, 9))
    assert {len(values.ndcg) for values in found[Mode.REST].values()} == {eligible}
    assert {benchmark.LEARNED, benchmark.CONTROL, benchmark.START, RECENCY} < set(found[Mode.FIXED])
    assert told == ["fold 0", "fold 9"]
