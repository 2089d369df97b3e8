"""The physical floor: aiokafka's `getmany` and nothing else."""

import asyncio

from aiokafka import AIOKafkaConsumer

from stream.bench.lane import Lane
from stream.bench.variants.stopwatch import Stopwatch, stop_on_sigterm

# Only to learn soon that it is done; the worker commits as often.
_COMMIT_INTERVAL_MS = 500
_LOOK_EVERY_S = 0.005


def floor(lane: Lane) -> None:
    """Fetch all interactions as ConsumerRecords and count them."""
    asyncio.run(_consume(lane))


async def _consume(lane: Lane) -> None:
    stop, watch = stop_on_sigterm(), Stopwatch()
    consumer = AIOKafkaConsumer(
        lane.source,
        bootstrap_servers=lane.bootstrap_servers,
        group_id=lane.app_id,
        auto_offset_reset="earliest",
        auto_commit_interval_ms=_COMMIT_INTERVAL_MS,
    )
    await consumer.start()
    try:
        while not consumer.assignment() and not stop.is_set():
            await asyncio.sleep(_LOOK_EVERY_S)
        watch.in_hand()  # already now: parsing a fetch is the work that is measured, and `getmany` does it
        while not stop.is_set():
            batches = await consumer.getmany(timeout_ms=200)
            if batches:
                watch.done(sum(map(len, batches.values())))
    finally:
        await consumer.stop()
    watch.write(lane.figures)
