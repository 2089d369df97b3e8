import numpy as np
import polars
import pytest

from meta import corpus, dataset, synthetic
from schemas import EventKinds, Manifest, UserFeature
from schemas.errors import DataError


@pytest.fixture
def items(write_lines):
    return write_lines("items.jsonl", [{"item_id": name, "title": name.upper()} for name in "abcd"])


def test_events_are_sorted_by_user_and_time_and_ties_keep_file_order(write_lines, event, items):
    rows = [event("v", "a", 5), event("u", "c", 2), event("u", "b", 1), event("u", "a", 1), event("u", "d", 1)]
    loaded = dataset.load(write_lines("events.jsonl", rows), items)
    assert list(loaded.user_ids) == ["v", "u"]
    assert loaded.starts.tolist() == [0, 1, 5]
    assert [loaded.item_ids[row] for row in loaded.item] == ["a", "b", "a", "d", "c"]
    assert (loaded.user.dtype, loaded.item.dtype, loaded.kind.dtype) == (np.int32, np.int32, np.int16)
    assert (loaded.time_ms.dtype, loaded.starts.dtype, loaded.user_matrix.dtype) == (np.int64, np.int64, np.float32)


def test_events_on_items_outside_the_catalog_are_dropped_and_counted(write_lines, event, items):
    loaded = dataset.load(write_lines("events.jsonl", [event("u", "a"), event("w", "zzz")]), items)
    assert (loaded.dropped, list(loaded.user_ids)) == (1, ["u"])


def test_a_file_about_other_items_is_an_error(write_lines, event, items):
    with pytest.raises(DataError, match="1 are on others"):
        dataset.load(write_lines("events.jsonl", [event("u", "zzz")]), items)


def test_a_file_without_events_is_not_said_to_be_about_other_items(write_lines, items):
    with pytest.raises(DataError, match="no events in it"):
        dataset.load(write_lines("events.jsonl", []), items)


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
    assert list(part.user_ids) == ["w", "u"]
    assert part.starts.tolist() == [0, 4, 7]
    assert part.item.tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert part.user.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert part.user_matrix.tolist() == loaded.user_matrix[[2, 0]].tolist()
    assert part.n_items == loaded.n_items and part.kinds == loaded.kinds


def by_user(loaded):
    """What is known of each user, by id, whatever the order of the rows."""
    return {
        user: (
            loaded.item[start:end].tolist(),
            loaded.kind[start:end].tolist(),
            loaded.time_ms[start:end].tolist(),
            loaded.user_matrix[row].tolist(),
        )
        for row, (user, start, end) in enumerate(
            zip(loaded.user_ids, loaded.starts[:-1].tolist(), loaded.starts[1:].tolist(), strict=True)
        )
    }


def test_what_goes_through_files_on_disk_is_what_memory_would_hold(made_up):
    files = (made_up / "interactions.jsonl", made_up / "items.jsonl", made_up / "users.jsonl")
    memory = dataset.load(*files)
    disk = dataset.load(*files, memory_rows=500)
    assert list(disk.user_ids) != list(memory.user_ids)
    like = Manifest(
        format_version=1, model="m", version="1", created_at="", algorithm="x", inner_steps=1, n_items=120, d=1,
        files={}, tensors={}, kinds=memory.kinds, user_features=memory.user_features, prior_times=[0],
    )  # fmt: skip
    same = dataset.load(*files, memory_rows=500, like=like, item_ids=memory.item_ids)
    assert by_user(same) == by_user(memory)
    assert (disk.n_users, disk.n_items, len(disk.item)) == (memory.n_users, memory.n_items, len(memory.item))


def test_parquet_columns_are_read_as_the_lines_are(made_up, tmp_path):
    polars.read_ndjson(made_up / "interactions.jsonl").write_parquet(tmp_path / "interactions.parquet")
    lines = dataset.load(made_up / "interactions.jsonl", made_up / "items.jsonl")
    columns = dataset.load(tmp_path / "interactions.parquet", made_up / "items.jsonl")
    assert by_user(columns) == by_user(lines)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("timestamp", 1_700_000_000, "looks like seconds"),
        ("value", float("nan"), "finite"),
        ("item_id", "", "at least 1"),
    ],
)
def test_a_parquet_row_that_the_schema_refuses_is_named(event, items, tmp_path, field, value, said):
    rows = [event("u", "a", value=1.0), event("u", "b", value=1.0) | {field: value}]
    polars.DataFrame(rows).write_parquet(tmp_path / "events.parquet")
    with pytest.raises(DataError, match=f"row 2: .*{said}"):
        dataset.load(tmp_path / "events.parquet", items)


def test_several_files_are_one_history(write_lines, event, items):
    paths = [write_lines("one.jsonl", [event("u", "a", 3)]), write_lines("two.jsonl", [event("u", "b", 1)])]
    loaded = dataset.load(paths, items)
    assert [loaded.item_ids[row] for row in loaded.item] == ["b", "a"]


def test_a_range_of_users_shares_the_columns(made_up):
    loaded = dataset.load(made_up / "interactions.jsonl", made_up / "items.jsonl")
    part, copied = dataset.subset(loaded, np.arange(3, 9)), dataset.subset(loaded, np.array([3, 4, 5, 6, 8, 7]))
    assert np.shares_memory(part.item, loaded.item) and not np.shares_memory(copied.item, loaded.item)
    whole, wanted = by_user(loaded), [loaded.user_ids[row] for row in range(3, 9)]
    assert by_user(part) == by_user(copied) == {user: whole[user] for user in wanted}


def test_a_folder_of_parquet_files_is_one_history(made_up, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "PART_ROWS", 3000)
    world = synthetic.generate(synthetic.Sizes(users=250, items=120, events_per_user=45), seed=3)
    counts = corpus.write(world, tmp_path, parquet=True)
    assert len(list((tmp_path / "interactions").glob("*.parquet"))) == -(-counts["interactions"] // 3000)
    corpus.write(world, tmp_path)
    folder = dataset.load(tmp_path / "interactions", tmp_path / "items.jsonl", tmp_path / "users.jsonl")
    lines = dataset.load(tmp_path / "interactions.jsonl", tmp_path / "items.jsonl", tmp_path / "users.jsonl")
    assert by_user(folder) == by_user(lines)


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
