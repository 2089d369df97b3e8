import numpy as np
import pytest

from meta import drift_benchmark as benchmark
from meta import synthetic
from meta.config import TrainingConfig
from meta.drift import AFTER, Levels

N_USERS = 50


def levels(before: float, *after: float) -> Levels:
    """The same levels for every user, give or take a noise that all arms share."""
    noise = np.random.default_rng(0).normal(scale=0.02, size=(N_USERS, 1))
    return Levels((before + noise)[:, 0], np.array(after)[None] + noise)


def verdicts(learned: Levels, *, stayed: float) -> dict[str, bool]:
    stays = levels(0.5, *[0.5] * len(AFTER))
    switched = {benchmark.LEARNED: learned, benchmark.CONTROL: levels(0.5, 0.1, 0.1, 0.2, 0.3, 0.5, 0.5)}
    found = benchmark.Found(
        switched,
        {
            benchmark.LEARNED: levels(0.5, *[stayed] * len(AFTER)),
            benchmark.CONTROL: stays,
            benchmark.ORDINARY: stays,
        },
    )
    return {asked: holds for asked, _, _, holds in benchmark.judge(found)}


def test_half_the_distance_after_two_events_and_nine_tenths_after_five_are_asked_for():
    found = verdicts(levels(0.5, 0.1, 0.2, 0.31, 0.4, 0.45, 0.5), stayed=0.6)
    assert found["made up 2 events after the switch"]
    assert not found["made up 5 events after the switch"]
    assert found["2 events after: minus trained without steps"]
    assert not found["5 events after: minus trained without steps"]
    assert found["1 events after: minus an adaptation kept from before the switch"]


@pytest.mark.parametrize("stayed", [0.49, 0.51])
def test_users_who_did_not_switch_are_compared_with_both_controls(stayed):
    found = verdicts(levels(0.5, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5), stayed=stayed)
    for control in (benchmark.CONTROL, benchmark.ORDINARY):
        assert found[f"users who did not switch: minus {control}"] == (stayed > 0.5)


def test_the_world_tells_for_each_user_when_tastes_switch():
    sizes = synthetic.Sizes(users=40, items=60, events_per_user=30, drift_share=0.5)
    world, switch = benchmark.load_world(sizes, seed=2)
    truth = {row["user_id"]: row["drift_at"] for row in synthetic.generate(sizes, seed=2).truth}
    assert len(truth) > 5
    assert switch.tolist() == [truth.get(user, -1) for user in world.user_ids]


def test_every_arm_is_measured_on_held_out_users_who_switched_and_on_others():
    sizes = synthetic.Sizes(users=60, items=120, events_per_user=90, drift_share=0.5)
    world, switch = benchmark.load_world(sizes, seed=2)
    config = TrainingConfig(d=4, epochs=1, agreement=2, sliding_share=0.5, spliced_share=0.5)
    found = benchmark.measure_arms(world, switch, {"only": config}, tell=lambda _: None)
    switched, stayed = found.switched["only"], found.stayed["only"]
    assert switched.after.shape[1] == stayed.after.shape[1] == len(AFTER)
    assert 2 < len(switched.before) < 18
    assert 2 < len(stayed.before) < 18
    assert np.isfinite(switched.after).mean() > 0.8
