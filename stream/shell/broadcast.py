"""Reads the topics that concern every worker, models and items, and looks into the model store, beside the stream.

A consumer of its own without a group: each worker needs every record, from the first one, after each start. A Faust
GlobalTable would do the same and is known to recover for ever with several workers.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas import Role, topic_name
from stream.clients.connect import aiokafka_options
from stream.engine.watch import Broadcast, Watch
from stream.settings import Settings

logger = logging.getLogger("fewstep.worker")

_FETCH_MS = 300
_RELIST_EVERY_S = 1.0
"""At most: a catalog that is sent anew, item by item, is not indexed for each of them."""
_RECONNECT_S = 5.0
_ASK_EVERY_S = 1.0
_START_AGAIN_S = 30.0
_CATCH_UP_S = 5.0
"""A large bundle is there by then; heartbeats go on meanwhile, and lists wait no longer than for a restart."""

Load = Callable[..., asyncio.Future[None]]


@contextmanager
def loading() -> Iterator[Load]:
    """What runs the functions of a watch, one after the other, in a thread of their own."""
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
    try:
        yield partial(asyncio.get_running_loop().run_in_executor, executor)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


async def follow_broadcasts(settings: Settings, watch: Watch, load: Load) -> None:
    """Keep `watch` informed until cancelled.

    Nothing that goes wrong here ends the worker: it goes on with what it serves, and `watch` says so.
    """
    announced = asyncio.Event()
    announced.set()  # the first look is at once: something may have been published since the start
    while True:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_look(settings, watch, load, announced))
                tasks.create_task(_read(settings, watch, load, announced))
                tasks.create_task(_ask(settings, watch))
        except* Exception as errors:  # noqa: BLE001 - whatever it was, lists go on
            watch.deafen(f"models and items were not followed for a while: {errors.exceptions[0]!r}; report this")
        await asyncio.sleep(_START_AGAIN_S)


async def catch_up(watch: Watch, load: Load) -> None:
    """Look into the model store before partitions are taken over: who had them may have served a newer bundle.

    A store that takes longer than `_CATCH_UP_S` to answer keeps nobody from a list: the one that is there serves.
    """
    looking = load(watch.look)
    done, _ = await asyncio.wait((looking,), timeout=_CATCH_UP_S)
    if not done:
        logger.warning("the model store did not answer within %.0f s of a takeover: serving goes on", _CATCH_UP_S)
    elif error := looking.exception():
        watch.deafen(f"the model store could not be looked into at a takeover: {error!r}; report this")


async def _look(settings: Settings, watch: Watch, load: Load, announced: asyncio.Event) -> None:
    """Look when something was announced, and every `model.poll_interval_s` in case that it was missed."""
    while True:
        try:
            async with asyncio.timeout(settings.model.poll_interval_s):
                await announced.wait()
        except TimeoutError:
            pass
        announced.clear()
        await load(watch.look)


async def _ask(settings: Settings, watch: Watch) -> None:
    """Publish the requests for a better model that are due; what Kafka does not take is due still."""
    topic = topic_name(Role.REFRESH_REQUESTS, settings.kafka.topic_prefix)
    while True:
        await asyncio.sleep(_ASK_EVERY_S)
        while watch.measures.due:
            request = watch.measures.due[0]
            producer = AIOKafkaProducer(**aiokafka_options(settings.kafka), acks="all")
            try:
                await producer.start()
                await producer.send_and_wait(topic, request.model_dump_json().encode(), request.model.encode())
            except (KafkaError, OSError) as error:
                logger.warning("topic %s takes no request for a better model, trying again: %r", topic, error)
                break
            finally:
                await producer.stop()
            watch.measures.due.popleft()
            logger.warning("%s %s: %s; asked for a better model", request.model, request.model_version, request.reason)


async def _read(settings: Settings, watch: Watch, load: Load, announced: asyncio.Event) -> None:
    """Read both topics from the beginning; after an error of Kafka again, which changes nothing that was heard."""
    while True:
        consumer = AIOKafkaConsumer(
            **aiokafka_options(settings.kafka),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            request_timeout_ms=round(settings.kafka.request_timeout_s * 1000),
        )
        try:
            await consumer.start()
            if not await _subscribe(consumer, settings):
                return  # the store is looked into all the same
            await _deliver(consumer, settings, watch, load, announced)
        except (KafkaError, OSError) as error:
            logger.warning("topics of models and items cannot be read, trying again: %r", error)
        finally:
            await consumer.stop()
        await asyncio.sleep(_RECONNECT_S)


async def _subscribe(consumer: Any, settings: Settings) -> bool:
    """Read all partitions of those of both topics that exist; False where none does."""
    existing = await consumer.topics()
    wanted = {topic_name(role, settings.kafka.topic_prefix) for role in (Role.MODELS, Role.ITEMS)}
    for missing in sorted(wanted - existing):
        logger.warning("topic %s is missing, nothing is heard of it: fewstep topics create, then restart", missing)
    if wanted & existing:
        consumer.subscribe(sorted(wanted & existing))  # without a group that is all partitions
    return bool(wanted & existing)


async def _deliver(consumer: Any, settings: Settings, watch: Watch, load: Load, announced: asyncio.Event) -> None:
    models = topic_name(Role.MODELS, settings.kafka.topic_prefix)
    clock, relisted = asyncio.get_running_loop().time, 0.0
    while True:
        heard: dict[bool, list[Broadcast]] = {True: [], False: []}
        for partition, records in (await consumer.getmany(timeout_ms=_FETCH_MS)).items():
            heard[partition.topic == models] += [(record.key, record.value) for record in records]
        if heard[True]:
            await load(watch.hear, heard[True])
            announced.set()
        if heard[False]:
            await load(watch.take_items, heard[False])
        if not heard[False] or clock() - relisted > _RELIST_EVERY_S:
            await load(watch.relist)
            relisted = clock()
