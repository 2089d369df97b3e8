import numpy as np
import pytest

from meta import dataset, synthetic
from meta.benchmark import drift as section
from meta.benchmark import folds, long
from meta.config import TrainingConfig
from meta.drift import AFTER, LONG, Levels

N_USERS = 50


def levels(before: float, *after: float) -> Levels:
    """The same levels for every user, give or take a noise that all arms share."""
    noise = np.random.default_rng(0).normal(scale=0.02, size=(N_USERS, 1))
    return Levels((before + noise)[:, 0], np.array(after)[None] + noise)


def found(learned: Levels, *, stayed: float) -> section.Found:
    stays = levels(0.5, *[0.5] * len(AFTER))
    switched = {section.LEARNED: learned, section.CONTROL: levels(0.5, 0.1, 0.1, 0.2, 0.3, 0.5, 0.5)}
    others = {section.LEARNED: levels(0.5, *[stayed] * len(AFTER)), section.CONTROL: stays, section.ORDINARY: stays}
    return section.Found(switched, others)


def verdicts(of: section.Found) -> dict[str, bool]:
    return {asked.removeprefix("drift, "): holds for asked, _, _, holds in section.judge(of)}


def test_half_the_distance_after_two_events_and_nine_tenths_after_five_are_asked_for():
    holds = verdicts(found(levels(0.5, 0.1, 0.1, 0.31, 0.4, 0.45, 0.5), stayed=0.6))
    assert holds["2 events after the switch: made up"]
    assert not holds["5 events after the switch: made up"]
    assert [holds[f"{j} events after: minus {section.KEPT}"] for j in (1, 2)] == [False, True]


@pytest.mark.parametrize(("lost", "holds"), [(0.0, True), (0.001, True), (0.02, False)])
def test_users_who_did_not_switch_are_to_lose_nothing(lost, holds):
    of = found(levels(0.5, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5), stayed=0.5)
    differs = np.random.default_rng(1).normal(-lost, 0.02, size=(N_USERS, 1))
    of.stayed[section.LEARNED] = of.stayed[section.ORDINARY]._replace(after=of.stayed[section.ORDINARY].after + differs)
    assert verdicts(of)[f"users who did not switch: minus {section.ORDINARY}"] == holds


def test_what_the_steps_are_worth_is_shown_and_not_judged():
    worse = levels(0.5, 0.05, 0.06, 0.1, 0.2, 0.3, 0.4)
    shown = section.findings([found(worse, stayed=0.4)])
    assert [len(table.rows) for table in shown.tables] == [2, 3, 2]
    assert not any(section.CONTROL in line.asked for line in shown.lines)


def test_the_world_tells_for_each_user_when_tastes_switch():
    sizes = synthetic.Sizes(users=40, items=60, events_per_user=30, drift_share=0.5)
    world, switch = section.load_world(sizes, seed=2)
    truth = {row["user_id"]: row["drift_at"] for row in synthetic.generate(sizes, seed=2).truth}
    assert len(truth) > 5
    assert switch.tolist() == [truth.get(user, -1) for user in world.user_ids]


def test_every_arm_is_measured_on_held_out_users_who_switched_and_on_others():
    sizes = synthetic.Sizes(users=40, items=120, events_per_user=90, drift_share=0.5)
    world, switch = section.load_world(sizes, seed=2)
    config = TrainingConfig(d=4, epochs=1, agreement=2, sliding_share=0.5, spliced_share=0.5)
    measured = section.measure_arms(world, switch, {"only": config})
    switched, stayed = measured.switched["only"], measured.stayed["only"]
    assert switched.after.shape[1] == stayed.after.shape[1] == len(AFTER)
    n_held_out = 28
    assert 2 < len(switched.before) < n_held_out
    assert 2 < len(stayed.before) < n_held_out
    assert np.isfinite(switched.after).mean() > 0.8


def test_long_histories_of_all_splits_are_pooled(made_up, monkeypatch):
    monkeypatch.setattr("meta.drift._LONG_ENOUGH", 50)
    world = dataset.load(made_up / "interactions.jsonl", made_up / "items.jsonl", made_up / "users.jsonl")
    split = folds.split(world, 0)
    part = long.measure(split, TrainingConfig(d=4, epochs=1))
    n_long = (split.held_out.lengths >= 50).sum()
    assert n_long > 0
    assert {values.shape for values in part.values()} == {(n_long, len(LONG))}
    assert (part[long.LEARNED][:, 0] == part[long.STAYS][:, 0]).all()
    (table,) = long.findings([part, part]).tables
    assert f"{2 * n_long} long histories" in str(table.title)
