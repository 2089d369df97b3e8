"""Reads whole topics quickly: hundred thousands of records beside a machine that is busy with the run's own workers."""

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer

from schemas import KafkaSettings


def read_topic(kafka: KafkaSettings, topic: str) -> list[Any]:
    """All committed records that the topic holds now, in order per partition."""
    return asyncio.run(_read(kafka, topic))


async def _read(kafka: KafkaSettings, topic: str) -> list[Any]:
    found: list[Any] = []
    consumer = AIOKafkaConsumer(  # without a group it gets all partitions
        topic,
        bootstrap_servers=kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        left = [at for at, end in ends.items() if end]
        while left:
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                found += batch
            left = [at for at in left if await consumer.position(at) < ends[at]]
    finally:
        await consumer.stop()
    return found
