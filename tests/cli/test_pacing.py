"""When events of a replay are due."""

import asyncio

import pytest

from stream.cli.pacing import chunks_when_due, due_times
from stream.clients.event_file import FileEvent


def events(*times: int | None) -> list[FileEvent]:
    return [FileEvent("u", time, b"%d" % number) for number, time in enumerate(times)]


def due(*times: int | None, rate: float | None = None, speed: float | None = None) -> list[float]:
    return [moment for moment, _ in due_times(events(*times), rate=rate, speed=speed)]


def test_without_a_pace_all_are_due_at_once() -> None:
    assert due(1_000, 9_000) == [0, 0]


def test_a_rate_spaces_them_evenly() -> None:
    assert due(None, 5, 3, rate=4) == [0, 0.25, 0.5]


def test_a_speed_divides_event_time() -> None:
    assert due(10_000, 11_000, 14_000, speed=2) == [0, 0.5, 2]


def test_a_step_back_in_time_waits_for_nothing() -> None:
    assert due(10_000, 14_000, 12_000, 15_000, speed=1) == [0, 4, 4, 5]


def test_an_event_without_a_timestamp_follows_the_one_before() -> None:
    assert due(None, 10_000, None, 12_000, speed=1) == [0, 0, 0, 2]


@pytest.mark.parametrize("rate", [None, 20_000.0])
def test_chunks_hold_every_event_once_and_in_order(rate: float | None) -> None:
    sent = events(*range(12_345))

    async def collect() -> list[FileEvent]:
        timed = due_times(sent, rate=rate, speed=None)
        return [event async for chunk in chunks_when_due(timed) for event in chunk]

    assert asyncio.run(collect()) == sent


def test_what_is_due_is_not_kept_back_for_what_is_not() -> None:
    async def first_chunk() -> list[FileEvent]:
        chunks = chunks_when_due([(0.0, events(1)[0]), (3600.0, events(2)[0])])
        first = await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined]
        return list(first)

    assert asyncio.run(first_chunk()) == events(1)


def test_nothing_gives_no_chunk() -> None:
    async def collect() -> list[object]:
        return [chunk async for chunk in chunks_when_due([])]

    assert asyncio.run(collect()) == []
