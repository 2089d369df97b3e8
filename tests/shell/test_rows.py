"""Both stores of support sets, one contract."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from stream.core.records import Message, Outcome
from stream.settings import Settings
from stream.shell.app import create_app
from stream.shell.rows import write_acknowledged

LOG = "t-support-sets-changelog"


@pytest.fixture(params=["memory", "rocksdict"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return made(request.param, tmp_path)


def made(kind: str, data_dir: Path) -> Any:
    async def make() -> Any:  # Faust wants a running loop
        settings = Settings.load(worker={"app_id": "t"}, state={"store": kind, "data_dir": data_dir})
        app = create_app(settings, lambda *_, clock_ms: Outcome(), partitions=4, dead_letter_partitions=1)
        assert app.support_sets.changelog_topic.get_topic_name() == LOG
        return app.support_sets.data

    return asyncio.run(make())


def logged(*rows: tuple[bytes, bytes | None]) -> list[Any]:
    return [SimpleNamespace(key=key, value=value) for key, value in rows]


def test_a_row_is_read_on_its_own_partition_only(store: Any) -> None:
    store.write(TP(LOG, 1), [(b"u", b"one")], 0)
    assert store.read(1, b"u") == b"one"
    assert store.read(2, b"u") is None


def test_the_last_changelog_record_of_a_user_wins(store: Any) -> None:
    store.restore(TP(LOG, 0), logged((b"u", b"old"), (b"v", b"other"), (b"u", b"new")), 41)
    assert (store.read(0, b"u"), store.read(0, b"v")) == (b"new", b"other")
    assert store.persisted_offset(TP(LOG, 0)) == 41


def test_a_null_value_deletes_the_row_and_a_later_one_sets_it_again(store: Any) -> None:
    store.restore(TP(LOG, 0), logged((b"u", b"1"), (b"u", None), (b"v", None), (b"v", b"2")), 3)
    assert (store.read(0, b"u"), store.read(0, b"v")) == (None, b"2")


def test_acknowledged_rows_move_the_persisted_offset(store: Any) -> None:
    tp = TP(LOG, 2)
    assert write_acknowledged(store, tp, [Message(2, b"u", b"1"), Message(2, b"v", b"1")], 0)
    assert write_acknowledged(store, tp, [Message(2, b"u", b"2")], 2)
    assert (store.read(2, b"u"), store.persisted_offset(tp)) == (b"2", 2)


@pytest.mark.parametrize("first_offset", [7, -1])
def test_rows_behind_foreign_records_are_kept_but_not_called_complete(store: Any, first_offset: int) -> None:
    tp = TP(LOG, 2)
    write_acknowledged(store, tp, [Message(2, b"u", b"1")], 0)
    assert not write_acknowledged(store, tp, [Message(2, b"u", b"2")], first_offset)
    assert (store.read(2, b"u"), store.persisted_offset(tp)) == (b"2", 0)


def test_memory_keeps_what_stays_assigned_and_drops_what_others_serve_now(tmp_path: Path) -> None:
    rows = made("memory", tmp_path)
    for partition in (0, 1):
        rows.write(TP(LOG, partition), [(b"u", b"1")], 5)
    asyncio.run(rows.on_rebalance({TP(LOG, 0)}, {TP(LOG, 1), TP("in", 0)}, set(), 1))
    assert (rows.read(0, b"u"), rows.persisted_offset(TP(LOG, 0))) == (b"1", 5)
    assert (rows.read(1, b"u"), rows.persisted_offset(TP(LOG, 1))) == (None, None)
