"""Open-loop latency: events go out when they are due, answered or not; each is timed until a list covers it.

The clock starts when an event is due and stops when a consumer of committed records holds the first list of its user
that includes it.
"""

import asyncio
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import accumulate, islice
from time import monotonic
from typing import Any, NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas import KafkaSettings
from schemas.errors import FewstepError
from stream.bench.figures import Delays, percentile
from stream.bench.runs import Child
from stream.children import last_words
from stream.clients.connect import broker_errors
from stream.clients.event_file import FileEvent
from stream.clients.outbox import Outbox, open_outbox

PHASES: Mapping[int, float] = {1: 10.0, 100: 5.0, 1000: 5.0}
"""Events a second, and for how many seconds."""
READY_WITHIN_S = 60.0
WARM_UP_EVENTS, WARM_UP_EVERY_S = 16, 0.5
SETTLE_S = 2.0
"""After the first lists, so that what a start leaves behind is not measured."""
ANSWERED_WITHIN_S = 10.0
"""What is not answered so long after the last event of a phase counts as unanswered."""
SHARES = (0.25, 0.5, 0.75)
SHARE_S = 4.0
"""Shares of the worker's throughput at which it is timed too, and for how many seconds."""
_TICK_S = 0.002
"""What is due within such a time is sent together, so that driving a fast program takes little of its machine."""


class Position(NamedTuple):
    """An event as a list names it."""

    user: str
    partition: int
    offset: int


class OpenLoop:
    """A producer, and a consumer of all lists that notes when each became readable."""

    def __init__(self, outbox: Outbox, consumer: Any) -> None:
        self._outbox, self._consumer = outbox, consumer
        self._unread: list[tuple[bytes, float]] = []
        self._arrivals: list[tuple[Position, float]] = []

    async def listen(self) -> None:
        """Note lists as they arrive, until cancelled."""
        while True:
            batches = await self._consumer.getmany(timeout_ms=200)
            now = monotonic()
            for records in batches.values():
                self._unread.extend((record.value, now) for record in records)

    def arrivals(self) -> list[tuple[Position, float]]:
        """What each list so far includes, and when it became readable. Decoded here, not while they arrive."""
        for value, when in self._unread:
            found = orjson.loads(value)
            at = found["source"]
            self._arrivals.append((Position(found["user_id"], at["partition"], at["offset"]), when))
        self._unread.clear()
        return self._arrivals

    async def phase(self, events: Sequence[FileEvent], *, rate: int) -> list[tuple[Position, float]]:
        """Send events at this rate; gives each one's position and when it was due."""
        start = monotonic()
        due = [start + number / rate for number in range(len(events))]
        lines: defaultdict[int, _Line] = defaultdict(_Line)
        sent = 0
        async with asyncio.TaskGroup() as sending:
            while sent < len(events):
                await asyncio.sleep(max(_TICK_S if sent else 0.0, due[sent] - monotonic()))
                end = bisect_right(due, monotonic(), lo=sent)
                for event, when in zip(events[sent:end], due[sent:end], strict=True):
                    lines[self._outbox.partition_of(event.user_id)].waiting.append((event, when))
                sent = end
                for line in lines.values():
                    if line.waiting and not line.busy:
                        line.busy = True
                        sending.create_task(self._send(line))
        return [found for line in lines.values() for found in line.sent]

    async def _send(self, line: "_Line") -> None:
        """Send what waits, and what comes to wait meanwhile: one request after another, as a producer does."""
        while line.waiting:
            some, line.waiting = line.waiting, []
            taken = await self._outbox.send([event for event, _ in some])
            line.sent += [(Position(event.user_id, *at), when) for (event, when), at in zip(some, taken, strict=True)]
        line.busy = False


@dataclass
class _Line:
    """Events on their way to one partition, with when they are due."""

    waiting: list[tuple[FileEvent, float]] = field(default_factory=list)
    sent: list[tuple[Position, float]] = field(default_factory=list)
    busy: bool = False


def phases_at(capacity: float) -> dict[int, float]:
    """Events a second and seconds: PHASES, then SHARES of this many events a second, to hundreds."""
    return {**PHASES, **{max(100, 100 * round(capacity * share / 100)): SHARE_S for share in SHARES}}


