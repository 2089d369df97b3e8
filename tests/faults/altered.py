"""The program `fewstep` altered: python tests/faults/altered.py CHANGE[,CHANGE...] ARGUMENT...

A change either switches one protection off (`without_*`), or makes happen what cannot be had from outside. The latter
holds only while the file of the environment variable OBSTRUCTED exists.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def without_acknowledgement() -> None:
    """Messages are handed to the producer and applied at once, as if the broker had acknowledged them."""
    from stream.shell import delivery

    acknowledged = delivery.publish
    under_way = set()

    async def at_once(producer: Any, messages: Any) -> Any:
        task = asyncio.ensure_future(acknowledged(producer, messages))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        return dict.fromkeys(messages, -1)

    delivery.publish = at_once


def without_offsets_in_rows() -> None:
    """An event that is delivered again is applied again."""
    from stream.core import fold

    apply_event = fold.apply_event

    def forgetful(state: Any, event: Any, offset: int, config: Any) -> Any:
        return apply_event(state._replace(interactions_offset=-1), event, offset, config)

    fold.apply_event = forgetful


def without_event_ids() -> None:
    """An event that its producer sent twice is applied twice."""
    from stream.core import fold

    apply_event = fold.apply_event

    def forgetful(state: Any, event: Any, offset: int, config: Any) -> Any:
        return apply_event(state, event._replace(event_id=None), offset, config)

    fold.apply_event = forgetful


def without_custody() -> None:
    """Offsets are committed as far as was fetched, whether it was applied or not."""
    from stream.shell.consumer import BatchConsumer

    hand_on = BatchConsumer._hand_on

    def commit_ahead(self: Any, fetched: Any, epoch: int) -> bool:
        handed = hand_on(self, fetched, epoch)
        changelogs = self.app.tables.changelog_topics
        for part in fetched.slices:
            if part.topic not in changelogs:
                self.fetched_to[part.topic, part.partition] = part.end
        return handed

    def new_offset(self: Any, tp: Any) -> int | None:
        return self.fetched_to.get(tuple(tp))

    BatchConsumer.fetched_to = {}
    BatchConsumer._hand_on = commit_ahead
    BatchConsumer._new_offset = new_offset


def without_recovery() -> None:
    """The changelog is not read: whoever takes a partition over begins with what the data directory holds."""
    from stream.shell.recovery import BatchRecovery

    BatchRecovery.need_recovery = lambda self: False


def without_fail_stop() -> None:
    """A poll that could not be applied is logged and left behind, as a supervised agent would."""
    from stream.shell import app

    def go_on(why: str, error: Any = None, *, exit_code: int = 70) -> None:
        print(why, file=sys.stderr)  # noqa: T201

    applied = app.work

    async def swallowing(poll: Any, **options: Any) -> None:
        try:
            await applied(poll, **options)
        except Exception as error:  # noqa: BLE001 - that is the mistake
            go_on(str(error))
            custody = options["custody"]
            custody.mark_applied(poll)
            if custody.delivery_lock.locked():
                custody.delivery_lock.release()

    app.fail_stop, app.work = go_on, swallowing
    without_contiguity()


def without_contiguity() -> None:
    """Polls are taken and marked wherever they begin."""
    from faust.types import TP

    from stream.shell.consumer import BatchConsumer

    def mark(self: Any, poll: Any) -> None:
        self.applied.update({TP(part.topic, part.partition): part.end for part in poll.slices})

    BatchConsumer.take = lambda self, poll: None
    BatchConsumer.mark_applied = mark


def without_handover() -> None:
    """A rebalance does not wait for the poll in hand, and polls that were fetched before it are applied after it."""
    from stream.shell.consumer import BatchConsumer

    async def at_once(self: Any) -> None:
        await self.commit()

    BatchConsumer.epoch = property(lambda self: 0, lambda self, value: None)
    BatchConsumer.quiesce = at_once
    without_contiguity()
    without_confirmation()


def without_confirmation() -> None:
    """A process that stood still publishes what it had in hand, whoever serves its partitions by then."""
    from stream.shell.consumer import BatchConsumer

    async def surely(self: Any, poll: Any) -> bool:
        return True

    BatchConsumer.holds = surely


def without_watchdog() -> None:
    """Nobody looks whether the worker moves on."""
    from stream.shell import watch

    watch.start_watchdog = lambda *arguments, **options: None


def without_fencing() -> None:
    """Transactional ids are a process's own, so that nobody's predecessor is fenced."""
    from stream.shell import transactions

    named = transactions.transactional_id
    transactions.transactional_id = lambda app_id, partition: f"{named(app_id, partition)}-{os.getpid()}"


def without_resending() -> None:
    """The producer's client gives a batch up at once when its answer is lost."""
    from aiokafka.producer.sender import SendProduceReqHandler

    SendProduceReqHandler._can_retry = lambda self, error, batch: False


