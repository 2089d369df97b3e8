import numpy as np
import pytest

from meta import dataset, supports


@pytest.fixture
def loaded(write_lines, event):
    items = write_lines("items.jsonl", [{"item_id": name} for name in "abcd"])
    rows = [event("u", item, day) for day, item in [(0, "d"), (1, "c"), (4, "b"), (4, "a")]]
    rows += [event("v", "b", 2), event("v", "c", 3, "like")]
    return dataset.load(write_lines("events.jsonl", rows), items)


USERS = np.array([0, 1])


def test_the_first_events_are_oldest_first_and_padded_at_the_end(loaded):
    got = supports.first_events(loaded, USERS, 3)
    assert got.support_items.tolist() == [[3, 2, 1], [1, 2, 0]]
    assert got.support_mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert got.support_age.tolist() == [[4, 3, 0], [1, 0, 0]]
    assert got.support_kind.tolist() == [[0, 0, 0], [0, 1, 0]]
    assert got.now_ms.tolist() == [loaded.time_ms[2], loaded.time_ms[5]]


def test_without_events_now_is_the_first_one(loaded):
    got = supports.first_events(loaded, USERS, 0)
    assert got.support_items.shape == (2, 1)
    assert not got.support_mask.any()
    assert got.now_ms.tolist() == [loaded.time_ms[0], loaded.time_ms[4]]


def test_every_user_may_have_a_k_of_its_own(loaded):
    got = supports.first_events(loaded, USERS, np.array([0, 1]), width=3)
    assert got.support_mask.tolist() == [[0, 0, 0], [1, 0, 0]]


def test_a_window_ends_at_now_and_keeps_its_newest_events(loaded):
    got = supports.windows(loaded, np.array([0]), 1, 4, width=2)
    assert got.support_items.tolist() == [[1, 0]]
    assert got.now_ms.tolist() == [loaded.time_ms[3]]


def test_an_empty_window_is_placed_before_the_event_that_follows(loaded):
    got = supports.windows(loaded, np.array([0]), 2, 2)
    assert got.now_ms.tolist() == [loaded.time_ms[2]]


def test_an_event_of_an_unknown_kind_is_masked(loaded):
    loaded.kind[1] = -1
    got = supports.first_events(loaded, np.array([0]), 2)
    assert got.support_mask.tolist() == [[1, 0]]
    assert got.support_kind.tolist() == [[0, 0]]


def test_the_types_are_those_of_the_bundle_inputs(loaded):
    got = supports.first_events(loaded, USERS, 2)
    types = [getattr(got, name).dtype.name for name in got._fields]
    assert types == ["int64", "int64", "float32", "int64", "float32", "float32", "int64"]
