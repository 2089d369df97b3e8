"""One poll through the agent's work, with real asyncio and every outward call recorded."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from schemas import Role
from schemas.errors import RefusedError
from stream.core.records import Message, Outcome, Record
from stream.shell import agent
from stream.shell.agent import Progress, Topics, route, to_records, work
from stream.shell.consumer import CustodyError
from stream.shell.letter_limit import LetterLimit
from stream.shell.overlay import Overlay
from stream.shell.polls import Poll, Slice

TOPICS = Topics({"in": Role.INTERACTIONS, "ask": Role.REQUESTS}, "log", "out", "dead", dead_letter_partitions=2)


def record(offset: int, *, value: bytes | None = b"{}") -> Any:
    return SimpleNamespace(offset=offset, timestamp=1_700_000_000_000, key=b"u", value=value, headers=())


def poll(*, epoch: int = 1, start: int = 5, offsets: tuple[int, ...] = (5, 6)) -> Poll:
    return Poll(epoch, [Slice("in", 3, start, (offsets or (start - 1,))[-1] + 1, [record(at) for at in offsets])])


class Custody:
    """Stands for the consumer."""

    def __init__(self, *, epoch: int = 1, following: int = 5, held: bool = True) -> None:
        self.epoch, self.following, self.held = epoch, following, held
        self.step_lock, self.delivery_lock, self.room = asyncio.Lock(), asyncio.Lock(), asyncio.Semaphore(0)
        self.marked: list[Poll] = []

    def take(self, poll: Poll) -> None:
        if poll.slices[0].start != self.following:
            raise CustodyError("gap")
        self.following = poll.slices[0].end

    async def holds(self, poll: Poll) -> bool:
        return self.held

    def mark_applied(self, poll: Poll) -> None:
        self.marked.append(poll)


def run(
    custody: Custody,
    one: Poll,
    *,
    deliver: Callable[..., Any] | None = None,
    step: Callable[..., Any] | None = None,
    limit: LetterLimit | None = None,
    full_poll: int = 8000,
) -> list[str]:
    trace: list[str] = []

    async def delivered(poll: Poll, outcome: Outcome) -> None:
        assert custody.marked == []
        await asyncio.sleep(0)
        trace.append(f"delivered {[row.value for row in outcome.rows]}")

    def one_row(records: list[Record], read_row: Any, *, clock_ms: int) -> Outcome:
        trace.append(f"stepped {[r.offset for r in records]}")
        return Outcome(
            rows=[Message(3, b"u", b"row")], recommendations=[Message(3, b"u", b"list")], counts={"events": 2}
        )

    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            await work(
                one,
                custody=custody,
                step=step or one_row,
                overlay=Overlay(lambda partition, key: None),
                deliver=deliver or delivered,
                topics=TOPICS,
                executor=executor,
                limit=limit or LetterLimit(share=1, window=1),
                full_poll=full_poll,
                progress=Progress(),
            )

    asyncio.run(main())
    return trace


def test_a_poll_is_stepped_delivered_and_only_then_marked() -> None:
    custody = Custody()
    assert run(custody, poll()) == ["stepped [5, 6]", "delivered [b'row']"]
    assert len(custody.marked) == 1


@pytest.mark.parametrize(("full_poll", "room"), [(2, 1), (3, 0)])
def test_behind_a_full_poll_the_next_is_fetched_while_it_is_computed(full_poll: int, room: int) -> None:
    custody, seen = Custody(), []

    def looking(records: list[Record], read_row: Any, *, clock_ms: int) -> Outcome:
        seen.append(custody.room._value)
        return Outcome()

    run(custody, poll(offsets=(5, 6)), step=looking, full_poll=full_poll)
    assert seen == [room]
    assert custody.room._value == 1  # given back once


def test_a_poll_of_an_earlier_epoch_is_dropped_unmarked() -> None:
    custody = Custody(epoch=2)
    assert run(custody, poll(epoch=1)) == []
    assert custody.marked == []


def test_a_poll_of_partitions_that_others_serve_by_now_is_not_published() -> None:
    custody = Custody(held=False)
    assert run(custody, poll()) == ["stepped [5, 6]"]
    assert custody.marked == []


def test_a_poll_that_skips_offsets_is_refused() -> None:
    custody = Custody(following=4)
    with pytest.raises(CustodyError):
        run(custody, poll(start=5))
    assert custody.marked == []


def test_what_was_not_delivered_is_not_marked() -> None:
    async def refused(poll: Poll, outcome: Outcome) -> None:
        raise ConnectionError("no broker")

    custody = Custody()
    with pytest.raises(ConnectionError):
        run(custody, poll(), deliver=refused)
    assert custody.marked == []


def test_a_poll_beyond_the_limit_of_dead_letters_is_neither_delivered_nor_marked() -> None:
    def refuses_all(records: list[Record], read_row: Any, *, clock_ms: int) -> Outcome:
        return Outcome(dead_letters=[Message(3, None, b"x")] * len(records))

    async def never(poll: Poll, outcome: Outcome) -> None:
        raise AssertionError("delivered")

    custody = Custody()
    with pytest.raises(RefusedError, match="2 of the last 2 records are dead letters"):
        run(custody, poll(), step=refuses_all, deliver=never, limit=LetterLimit(share=0.5, window=2))
    assert custody.marked == []


@pytest.mark.parametrize("epoch", [1, 2])
def test_room_for_the_next_poll_is_given_back_whatever_happens(epoch: int) -> None:
    def fails(*_: Any, **__: Any) -> Outcome:
        raise RuntimeError("step")

    custody = Custody(epoch=epoch)
    if epoch == 1:
        with pytest.raises(RuntimeError):
            run(custody, poll(), step=fails)
    else:
        run(custody, poll(), step=fails)
    assert custody.room._value == 1


class Two:
    """Polls at work at the same time: what they do, in order; a delivery ends when and how it is told to."""

    def __init__(self, *, stored: bytes | None = None) -> None:
        self.custody, self.trace = Custody(), list[str]()
        self.overlay = Overlay(lambda partition, key: stored)
        self.ends: dict[int, asyncio.Future[None]] = {}

    def step(self, records: list[Record], read_row: Any, *, clock_ms: int) -> Outcome:
        """Each record leaves its value as the row of its user."""
        self.trace.append(f"stepped {records[0].offset} on {read_row(3, b'u')!r}")
        return Outcome(rows=[Message(3, b"u", records[0].value)])

    async def deliver(self, poll: Poll, outcome: Outcome) -> None:
        at = poll.slices[0].start
        self.trace.append(f"delivering {at}")
        self.ends[at] = asyncio.get_running_loop().create_future()
        await self.ends[at]
        self.trace.append(f"delivered {at}")

    async def until(self, line: str) -> None:
        async with asyncio.timeout(20):
            while line not in self.trace:
                await asyncio.sleep(0.001)

    def run(self, body: Callable[["Two", list["asyncio.Task[None]"]], Coroutine[Any, Any, None]]) -> list[str]:
        """Three polls with one record each, the first one a tombstone."""

        async def main() -> None:
            with ThreadPoolExecutor(1) as executor:
                tasks = [
                    asyncio.create_task(
                        work(
                            Poll(1, [Slice("in", 3, at, at + 1, [record(at, value=value)])]),
                            custody=self.custody,
                            step=self.step,
                            overlay=self.overlay,
                            deliver=self.deliver,
                            topics=TOPICS,
                            executor=executor,
                            limit=LetterLimit(share=1, window=1),
                            full_poll=8000,
                            progress=Progress(),
                        )
                    )
                    for at, value in ((5, None), (6, b"six"), (7, b"seven"))
                ]
                await body(self, tasks)

        asyncio.run(main())
        return self.trace


@pytest.fixture
def every_poll_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "OVERLAP_FROM", 1)


@pytest.mark.usefixtures("every_poll_is_large")
def test_a_poll_is_stepped_on_the_rows_of_the_one_that_is_delivered_and_delivered_after_it() -> None:
    async def one_after_the_other(two: Two, tasks: list["asyncio.Task[None]"]) -> None:
        for at, next_step in ((5, "stepped 6 on None"), (6, "stepped 7 on b'six'"), (7, "delivering 7")):
            await two.until(next_step)
            await two.until(f"delivering {at}")
            two.ends[at].set_result(None)
        await asyncio.gather(*tasks)

    two = Two(stored=b"old")
    assert two.run(one_after_the_other) == [
        "stepped 5 on b'old'", "delivering 5", "stepped 6 on None", "delivered 5", "delivering 6",
        "stepped 7 on b'six'", "delivered 6", "delivering 7", "delivered 7",
    ]  # fmt: skip
    assert [poll.slices[0].start for poll in two.custody.marked] == [5, 6, 7]
    assert two.overlay.read(3, b"u") == b"old"  # nothing lies over the store any more


def test_a_small_poll_waits_until_the_one_before_is_delivered() -> None:
    async def one_after_the_other(two: Two, tasks: list["asyncio.Task[None]"]) -> None:
        for at in (5, 6, 7):
            await two.until(f"delivering {at}")
            await asyncio.wait(tasks, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
            two.ends[at].set_result(None)
        await asyncio.gather(*tasks)

    assert Two(stored=b"old").run(one_after_the_other) == [
        line
        for at in (5, 6, 7)
        for line in (f"stepped {at} on b'old'", f"delivering {at}", f"delivered {at}")
    ]  # fmt: skip


@pytest.mark.parametrize(("large", "room"), [(1, 1), (2, 0)])
def test_the_next_poll_is_fetched_when_a_large_one_is_computed_and_a_small_one_delivered(
    large: int, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "OVERLAP_FROM", large)

    async def looking(two: Two, tasks: list["asyncio.Task[None]"]) -> None:
        await two.until("delivering 5")
        assert two.custody.room._value == room
        for task in tasks:
            task.cancel()

    Two().run(looking)


@pytest.mark.usefixtures("every_poll_is_large")
def test_behind_a_poll_that_could_not_be_delivered_nothing_is_delivered_or_marked() -> None:
    async def failing(two: Two, tasks: list["asyncio.Task[None]"]) -> None:
        await two.until("stepped 6 on None")
        two.ends[5].set_exception(ConnectionError("no broker"))
        with pytest.raises(ConnectionError):
            await tasks[0]
        await asyncio.wait(tasks, timeout=0.1)  # the caller ends the process; here the others may go on
        for task in tasks:
            task.cancel()

    two = Two()
    assert two.run(failing) == ["stepped 5 on None", "delivering 5", "stepped 6 on None"]
    assert two.custody.marked == []


def test_a_slice_of_transaction_markers_alone_moves_the_offset_on() -> None:
    custody = Custody()
    run(custody, Poll(1, [Slice("in", 3, 5, 9, [])]))
    assert custody.marked[0].slices[0].end == 9


def test_records_carry_the_role_of_their_topic() -> None:
    both = Poll(1, [Slice("in", 0, 0, 1, [record(0)]), Slice("ask", 1, 4, 5, [record(4)])])
    assert [(r.role, r.partition, r.offset) for r in to_records(both, TOPICS)] == [
        (Role.INTERACTIONS, 0, 0),
        (Role.REQUESTS, 1, 4),
    ]


def test_dead_letters_go_to_a_partition_that_their_topic_has() -> None:
    outgoing, rows = route(Outcome(dead_letters=[Message(3, None, b"x"), Message(2, None, b"y")]), TOPICS)
    assert sorted(outgoing) == [("dead", 0), ("dead", 1)]
    assert rows == {}
