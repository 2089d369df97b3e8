"""Open-loop latency: a program is driven at one rate after another, and each event is timed until a list covers it.

The clock starts when an event is due and stops when a consumer of committed records holds the first list of its user
that includes it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from time import monotonic, thread_time
from typing import NamedTuple

from schemas import KafkaSettings
from schemas.errors import FewstepError
from stream.bench.figures import Delays, Rung, percentile
from stream.bench.open_loop import Position, Reader, no_collection, offer, waits
from stream.bench.process_clock import cpu_seconds
from stream.bench.runs import Child
from stream.bench.sustained import WARM_UP, judge, next_rate
from stream.children import last_words
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
"""Shares of the sustained rate at which a worker is timed too, and for how many seconds."""
RUNG_S = 4.0
_QUIET_S = 0.2


class Offered(NamedTuple):
    """What came of events that were offered at one rate."""

    waits: list[float | None]
    """Seconds from due to readable, in the order in which they were due; None without an answer."""
    delays: list[float]
    """The same; without an answer the time that was waited for one."""
    cpu_s: dict[str, float]
    """CPU seconds by who took them, while events were offered."""


class Drive:
    """A program that runs, driven from outside: events go in, and it is noted when their lists become readable."""

    def __init__(
        self, child: Child, outbox: Outbox, reader: Reader, events: Iterator[FileEvent], broker_pid: int | None
    ) -> None:
        self._child, self._outbox, self._reader = child, outbox, reader
        self._events, self._broker_pid = events, broker_pid

    async def warm_up(self) -> None:
        """Send until every partition has been answered. Raises FewstepError if the program never answers."""
        child, deadline = self._child, monotonic() + READY_WITHIN_S
        while len({position.partition for position, _ in self._reader.arrivals()}) < child.lane.partitions:
            self._check()
            if monotonic() > deadline:
                raise FewstepError(
                    f"{child.variant} answered no event on some partition within {READY_WITHIN_S:.0f} s: "
                    f"{last_words(child.log)}"
                )
            await offer(self._outbox, list(islice(self._events, WARM_UP_EVENTS)), rate=1000)
            await asyncio.sleep(WARM_UP_EVERY_S)
        await asyncio.sleep(SETTLE_S)

    async def at(self, rate: int, seconds: float) -> Offered:
        """Offer events at this rate, and wait until they are answered, or for ANSWERED_WITHIN_S."""
        events = list(islice(self._events, round(rate * seconds)))
        self._reader.forget()
        with no_collection():
            before = self._clocks()
            sent = await offer(self._outbox, events, rate=rate)
            cpu_s = {who: seconds - before[who] for who, seconds in self._clocks().items()}
            found = await self._answers(sent)
        given_up = monotonic()
        self._check()
        delays = [given_up - due if wait is None else wait for wait, (_, due) in zip(found, sent, strict=True)]
        return Offered(found, delays, cpu_s)

    async def _answers(self, sent: Sequence[tuple[Position, float]]) -> list[float | None]:
        """Decoding them takes from the machine too, so it waits until no more come."""
        deadline, fetched = monotonic() + ANSWERED_WITHIN_S, -1
        while True:
            while fetched != self._reader.fetched and monotonic() < deadline:
                fetched = self._reader.fetched
                await asyncio.sleep(_QUIET_S)
            found = waits(sent, self._reader.arrivals())
            if None not in found or monotonic() > deadline:
                return found
            await asyncio.sleep(_QUIET_S)

    def _clocks(self) -> dict[str, float]:
        own = {"load": thread_time(), "reader": self._reader.cpu_seconds()}
        broker = {} if self._broker_pid is None else {"broker": cpu_seconds(self._broker_pid)}
        return {"program": cpu_seconds(self._child.process.pid)} | broker | own

    def _check(self) -> None:
        self._child.check()
        self._reader.check()


@asynccontextmanager
async def driving(
    child: Child, kafka: KafkaSettings, events: Iterator[FileEvent], broker_pid: int | None
) -> AsyncIterator[Drive]:
    """Drive a program that has just been started, on fresh topics, with `events` one after another.

    Without the `broker_pid`, its CPU time is not told. Raises BrokerError if Kafka fails.
    """
    lane = child.lane
    with Reader(kafka, lane.lists, partitions=lane.partitions) as reader:
        async with open_outbox(kafka, lane.source, partitions=lane.partitions) as outbox:
            drive = Drive(child, outbox, reader, events, broker_pid)
            await drive.warm_up()
            yield drive


async def measure_latency(
    child: Child,
    kafka: KafkaSettings,
    events: Iterator[FileEvent],
    *,
    phases: Mapping[int, float],
    number: int,
    broker_pid: int | None,
) -> list[Delays]:
    """Drive a program through all phases of round `number`. Raises FewstepError if it never answers."""
    found = []
    async with driving(child, kafka, events, broker_pid) as drive:
        for rate, seconds in phases.items():
            one = await drive.at(rate, seconds)
            p50, p99 = (percentile(one.delays, share) * 1000 for share in (0.5, 0.99))
            count, unanswered = len(one.delays), one.waits.count(None)
            found.append(Delays(child.variant, number, rate, count, unanswered, p50, p99, one.cpu_s))
    return found


async def find_sustained(
    child: Child,
    kafka: KafkaSettings,
    events: Iterator[FileEvent],
    *,
    broker_pid: int | None,
    show: Callable[[Rung], None],
) -> list[Rung]:
    """Climb the ladder of `stream.bench.sustained`; gives its rungs in order. Raises FewstepError as above."""
    rungs: list[Rung] = []
    async with driving(child, kafka, events, broker_pid) as drive:
        await drive.at(*WARM_UP)
        while (rate := next_rate(rungs)) is not None:
            one = await drive.at(rate, RUNG_S)
            rungs.append(judge(one.waits, one.delays, rate=rate))
            show(rungs[-1])
    return rungs


def phases_at(sustained: float) -> dict[int, float]:
    """Events a second and seconds: PHASES, then SHARES of this many events a second, to hundreds."""
    return {**PHASES, **{max(100, 100 * round(sustained * share / 100)): SHARE_S for share in SHARES}}