def events_needed(phases: Mapping[int, float]) -> int:
    """Events that warming up and all phases take at most."""
    warm_up = round(READY_WITHIN_S / WARM_UP_EVERY_S) * WARM_UP_EVENTS
    return warm_up + sum(round(rate * seconds) for rate, seconds in phases.items())


def waits(sent: Iterable[tuple[Position, float]], arrivals: Iterable[tuple[Position, float]]) -> list[float | None]:
    """Seconds from due to the first list that includes the event, for each event in order; None for none."""
    earliest = _earliest(arrivals)
    found: list[float | None] = []
    for position, due in sent:
        offsets, times = earliest.get((position.user, position.partition), ([], []))
        index = bisect_left(offsets, position.offset)
        found.append(times[index] - due if index < len(times) else None)
    return found


async def measure_latency(
    child: Child, kafka: KafkaSettings, events: Sequence[FileEvent], *, phases: Mapping[int, float], number: int
) -> list[Delays]:
    """Drive a program that has just been started, on fresh topics, through all phases of round `number`.

    `events` are used one after another, at most `events_needed` of them. An event without an answer counts with the
    time that was waited for one. Raises FewstepError if the program never answers.
    """
    left = iter(events)
    found = []
    async with _open_loop(child, kafka) as loop:
        await _warm_up(loop, child, left)
        for rate, seconds in phases.items():
            sent = await loop.phase(list(islice(left, round(rate * seconds))), rate=rate)
            await _until_answered(loop, sent)
            child.check()
            given_up = monotonic()
            answers = waits(sent, loop.arrivals())
            delays = [given_up - due if wait is None else wait for wait, (_, due) in zip(answers, sent, strict=True)]
            p50, p99 = (percentile(delays, share) * 1000 for share in (0.5, 0.99))
            found.append(Delays(child.variant, number, rate, len(sent), answers.count(None), p50, p99))
    return found


@asynccontextmanager
async def _open_loop(child: Child, kafka: KafkaSettings) -> AsyncIterator[OpenLoop]:
    lane = child.lane
    with broker_errors(kafka):
        # Kafka wakes a fetch when data comes; where a broker does not, it is asked again soon.
        consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest", fetch_max_wait_ms=20,
            isolation_level="read_committed",
        )  # fmt: skip
        async with open_outbox(kafka, lane.source, partitions=lane.partitions) as outbox:
            await consumer.start()
            try:
                consumer.assign([TopicPartition(lane.lists, number) for number in range(lane.partitions)])
                loop = OpenLoop(outbox, consumer)
                async with _listening(loop):
                    yield loop
            finally:
                await consumer.stop()


@asynccontextmanager
async def _listening(loop: OpenLoop) -> AsyncIterator[None]:
    task = asyncio.create_task(loop.listen())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task  # raises what ended it, if it was not us


async def _warm_up(loop: OpenLoop, child: Child, events: Iterator[FileEvent]) -> None:
    """Send until every partition has been answered."""
    deadline = monotonic() + READY_WITHIN_S
    while len({position.partition for position, _ in loop.arrivals()}) < child.lane.partitions:
        child.check()
        if monotonic() > deadline:
            raise FewstepError(
                f"{child.variant} answered no event on some partition within {READY_WITHIN_S:.0f} s: "
                f"{last_words(child.log)}"
            )
        await loop.phase(list(islice(events, WARM_UP_EVENTS)), rate=1000)
        await asyncio.sleep(WARM_UP_EVERY_S)
    await asyncio.sleep(SETTLE_S)


async def _until_answered(loop: OpenLoop, sent: Sequence[tuple[Position, float]]) -> None:
    deadline = monotonic() + ANSWERED_WITHIN_S
    while None in waits(sent, loop.arrivals()) and monotonic() < deadline:
        await asyncio.sleep(0.1)


def _earliest(
    arrivals: Iterable[tuple[Position, float]],
) -> dict[tuple[str, int], tuple[list[int], list[float]]]:
    """By user and partition: ascending offsets, and for each the first time of a list that includes that offset."""
    by_user: defaultdict[tuple[str, int], list[tuple[int, float]]] = defaultdict(list)
    for position, when in arrivals:
        by_user[position.user, position.partition].append((position.offset, when))
    found = {}
    for user, answers in by_user.items():
        answers.sort()
        times = list(accumulate((when for _, when in reversed(answers)), min))[::-1]
        found[user] = [offset for offset, _ in answers], times
    return found
