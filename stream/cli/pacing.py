"""When each event of a replay is due, and handing them out in chunks as they become due."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from time import monotonic

from stream.clients.event_file import FileEvent

# Some milliseconds of work, so that Ctrl-C and the live rate stay responsive.
_CHUNK = 5_000
# Events that are due within one tick go out together: at 10,000/s, a wake-up per event would cost more than the event.
_TICK_S = 0.01


def due_times(
    events: Iterable[FileEvent], *, rate: float | None, speed: float | None
) -> Iterator[tuple[float, FileEvent]]:
    """Seconds from the start at which each event is due: `rate` events a second, or event time divided by `speed`.

    With neither, all are due at once. Never earlier than the event before: a file that steps back in time is sent in
    its own order. Events without a timestamp follow the one before them.
    """
    first: int | None = None
    due = 0.0
    for number, event in enumerate(events):
        if rate is not None:
            due = number / rate
        elif speed is not None and event.timestamp_ms is not None:
            first = event.timestamp_ms if first is None else first
            due = max(due, (event.timestamp_ms - first) / 1000 / speed)
        yield due, event


async def chunks_when_due(timed: Iterable[tuple[float, FileEvent]]) -> AsyncIterator[Sequence[FileEvent]]:
    """Chunks in order; each event is held back until it is due."""
    start = monotonic()
    chunk: list[FileEvent] = []
    for due, event in timed:
        wait = due - (monotonic() - start) if due else 0.0
        if chunk and (wait > _TICK_S or len(chunk) >= _CHUNK):
            yield chunk
            chunk = []
            wait = due - (monotonic() - start)
        if wait > 0:
            await asyncio.sleep(wait)
        chunk.append(event)
    if chunk:
        yield chunk
