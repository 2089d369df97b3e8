"""An open loop: events go out when they are due, answered or not, and lists are noted as they become readable.

Both ends take from the machine that they measure, so they do as little as they can while the clock runs: what is due
goes out in one request at a time, lists are kept as bytes and decoded afterwards, and nobody spins. Each has a thread
of its own, so that its CPU time can be told.
"""

import asyncio
import gc
import threading
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate
from time import clock_gettime, monotonic, pthread_getcpuclockid
from typing import Any, NamedTuple, Self

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas import KafkaSettings
from stream.clients.connect import aiokafka_options, broker_errors
from stream.clients.event_file import FileEvent
from stream.clients.outbox import Outbox

TICK_S, FAST_TICK_S = 0.002, 0.004
"""Requests begin no closer than this, at more than FAST events a second no closer than the other: what falls due
meanwhile goes together, and waits half of it in the mean. A request costs some half a millisecond of CPU time here,
however little is in it, and the broker as much.
"""
FAST = 1000
_LOOK_EVERY_MS = 200


class Position(NamedTuple):
    """An event as a list names it."""

    user: str
    partition: int
    offset: int


async def offer(outbox: Outbox, events: Sequence[FileEvent], *, rate: float) -> list[tuple[Position, float]]:
    """Send events at this rate; gives each one's position and when it was due, in order.

    One request is on its way at a time, with all that is due for any partition. If sending falls behind, more is sent
    at once, and what it was late by counts as delay.
    """
    sent: list[tuple[int, Sequence[Any]]] = []  # (number of the first event, where they went)
    tick = FAST_TICK_S if rate > FAST else TICK_S
    start, done = monotonic(), 0
    while done < len(events):
        began = monotonic()
        if (wait := start + done / rate - began) > 0:
            await asyncio.sleep(wait)
            continue
        due = min(len(events), int((began - start) * rate) + 1)
        sent.append((done, await outbox.send(events[done:due])))
        done = due
        await asyncio.sleep(max(0.0, began + tick - monotonic()))
    return [
        (Position(events[first + number].user_id, *at), start + (first + number) / rate)
        for first, taken in sent
        for number, at in enumerate(taken)
    ]


class Reader:
    """A consumer of all lists, in a thread of its own, that notes when each became readable.

    It reads committed records from the beginning of the topic on.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, *, partitions: int) -> None:
        self._kafka, self._partitions = kafka, [TopicPartition(topic, number) for number in range(partitions)]
        self._unread: deque[tuple[Sequence[Any], float]] = deque()
        self._arrivals: list[tuple[Position, float]] = []
        self.fetched = 0
        """How often lists came."""
        self._stop = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reader-of-lists")
        self._ident: int | None = None

    def __enter__(self) -> Self:
        self._reading = self._thread.submit(lambda: asyncio.run(self._read()))
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.shutdown()

    def check(self) -> None:
        """Raise the BrokerError that ended it, if one did."""
        if self._reading.done():
            self._reading.result()

    def cpu_seconds(self) -> float:
        """CPU time of its thread so far; only to be asked before it is left."""
        return 0.0 if self._ident is None else clock_gettime(pthread_getcpuclockid(self._ident))

    def arrivals(self) -> list[tuple[Position, float]]:
        """What each list since the last `forget` includes, and when it became readable. Decoded here."""
        while self._unread:
            records, when = self._unread.popleft()
            for record in records:
                found = orjson.loads(record.value)
                at = found["source"]
                self._arrivals.append((Position(found["user_id"], at["partition"], at["offset"]), when))
        return self._arrivals

    def forget(self) -> None:
        """Drop what was read so far."""
        self._unread.clear()
        self._arrivals.clear()

    async def _read(self) -> None:
        self._ident = threading.get_ident()
        # Kafka wakes a fetch when data comes; where a broker does not, it is asked again soon.
        consumer = AIOKafkaConsumer(
            **aiokafka_options(self._kafka), auto_offset_reset="earliest", fetch_max_wait_ms=20,
            isolation_level="read_committed",
        )  # fmt: skip
        with broker_errors(self._kafka):
            try:
                await consumer.start()
                consumer.assign(self._partitions)
                while not self._stop.is_set():
                    batches = await consumer.getmany(timeout_ms=_LOOK_EVERY_MS)
                    now = monotonic()
                    self._unread.extend((records, now) for records in batches.values())
                    self.fetched += len(batches)
            finally:
                await consumer.stop()


@contextmanager
def no_collection() -> Iterator[None]:
    """Without the cyclic garbage collector: a pause of its would count as delay, and nothing here is cyclic."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def waits(sent: Iterable[tuple[Position, float]], arrivals: Iterable[tuple[Position, float]]) -> list[float | None]:
    """Seconds from due to the first list that includes the event, for each event in order; None for none."""
    earliest = _earliest(arrivals)
    found: list[float | None] = []
    for position, due in sent:
        offsets, times = earliest.get((position.user, position.partition), ([], []))
        index = bisect_left(offsets, position.offset)
        found.append(times[index] - due if index < len(times) else None)
    return found


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
