"""Batched producing: whole record batches per partition, each awaited to its acknowledgement."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from stream.core.records import Message

Partition = tuple[str, int]
"""Topic and partition."""


async def publish(producer: Any, messages: Mapping[Partition, Sequence[Message]]) -> dict[Partition, int]:
    """Produce all messages and wait until the broker has acknowledged every one of them.

    `producer` is a started aiokafka producer with acks=all. Gives the offset of the first message per partition; if
    a partition's messages did not come to lie one after another, -1. Raises the producer's error if any send fails.
    """
    offsets = await asyncio.gather(*(_publish_one(producer, at, rows) for at, rows in messages.items() if rows))
    return dict(zip((at for at, rows in messages.items() if rows), offsets, strict=True))


async def _publish_one(producer: Any, at: Partition, messages: Sequence[Message]) -> int:
    topic, partition = at
    sent: list[tuple[Any, int]] = []
    batch, count = producer.create_batch(), 0
    for _, key, value, headers in messages:
        while batch.append(timestamp=None, key=key, value=value, headers=list(headers)) is None:
            if not count:
                raise ValueError(f"a message of {len(value or b'')} bytes does not fit into a batch for {topic}")
            sent.append((await producer.send_batch(batch, topic, partition=partition), count))
            batch, count = producer.create_batch(), 0
        count += 1
    sent.append((await producer.send_batch(batch, topic, partition=partition), count))
    first = following = -1
    for future, length in sent:
        offset = (await future).offset
        if first == -1:
            first = following = offset
        elif offset != following:
            return -1
        following += length
    return first
