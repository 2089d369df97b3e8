import gzip
from pathlib import Path

import polars
import pytest

from meta import files
from schemas import InteractionEvent, Item
from schemas.errors import DataError


def test_a_broken_line_is_named_with_its_file(write_lines):
    path = write_lines("items.jsonl", [{"item_id": "a"}, "", '{"item_id": '])
    with pytest.raises(DataError, match=r"items\.jsonl, line 3: .*correct or remove"):
        list(files.read(path, Item))


def test_a_field_of_the_wrong_type_is_named(write_lines):
    path = write_lines("events.jsonl", [{"item_id": "a", "event_type": "view", "timestamp": 12}])
    with pytest.raises(DataError, match=r"line 1: timestamp: .*seconds"):
        list(files.read(path, InteractionEvent))


def test_a_newer_schema_version_is_refused(write_lines):
    path = write_lines("items.jsonl", [{"item_id": "a", "schema_version": 99}])
    with pytest.raises(DataError, match="line 1: schema_version 99 is newer"):
        list(files.read(path, Item))


@pytest.mark.parametrize("name", ["missing.jsonl", "missing.jsonl.gz", "missing.parquet", "events.csv"])
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str):
    with pytest.raises(DataError, match=name) as caught:
        list(files.read(tmp_path / name, Item))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [lambda content: content[:-12], lambda content: content[:12] + b"x" * 20])
def test_a_damaged_gzip_file_is_not_taken_for_its_beginning(tmp_path: Path, damage):
    path = tmp_path / "items.jsonl.gz"
    path.write_bytes(damage(gzip.compress(b'{"item_id": "a"}\n' * 1000)))
    with pytest.raises(DataError, match="cannot read"):
        list(files.read(path, Item))


def test_parquet_and_lines_give_the_same_messages(tmp_path: Path, write_lines, event):
    rows = [event("u", "a", 1, "rating", 4.0), event("u", "b", 2)]
    path = tmp_path / "events.parquet"
    polars.DataFrame(rows).write_parquet(path)
    lines = list(files.read(write_lines("events.jsonl", rows), InteractionEvent))
    assert list(files.read(path, InteractionEvent)) == lines
    assert lines[1][1].value is None


def test_parquet_features_lose_the_nulls_that_columns_add(tmp_path: Path):
    path = tmp_path / "items.parquet"
    rows = [{"item_id": "a", "features": {"year": 1995}}, {"item_id": "b", "features": {"year": None}}]
    polars.DataFrame(rows).write_parquet(path)
    assert [item.features for _, item in files.read(path, Item)] == [{"year": 1995}, {}]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path):
    with pytest.raises(RuntimeError), files.writing(tmp_path / "out.jsonl") as file:
        file.write("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path):
    (tmp_path / "out").touch()
    with pytest.raises(DataError, match="choose a folder"), files.writing(tmp_path / "out" / "items.jsonl"):
        pass
