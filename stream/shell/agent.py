"""The agent's work: one poll in, its outcome acknowledged and stored, then the offsets released for commit.

While the outcome of a poll is delivered, the next poll, if it is large, is computed: on the rows that the first one is
about to leave. Everything that can be seen from outside stays in order, poll by poll. Nothing here knows Faust; every
outward call is passed in.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from time import monotonic, time
from typing import Protocol

from prometheus_client import Histogram

from schemas import Role
from stream.core.records import Message, Outcome, ReadRow, Record, new_tuple
from stream.shell.letter_limit import LetterLimit
from stream.shell.overlay import Overlay
from stream.shell.polls import Poll
from stream.shell.publisher import Partition

OVERLAP_FROM = 500
"""Records of a poll that is computed while the one before is delivered. Smaller ones wait: what comes meanwhile then
shares a poll, where computing each at once would cost more than the wait and lets latency rise on a busy machine."""

STEP_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class StepFunction(Protocol):
    """`stream.core.step.Step`."""

    def __call__(self, records: list[Record], read_row: ReadRow, *, clock_ms: int) -> Outcome: ...


class Custody(Protocol):
    """What the consumer answers for: which polls may be applied, and what was applied."""

    epoch: int
    step_lock: asyncio.Lock
    delivery_lock: asyncio.Lock
    room: asyncio.Semaphore

    def take(self, poll: Poll) -> None: ...
    async def holds(self, poll: Poll) -> bool: ...
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


def _step_seconds() -> Histogram:
    return Histogram("fewstep_step_seconds", "Time to compute one poll", buckets=STEP_BUCKETS_S, registry=None)


@dataclass
class Progress:
    """What the worker did since it started; read by the log line, the probes, the metrics and the watchdog."""

    counts: Counter[str] = field(default_factory=Counter)
    letters: Counter[str] = field(default_factory=Counter)
    """Dead letters by reason."""
    polls: int = 0
    """Polls delivered."""
    step_began: float | None = None
    """Monotonic time at which the step in hand began."""
    step_seconds: Histogram = field(default_factory=_step_seconds)
    beat: float = field(default_factory=monotonic)
    """Monotonic time at which the event loop last showed that it runs."""

    def note(self, outcome: Outcome) -> None:
        """Count what was delivered."""
        self.polls += 1
        self.counts.update(outcome.counts)
        # The first of that name is ours; the record may have brought others.
        self.letters.update(
            next((value.decode() for name, value in letter.headers if name == "fewstep-reason"), "unknown")
            for letter in outcome.dead_letters
        )


async def work(
    poll: Poll,
    *,
    custody: Custody,
    step: StepFunction,
    overlay: Overlay,
    deliver: Callable[[Poll, Outcome], Awaitable[None]],
    topics: Topics,
    executor: Executor,
    limit: LetterLimit,
    full_poll: int,
    progress: Progress,
) -> None:
    """Apply one poll: step, deliver, mark. Anything raised is for the caller to die of, at once.

    Called for each poll in turn, in tasks of their own. A poll of an earlier epoch, or of partitions that others serve
    by now, is dropped: its records come again. The step runs in `executor`, so that the event loop goes on fetching,
    delivering and answering heartbeats meanwhile. A poll of `full_poll` records left others behind: the next one is as
    fresh if it is fetched at once.
    """
    with ExitStack() as room:
        room.callback(custody.room.release)
        async with custody.step_lock:
            if len(poll) < OVERLAP_FROM:
                async with custody.delivery_lock:
                    pass
            if poll.epoch != custody.epoch:
                return
            custody.take(poll)
            if len(poll) >= full_poll:
                room.close()
            progress.step_began = monotonic()
            run = partial(step, to_records(poll, topics), overlay.read, clock_ms=round(time() * 1000))
            outcome = await asyncio.get_running_loop().run_in_executor(executor, run)
            progress.step_seconds.observe(monotonic() - progress.step_began)
            progress.step_began = None
            await custody.delivery_lock.acquire()
            # The poll before is stored and marked: only now may its end be committed, which is how `holds` asks.
            if not await custody.holds(poll):
                custody.delivery_lock.release()
                return
            overlay.lay(outcome.rows)  # no step runs: what the next one reads can be exchanged
            if len(poll) >= OVERLAP_FROM:
                room.close()
        limit.admit(len(poll), len(outcome.dead_letters))
        await deliver(poll, outcome)
        custody.mark_applied(poll)
        overlay.lift()
        progress.note(outcome)
        custody.delivery_lock.release()  # only here: behind a poll that failed nothing is delivered


def to_records(poll: Poll, topics: Topics) -> list[Record]:
    """The records of a poll, in order per partition."""
    return [
        new_tuple(Record, (role, topic, partition, row.offset, row.timestamp, row.key, row.value, row.headers))
        for topic, partition, _, _, records in poll.slices
        for role in (topics.roles[topic],)
        for row in records
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