def without_complaint() -> None:
    """What the producer could not send counts as sent."""
    from aiokafka.errors import KafkaError

    from stream.shell import delivery

    acknowledged = delivery.publish

    async def calm(producer: Any, messages: Any) -> Any:
        try:
            return await acknowledged(producer, messages)
        except KafkaError:
            return dict.fromkeys(messages, -1)

    delivery.publish = calm


def without_letter_limit() -> None:
    """Dead letters may be as many as they like."""
    from stream.shell.letter_limit import LetterLimit

    LetterLimit.admit = lambda self, records, letters: None


def without_quiet_logs() -> None:
    """What is refused is logged with its content."""
    from stream.core import fold

    decode = fold.decode

    def telling(record: Any, limits: Any) -> Any:
        print(record, file=sys.stderr)  # noqa: T201
        return decode(record, limits)

    fold.decode = telling


def endless_step() -> None:
    """A step does not end."""
    _before_each_step(lambda: time.sleep(3600))


def slow_steps() -> None:
    """A step takes STEP_S seconds more."""
    seconds = float(os.environ["STEP_S"])
    _before_each_step(lambda: time.sleep(seconds))


def frozen_in_hand() -> None:
    """The process stops as SIGSTOP does, once, with a poll computed and not published yet."""
    from stream.shell.consumer import BatchConsumer

    holds = BatchConsumer.holds

    async def frozen(self: Any, poll: Any) -> bool:
        if _is_obstructed():
            Path(os.environ["OBSTRUCTED"]).unlink()
            os.kill(os.getpid(), signal.SIGSTOP)
        return await holds(self, poll)

    BatchConsumer.holds = frozen


def cleared_queue() -> None:
    """A poll is fetched and gone, once, as stock Faust clears its queues when recovery ends."""
    from stream.shell.consumer import BatchConsumer

    hand_on = BatchConsumer._hand_on

    def clearing(self: Any, fetched: Any, epoch: int) -> bool:
        changelogs = self.app.tables.changelog_topics
        if _is_obstructed() and any(part.topic not in changelogs for part in fetched.slices):
            Path(os.environ["OBSTRUCTED"]).unlink()
            return False
        return hand_on(self, fetched, epoch)

    BatchConsumer._hand_on = clearing


def blocked_loop() -> None:
    """The event loop is blocked for a quarter of a minute."""
    from stream.shell import app

    applied = app.work

    async def blocking(poll: Any, **options: Any) -> None:
        if _is_obstructed():
            time.sleep(15)
        await applied(poll, **options)

    app.work = blocking


def failing_publisher() -> None:
    """Sending fails for no reason of Kafka's, with more polls waiting."""
    from stream.shell import delivery

    publish, calls = delivery.publish, [0]

    async def failing(producer: Any, messages: Any) -> Any:
        calls[0] += 1
        if calls[0] > 3 and _is_obstructed():
            raise OSError("no route to anywhere")
        return await publish(producer, messages)

    delivery.publish = failing


def _before_each_step(what: Callable[[], None]) -> None:
    from stream.core.step import Step

    call = Step.__call__

    def obstructed(self: Any, *arguments: Any, **options: Any) -> Any:
        if _is_obstructed():
            what()
        return call(self, *arguments, **options)

    Step.__call__ = obstructed


def _is_obstructed() -> bool:
    return Path(os.environ["OBSTRUCTED"]).exists()


if __name__ == "__main__":
    for change in sys.argv.pop(1).split(","):
        globals()[change]()
    from stream.__main__ import main

    main()
