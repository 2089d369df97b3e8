"""The agent's work: one poll in, its outcome acknowledged and stored, then the offsets released for commit.

Nothing here knows Faust; every outward call is passed in.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from time import time
from typing import Protocol

from schemas import Role
from stream.core.records import Message, Outcome, ReadRow, Record
from stream.shell.polls import Poll
from stream.shell.publisher import Partition


class StepFunction(Protocol):
    """`stream.core.step.Step`."""

    def __call__(self, records: list[Record], read_row: ReadRow, *, clock_ms: int) -> Outcome: ...


class Custody(Protocol):
    """What the consumer answers for: which polls may be applied, and what was applied."""

    epoch: int
    step_lock: asyncio.Lock
    room: asyncio.Semaphore

    def begins_where_applied(self, poll: Poll) -> None: ...
    def mark_applied(self, poll: Poll) -> None: ...


@dataclass(frozen=True)
class Topics:
    """Topic names of one deployment, and how many partitions dead letters have."""

    roles: Mapping[str, Role]
    """Input topics and what they are for."""
    changelog: str
    recommendations: str
    dead_letters: str
    dead_letter_partitions: int


@dataclass
class Progress:
    """What the worker did since it started; read by the log line and the watchdog."""

    counts: Counter[str] = field(default_factory=Counter)
    polls_waiting: int = 0


async def work(
    poll: Poll,
    *,
    custody: Custody,
    step: StepFunction,
    read_row: ReadRow,
    deliver: Callable[[Poll, Outcome], Awaitable[None]],
    topics: Topics,
    executor: Executor,
    progress: Progress,
) -> None:
    """Apply one poll: step, deliver, mark. Anything raised is for the caller to die of.

    A poll of an earlier epoch is dropped: its records come again. The step runs in `executor`, so that the event loop
    goes on fetching and answering heartbeats meanwhile.
    """
    try:
        async with custody.step_lock:
            if poll.epoch != custody.epoch:
                return
            custody.begins_where_applied(poll)
            run = partial(step, to_records(poll, topics), read_row, clock_ms=round(time() * 1000))
            outcome = await asyncio.get_running_loop().run_in_executor(executor, run)
            await deliver(poll, outcome)
            custody.mark_applied(poll)
            progress.counts.update(outcome.counts)
    finally:
        custody.room.release()


def to_records(poll: Poll, topics: Topics) -> list[Record]:
    """The records of a poll, in order per partition."""
    return [
        Record(role, part.topic, part.partition, row.offset, row.timestamp, row.key, row.value, row.headers)
        for part in poll.slices
        for role in (topics.roles[part.topic],)
        for row in part.records
    ]


def route(outcome: Outcome, topics: Topics) -> tuple[dict[Partition, list[Message]], dict[Partition, list[Message]]]:
    """Sort an outcome's messages by destination: (lists and dead letters, changelog rows)."""
    outgoing: dict[Partition, list[Message]] = {}
    rows: dict[Partition, list[Message]] = {}
    for message in outcome.recommendations:
        outgoing.setdefault((topics.recommendations, message.partition), []).append(message)
    for message in outcome.dead_letters:
        at = (topics.dead_letters, message.partition % topics.dead_letter_partitions)
        outgoing.setdefault(at, []).append(message)
    for message in outcome.rows:
        rows.setdefault((topics.changelog, message.partition), []).append(message)
    return outgoing, rows
