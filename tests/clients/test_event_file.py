"""Canonical files are read line by line, and what is wrong is named with file and line."""

import gzip
import json
from pathlib import Path

import pytest

from schemas.errors import DataError
from stream.clients.event_file import FileEvent, in_rounds, read_events, read_titles

LINE = '{"user_id": 7, "item_id": "i", "event_type": "view", "timestamp": 1700000000000}'


def event(user: str, number: int) -> FileEvent:
    return FileEvent(user, None, b"%d" % number)


def test_a_line_is_kept_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text(f"{LINE}\n\n  {LINE}  \n")
    assert list(read_events(tmp_path / "f.jsonl")) == [FileEvent("7", 1_700_000_000_000, LINE.encode())] * 2


def test_a_compressed_file_reads_the_same(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl.gz").write_bytes(gzip.compress(LINE.encode()))
    assert [read.user_id for read in read_events(tmp_path / "f.jsonl.gz")] == ["7"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"user_id": "u", "event_type": "view"}', "item_id: Field required"),
        ('{"item_id": "i", "event_type": "view"}', "user_id is missing"),
        ('{"user_id": "u", "item_id": "i", "event_type": "view", "timestamp": 12}', "timestamp: .*seconds"),
        ("{", "Invalid JSON"),
        ('"text"', "should be an object"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text(f"{LINE}\n{LINE}\n{line}\n{LINE}\n")
    with pytest.raises(DataError, match=rf"f\.jsonl:3: .*{said}"):
        list(read_events(path))


@pytest.mark.parametrize("content", [b"not gzip", gzip.compress(LINE.encode() * 100)[:-20]])
def test_a_damaged_compressed_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "f.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"f\.jsonl\.gz cannot be read"):
        list(read_events(path))


@pytest.mark.parametrize("name", ["nothing.jsonl", "."])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        list(read_events(tmp_path / name))


def test_a_file_of_another_kind_is_told_apart_from_a_wrong_line(tmp_path: Path) -> None:
    (tmp_path / "f.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"f\.parquet:1: .*give a \.jsonl"):
        list(read_events(tmp_path / "f.parquet"))


def test_a_title_falls_back_to_the_id(tmp_path: Path) -> None:
    items = [{"item_id": "a", "title": "Alien"}, {"item_id": 2}]
    (tmp_path / "i.jsonl").write_text("\n".join(map(json.dumps, items)))
    assert read_titles(tmp_path / "i.jsonl") == {"a": "Alien", "2": "2"}


def test_a_bad_item_is_named(tmp_path: Path) -> None:
    (tmp_path / "i.jsonl").write_text('{"item_id": "a"}\n{"title": "no id"}\n')
    with pytest.raises(DataError, match=r"i\.jsonl:2: item_id: Field required"):
        read_titles(tmp_path / "i.jsonl")


def test_round_r_holds_the_rth_event_of_every_user() -> None:
    events = [event("a", 1), event("a", 2), event("b", 1), event("a", 3), event("c", 1), event("b", 2)]
    assert in_rounds(events, 2) == [
        [event("a", 1), event("b", 1), event("c", 1)],
        [event("a", 2), event("b", 2)],
    ]


def test_there_are_no_empty_rounds() -> None:
    assert in_rounds([event("a", 1)], 5) == [[event("a", 1)]]
    assert in_rounds([], 5) == []
