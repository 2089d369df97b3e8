import numpy as np
import pytest

from meta import dataset, groups


@pytest.fixture
def world(write_lines, event):
    items = write_lines("items.jsonl", [{"item_id": f"i{n}"} for n in range(40)])
    rows = [event(f"u{u:02d}", f"i{n}", 10 * u + n / 100, "view") for u in range(40) for n in range(3 + u % 30)]
    profiles = [{"user_id": f"u{u:02d}", "features": {"age": 20 + u, "role": "ab"[u % 2]}} for u in range(39)]
    profiles.append({"user_id": "u39", "features": {"age": 59, "role": "rare"}})
    return dataset.load(write_lines("events.jsonl", rows), items, write_lines("users.jsonl", profiles))


def test_users_are_grouped_by_activity_features_and_time(world):
    users = np.arange(40)
    found = groups.user_groups(world, users)
    activity = [found[f"activity: {name} events"] for name in ("few", "some", "many")]
    assert np.sum(activity, axis=0).tolist() == [1] * 40
    assert world.lengths[activity[0]].max() <= world.lengths[activity[2]].min()
    assert found["role: a"].tolist() == [u % 2 == 0 for u in range(40)]
    periods = [part for name, part in found.items() if name.startswith("first event: ")]
    assert [part.sum() for part in periods] == [10] * 4
    assert periods[0].tolist() == [u < 10 for u in range(40)]


def test_a_group_of_a_few_users_is_left_out(world):
    assert "role: rare" not in groups.user_groups(world, np.arange(40))


def test_a_group_is_of_the_users_that_are_measured(world):
    found = groups.user_groups(world, np.arange(20))
    assert {len(part) for part in found.values()} == {20}
