from dataclasses import replace

import numpy as np
import pytest

from meta import dataset, drift
from meta.baselines import FittedScorer

TASTES = 60
"""Items of each of two tastes"""
SWITCH = 45
N_EVENTS = 80


@pytest.fixture
def world(write_lines, event):
    """Twelve users who take one taste's items in turn, and from their 45th event on the other's."""
    rows = [
        event(f"u{user}", f"i{(taste + user) % 2 * TASTES + (7 * position + user) % TASTES}", day=position)
        for user in range(12)
        for position in range(N_EVENTS)
        for taste in [int(position >= SWITCH)]
    ]
    items = write_lines("items.jsonl", [{"item_id": f"i{row}"} for row in range(2 * TASTES)])
    return dataset.load(write_lines("interactions.jsonl", rows), items)


def follows(*, needs: int) -> FittedScorer:
    """Scores the taste of the newest events, once so many of them agree, and that of the oldest until then."""

    def scores(supports):
        taste = np.where(supports.support_mask > 0, supports.support_items // TASTES, -1)
        filled = supports.support_mask.sum(axis=1).astype(int)
        newest = np.array([row[max(0, n - needs) : n] for row, n in zip(taste, filled, strict=True)])
        settled = (newest == newest[:, -1:]).all(axis=1)
        chosen = np.where(settled, newest[:, -1], taste[:, 0])
        return (np.arange(2 * TASTES)[None] // TASTES == chosen[:, None]).astype(np.float32)

    return FittedScorer("follows", scores)


@pytest.fixture
def switch(world):
    return np.full(world.n_users, SWITCH)


def measured(world, switch, *, needs):
    users = drift.measurable(world, switch)
    return drift.measure(follows(needs=needs), world, users, switch[users], seed=0)


def test_recovery_is_none_until_the_list_has_followed(world, switch):
    levels = measured(world, switch, needs=3)
    shares = drift.recovered(levels, seed=0)
    assert [share.mean for share in shares[:3]] == [0, 0, 0]
    expected = (levels.after[:, 3].mean() - levels.after[:, 0].mean()) / (levels.before - levels.after[:, 0]).mean()
    assert expected > 0.2
    assert [share.mean for share in shares[3:]] == pytest.approx([expected] * 3)
    assert all(share.low < share.mean < share.high for share in shares[3:])


def test_levels_are_of_one_query_set_whatever_the_support(world, switch):
    levels = measured(world, switch, needs=3)
    assert (levels.after[:, 3:] == levels.after[:, 3:4]).all()
    assert (levels.after[:, 0] < levels.before).all()


def test_a_switch_near_either_end_of_a_history_is_not_measured(world, switch):
    switch[:3] = -1, 29, 30
    switch[3:5] = 60, 61
    assert drift.measurable(world, switch).tolist() == [2, 3, *range(5, 12)]


def test_what_a_list_is_for_is_hidden_from_it(world, switch):
    later = replace(world, item=world.item.copy())
    asked = world.starts[:-1, None] + np.arange(SWITCH + 10, N_EVENTS)
    later.item[asked] = 0
    seen = []

    def scores(supports):
        seen.append(supports.support_items)
        return np.zeros((len(supports.users), world.n_items), dtype=np.float32)

    for each in (world, later):
        drift.measure(FittedScorer("blind", scores), each, np.arange(12), switch, seed=0)
    half = len(seen) // 2
    assert half == 1 + len(drift.AFTER)
    assert all((first == second).all() for first, second in zip(seen[:half], seen[half:], strict=True))


def test_a_window_over_a_long_history_slides_or_stays(write_lines, event):
    rows = [event("u", f"i{(position // 60) * TASTES + position % TASTES}", day=position) for position in range(160)]
    items = write_lines("items.jsonl", [{"item_id": f"i{row}"} for row in range(3 * TASTES)])
    long = dataset.load(write_lines("interactions.jsonl", rows), items)

    def scores(supports):
        return (np.arange(3 * TASTES)[None] // TASTES == supports.support_items[:, -1:] // TASTES).astype(np.float32)

    slid, stayed = (
        drift.measure_long(FittedScorer("newest", scores), long, slides=slides, seed=0) for slides in (True, False)
    )
    assert slid.shape == stayed.shape == (1, len(drift.LONG))
    assert slid[0, 0] == stayed[0, 0] > 0
    assert slid[0, 3] > stayed[0, 3]
