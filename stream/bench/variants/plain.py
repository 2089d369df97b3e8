"""Plain Faust, as its documentation teaches it: one that only consumes, and a stateful agent that answers each event.

All Faust options but addresses and names are left at their defaults. The web server is off, because its port may be
taken; it would do nothing but listen.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from importlib.util import find_spec
from time import time
from typing import Any

import faust

from stream.bench.lane import Lane
from stream.bench.variants.stopwatch import Stopwatch, stop_on_sigterm
from stream.topics import TABLE

ANSWER_ITEMS = 16
"""A list of so many items makes an answer of about 800 bytes."""
TAKE_EVENTS, TAKE_WITHIN_S = 256, 0.02
TUNED_LINGER_S = 0.02


def consume_only(lane: Lane) -> None:
    """`take_events` on raw bytes, nothing is decoded, kept or sent."""
    watch = Stopwatch()

    def create() -> Any:
        app = create_app(lane)

        async def count(stream: Any) -> None:
            async for events in stream.take_events(TAKE_EVENTS, within=TAKE_WITHIN_S):
                watch.in_hand()
                watch.done(len(events))

        source = app.topic(lane.source, value_type=bytes, value_serializer="raw")
        app.agent(source, name="count")(count)
        return app

    asyncio.run(serve(create))
    watch.write(lane.figures)


def plain(lane: Lane) -> None:
    """Per event: decode JSON, write a table, send a list."""
    asyncio.run(serve(lambda: _create_plain(lane)))


def tuned(lane: Lane) -> None:
    """The same with the producer's linger that suits it best, and uvloop where it is installed."""
    fastest = import_module("uvloop").new_event_loop if find_spec("uvloop") else None
    with asyncio.Runner(loop_factory=fastest) as runner:
        runner.run(serve(lambda: _create_plain(lane, producer_linger=TUNED_LINGER_S)))


def restore(lane: Lane) -> None:
    """A table and nothing else: what its changelog holds is recovered as Faust does it."""

    def create() -> Any:
        app = create_app(lane)
        app.Table(TABLE, partitions=lane.partitions, key_type=bytes, value_type=bytes)
        return app

    asyncio.run(serve(create))


def create_app(lane: Lane, **options: Any) -> Any:
    """A Faust app with defaults but for `options`, its topics as many partitions as the source."""
    return faust.App(
        lane.app_id,
        broker=[f"aiokafka://{address.strip()}" for address in lane.bootstrap_servers.split(",")],
        store="rocksdb://",
        datadir=lane.data_dir,
        topic_partitions=lane.partitions,
        web_enabled=False,
        **options,
    )


async def serve(create: Callable[[], Any]) -> None:
    """Run an app until SIGTERM. Raises RuntimeError if it crashes."""
    stop, app = stop_on_sigterm(), create()
    await app.start()
    await app.wait(stop)
    if app.crashed:
        raise RuntimeError(f"the Faust app crashed: {app.crash_reason!r}")
    await app.stop()


def answer(event: Any, began: float, ranked: list[tuple[str, float]], *, support_size: int) -> dict[str, Any]:
    """What is sent: the shape of a `Recommendation` without reasons; `began` is when the event was taken in hand."""
    message = event.message
    return {
        "user_id": event.value["user_id"],
        "items": [{"item_id": item, "score": score} for item, score in ranked],
        "support_size": support_size,
        "source": {"topic": message.topic, "partition": message.partition, "offset": message.offset},
        "generated_at": began,
    }


def _create_plain(lane: Lane, **options: Any) -> Any:
    app = create_app(lane, **options)
    source = app.topic(lane.source, key_type=str, value_serializer="json")
    lists = app.topic(lane.lists, key_type=str, value_serializer="json")
    counts = app.Table("counts", default=int, partitions=lane.partitions)
    drawn = random.Random(0)
    popular = [(f"item-{row}", round(drawn.random(), 6)) for row in range(ANSWER_ITEMS)]

    async def recommend(stream: AsyncIterator[Any]) -> None:
        async for event in stream.events():  # type: ignore[attr-defined]
            began = time()
            user = event.value["user_id"]
            count = counts[user] + 1
            counts[user] = count
            await lists.send(key=user, value=answer(event, began, popular, support_size=count))

    app.agent(source, name="recommend")(recommend)
    return app
