"""At least once: what is stored was acknowledged, and what was not is not."""

import asyncio
from typing import Any

import pytest
from faust.types import TP

from schemas import Role
from stream.core.records import Message, Outcome
from stream.shell import delivery
from stream.shell.agent import Progress, Topics
from stream.shell.delivery import AtLeastOnce, LocalRows
from stream.shell.polls import Poll
from stream.shell.publisher import Partition

TOPICS = Topics({"in": Role.INTERACTIONS}, "log", "out", "dead", dead_letter_partitions=2)
OUTCOME = Outcome(rows=[Message(3, b"u", b"row")], recommendations=[Message(3, b"u", b"list")])


class Rows:
    """Stands for the local store."""

    def __init__(self, trace: list[str]) -> None:
        self.trace = trace

    def persisted_offset(self, tp: TP) -> int | None:
        return 6

    def write(self, tp: TP, rows: Any, last_offset: int | None) -> None:
        self.trace.append(f"stored {tuple(tp)} {dict(rows)} {last_offset}")


def deliver(monkeypatch: pytest.MonkeyPatch, *, offset: int, error: Exception | None = None) -> tuple[list[str], int]:
    trace: list[str] = []

    async def publish(producer: Any, messages: dict[Partition, list[Message]]) -> dict[Partition, int]:
        await asyncio.sleep(0)
        trace.append(f"published {sorted(messages)}")
        if error is not None:
            raise error
        return dict.fromkeys(messages, offset)

    monkeypatch.setattr(delivery, "publish", publish)
    progress = Progress()
    rows: Any = Rows(trace)
    guarantee = AtLeastOnce(lambda: None, TOPICS, LocalRows(rows, progress, markers=0))
    asyncio.run(guarantee.deliver(Poll(1, []), OUTCOME))
    return trace, progress.counts["foreign_rows"]


def test_rows_are_stored_after_everything_is_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    assert deliver(monkeypatch, offset=7) == (
        ["published [('log', 3), ('out', 3)]", "stored ('log', 3) {b'u': b'row'} 7"],
        0,
    )


def test_rows_behind_those_of_another_worker_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    trace, foreign = deliver(monkeypatch, offset=9)
    assert (trace[-1], foreign) == ("stored ('log', 3) {b'u': b'row'} None", 1)


def test_what_was_not_acknowledged_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectionError):
        deliver(monkeypatch, offset=7, error=ConnectionError("no broker"))
