import numpy as np
import pytest

from meta import dataset
from schemas import EventKinds, Manifest, UserFeature
from schemas.errors import DataError


@pytest.fixture
def items(write_lines):
    return write_lines("items.jsonl", [{"item_id": name, "title": name.upper()} for name in "abcd"])


def test_events_are_sorted_by_user_and_time_and_ties_keep_file_order(write_lines, event, items):
    rows = [event("v", "a", 5), event("u", "c", 2), event("u", "b", 1), event("u", "a", 1), event("u", "d", 1)]
    loaded = dataset.load(write_lines("events.jsonl", rows), items)
    assert loaded.user_ids == ["v", "u"]
    assert loaded.starts.tolist() == [0, 1, 5]
    assert [loaded.item_ids[row] for row in loaded.item] == ["a", "b", "a", "d", "c"]
    assert (loaded.user.dtype, loaded.item.dtype, loaded.kind.dtype) == (np.int32, np.int32, np.int16)
    assert (loaded.time_ms.dtype, loaded.starts.dtype, loaded.user_matrix.dtype) == (np.int64, np.int64, np.float32)


def test_events_on_items_outside_the_catalog_are_dropped_and_counted(write_lines, event, items):
    loaded = dataset.load(write_lines("events.jsonl", [event("u", "a"), event("w", "zzz")]), items)
    assert (loaded.dropped, loaded.user_ids) == (1, ["u"])


def test_a_file_about_other_items_is_an_error(write_lines, event, items):
    with pytest.raises(DataError, match="1 are on others"):
        dataset.load(write_lines("events.jsonl", [event("u", "zzz")]), items)


@pytest.mark.parametrize("field", ["user_id", "timestamp"])
def test_in_a_file_every_event_needs_user_and_time(write_lines, event, items, field):
    row = event("u", "b")
    del row[field]
    with pytest.raises(DataError, match=f"line 2: no {field}"):
        dataset.load(write_lines("events.jsonl", [event("u", "a"), row]), items)


def test_a_later_item_line_replaces_the_earlier_one_in_place(write_lines, event):
    items = write_lines("items.jsonl", [{"item_id": "a"}, {"item_id": "b"}, {"item_id": "a", "title": "new"}])
    loaded = dataset.load(write_lines("events.jsonl", [event("u", "a")]), items)
    assert [(item.item_id, item.title) for item in loaded.items] == [("a", "new"), ("b", "")]


def test_held_out_data_is_encoded_as_the_bundle_says(write_lines, event, items):
    features = [UserFeature(field="job", values=["cook", "pilot"])]
    like = Manifest(
        format_version=1, model="m", version="1", created_at="", algorithm="x", inner_steps=1, n_items=3, d=1,
        files={}, tensors={}, kinds=EventKinds(types=["like", "view"]), user_features=features, prior_times=[0],
    )  # fmt: skip
    users = write_lines("users.jsonl", [{"user_id": "u", "features": {"job": "pilot", "age": 3}}])
    rows = [event("u", "c", 0), event("u", "a", 1, "like"), event("u", "b", 2), event("u", "a", 3, "wave")]
    events = write_lines("events.jsonl", rows)
    loaded = dataset.load(events, items, users, like=like, item_ids=["gone", "c", "a"])
    assert loaded.item.tolist() == [1, 2, 2]
    assert loaded.kind.tolist() == [1, 0, -1]
    assert loaded.user_matrix.tolist() == [[0, 1]]
    assert [item.title for item in loaded.items] == ["", "C", "A"]
    assert loaded.dropped == 1


def test_a_dislike_is_never_a_right_answer_even_where_the_bundle_does_not_know_it(write_lines, event, items):
    rows = [event("u", "a", 0), event("u", "b", 1, "dislike"), event("u", "c", 2, "skip"), event("u", "d", 3, "like")]
    path = write_lines("events.jsonl", rows)
    assert dataset.load(path, items).relevant.tolist() == [True, False, False, True]


def test_a_subset_renumbers_users_and_keeps_rows_and_encodings(write_lines, event, items):
    rows = [event(user, item, day) for day, item in enumerate("abc") for user in ("u", "v", "w")] + [event("w", "d", 9)]
    users = write_lines("users.jsonl", [{"user_id": name, "features": {"name": name}} for name in "uvw"])
    loaded = dataset.load(write_lines("events.jsonl", rows), items, users)
    part = dataset.subset(loaded, np.array([2, 0]))
    assert part.user_ids == ["w", "u"]
    assert part.starts.tolist() == [0, 4, 7]
    assert part.item.tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert part.user.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert part.user_matrix.tolist() == loaded.user_matrix[[2, 0]].tolist()
    assert part.n_items == loaded.n_items and part.kinds == loaded.kinds


def test_only_the_value_of_a_rating_is_a_rating(write_lines, event, items):
    rows = [event("u", "a", 0, "purchase", 19.9), event("u", "b", 1, "rating", 4.0), event("u", "c", 2, "rating")]
    loaded = dataset.load(write_lines("events.jsonl", rows), items)
    assert loaded.rating.tolist() == pytest.approx([np.nan, 4.0, np.nan], nan_ok=True)
    assert loaded.rating.dtype == np.float32


def test_events_can_be_left_out_while_all_users_stay(write_lines, event, items):
    loaded = dataset.load(write_lines("events.jsonl", [event("u", "a"), event("v", "b"), event("w", "c")]), items)
    kept = dataset.keep_events(loaded, np.array([True, False, True]))
    assert (kept.starts.tolist(), kept.n_users) == ([0, 1, 1, 2], 3)
    assert kept.item.tolist() == [0, 2]
