"""Batch delivery for Faust: the agent is handed a poll at a time, and offsets are committed only for applied polls.

Stock Faust makes two tasks per message and loses events in several ways: it acknowledges an event whose agent raised,
commits past an unacknowledged one, and clears queued events when recovery ends. Here one fetch travels as one
value, and custody of every offset is explicit:

* `epoch` moves on whenever partitions are revoked or positions are set anew; a poll of an earlier epoch is dropped,
  and its records are fetched again because nothing was committed for them;
* `taken` holds, per source partition, the next offset to compute: a poll must begin exactly there, else the process
  ends (`CustodyError`), because a gap would make skipped events look like duplicates later;
* `applied` follows it poll by poll, once outputs are acknowledged and the store is written;
* only `applied` is ever committed;
* before a poll is published, the partitions have to be ours beyond doubt (`holds`): a process that stood still for
  longer than its session would otherwise publish, on going on, what others have gone beyond.

The overridden methods belong to faust-streaming 0.15; tests/shell/test_faust_overrides.py checks that they are there.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from time import monotonic
from typing import Any

from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.consumer import Fetcher
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service

from schemas.errors import FewstepError, StateError
from stream.shell.agent import OVERLAP_FROM
from stream.shell.failstop import fail_stop
from stream.shell.polls import Fetched, Poll, Slice
from stream.shell.recovery import ShortChangelogError

FETCH_TIMEOUT_S = 1.0
"""A fetch without data returns after this, so that a stopped consumer is noticed."""

POLLS_WAITING = 1
"""Fetched and not computed yet. More would be older when their turn comes, and what arrives meanwhile would not be of
them; the next one is fetched when the step, or for a small poll the delivery, is over. Behind a full poll it is fetched
while that is computed."""

READY_WITHIN_S = 0.0005
"""A fetch that takes no longer found its records in the buffer."""

FRESH_WITHIN_S = 0.002
"""For so long a second answer is awaited then; an idle worker, whose fetch waits for the first record, never does."""


class CustodyError(Exception):
    """A poll does not begin where the last one ended: going on would lose events."""


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that owns the aiokafka consumer."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust fixes it at 1500 ms. Kafka wakes a fetch when data comes, but not every broker does.
        consumer._fetch_max_wait_ms = self.consumer.app.fetch_max_wait_ms
        # What an aborted transaction left is neither an event nor a row, whoever wrote it.
        consumer._isolation_level = "read_committed"
        return consumer

    async def _fetch_records(
        self, consumer: Any, active_partitions: set[TP], timeout: float | None = None, max_records: int | None = None
    ) -> Fetched:
        before = self._positions(consumer, active_partitions)
        records = await self._fetch_fresh(consumer, active_partitions, timeout, max_records)
        after = self._positions(consumer, active_partitions)
        slices = [
            Slice(tp.topic, tp.partition, start, after[tp], records.get(tp, ()))
            for tp, start in before.items()
            if tp in after and (after[tp] != start or tp in records)
        ]
        return Fetched(
            slices, self._highwaters_seen(consumer, active_partitions), self._answered(consumer, active_partitions)
        )

    async def _fetch_fresh(
        self, consumer: Any, active: set[TP], timeout: float | None, most: int | None
    ) -> dict[TP, list[Any]]:
        """Fetch; a few records that lay ready are joined by what the broker has now.

        aiokafka asks for more as soon as its buffer is empty, so that what lies ready was fetched when the poll before
        this one was taken. The next answer is a round trip away and has all that has come since.
        """
        asked = monotonic()
        records: dict[TP, list[Any]] = await super()._fetch_records(consumer, active, timeout, most)
        count = sum(map(len, records.values()))
        few = 0 < count < min(OVERLAP_FROM, most or OVERLAP_FROM)
        if few and monotonic() - asked < READY_WITHIN_S:
            left = None if most is None else most - count
            for tp, more in (await super()._fetch_records(consumer, active, FRESH_WITHIN_S, left)).items():
                records[tp] = [*records.get(tp, ()), *more]
        return records

    @staticmethod
    def _state(consumer: Any, tp: TP) -> Any:
        subscription = consumer._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        if assignment is None or tp not in assignment.tps:
            return None  # revoked meanwhile: the epoch moves on and the poll is dropped
        return assignment.state_value(tp)

    def _positions(self, consumer: Any, tps: Iterable[TP]) -> dict[TP, int]:
        states = {tp: self._state(consumer, tp) for tp in tps}
        return {tp: state.position for tp, state in states.items() if state is not None and state.has_valid_position}

    def _highwaters_seen(self, consumer: Any, tps: Iterable[TP]) -> dict[tuple[str, int], int]:
        states = {tp: self._state(consumer, tp) for tp in tps}
        return {
            (tp.topic, tp.partition): state.highwater
            for tp, state in states.items()
            if state is not None and state.highwater is not None
        }

    def _answered(self, consumer: Any, tps: Iterable[TP]) -> int:
        states = (self._state(consumer, tp) for tp in tps)
        return max((state.timestamp for state in states if state is not None and state.timestamp), default=0)

    async def seek_sources(self) -> dict[TP, int]:
        """Seek every source partition to its committed offset, and give the positions.

        A partition without a committed offset starts at the earliest one, which is committed at once: from then on a
        committed offset always exists, and a rebalance cannot skip what was read but not committed.
        """
        consumer = self._ensure_consumer()
        changelogs = self.consumer.app.tables.changelog_topics
        sources = [tp for tp in consumer.assignment() if tp.topic not in changelogs]
        if not sources:
            return {}
        earliest = await consumer.beginning_offsets(sources)
        answers = await asyncio.gather(*map(consumer.committed, sources))
        committed = dict(zip(sources, answers, strict=True))
        starts: dict[TP, int] = {}
        for tp in sources:
            first, done = earliest[tp], committed[tp]
            if done is not None and done < first:
                self.log.warning("%s %s: retention removed offsets %s to %s unread", *tp, done, first - 1)
            starts[tp] = first if done is None or done < first else done
            consumer.seek(tp, starts[tp])
        fresh = {tp: self._noted(starts[tp]) for tp in sources if committed[tp] is None}
        if fresh:
            await consumer.commit(fresh)
        return starts

    def _noted(self, offset: int) -> OffsetAndMetadata:
        """The offset with the ids of the source topics, by which the next start knows one that was made anew."""
        return OffsetAndMetadata(offset, self.consumer.app.topic_note)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        consumer = self._ensure_consumer()
        held = consumer.assignment()
        try:
            await consumer.commit(
                {TopicPartition(*tp): self._noted(offset) for tp, offset in offsets.items() if tp in held}
            )
        except (CommitFailedError, IllegalStateError) as error:  # rebalanced meanwhile: what was applied comes again
            self.log.warning("not committed: %r", error)
            return False
        except Exception as error:  # noqa: BLE001 - as Faust does: the app ends, and the process with it
            await self.crash(error)
            return False
        return True

    async def confirm(self, offsets: Mapping[TP, int]) -> bool:
        """Commit offsets of partitions that all have to be ours; False if the group does not count us in any more."""
        held = self._ensure_consumer().assignment()
        return all(TopicPartition(*tp) in held for tp in offsets) and await self._commit(offsets)

    async def seek_back(self, slices: Iterable[Slice]) -> None:
        """Set partitions back to where a dropped fetch began."""
        consumer = self._ensure_consumer()
        for part in slices:
            tp = TopicPartition(part.topic, part.partition)
            if self._state(consumer, tp) is not None:
                consumer.seek(tp, part.start)


class BatchConsumer(driver.Consumer):
    """Faust's consumer, delivering polls to `app.polls`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.epoch = 0
        self.taken: dict[TP, int] = {}
        self.applied: dict[TP, int] = {}
        self.step_lock = asyncio.Lock()
        """Held while a poll is computed."""
        self.delivery_lock = asyncio.Lock()
        """Held while a poll is delivered: a rebalance waits for both, then commits."""
        self.room = asyncio.Semaphore(POLLS_WAITING)
        self.log_ends: dict[tuple[str, int], int] = {}
        self.answered_ms = 0
        """Wall-clock time of the last fetch answer."""
        self._confirmed = float("-inf")
        """Monotonic time at which a commit was sent that then succeeded: the group counted us in."""
        self._fetching = False
        self._fetch_done = asyncio.Event()

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # -- fetching

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                await self._drain_once()
        except self.consumer_stopped_errors:
            if not self.transport.app.should_stop:
                raise
        except (ShortChangelogError, StateError) as error:
            fail_stop(str(error), error, exit_code=1)  # a restart would not cure it

    async def _drain_once(self) -> None:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
            return
        active = set(self._get_active_partitions())  # a copy: a fetch in flight must not see later changes
        if not active:
            await self.sleep(0.02)  # an empty set would mean all partitions to aiokafka
            return
        # Room is taken before fetching, so that at most POLLS_WAITING polls wait in memory.
        if (await self.wait(self.room.acquire())).stopped:
            return
        handed = False
        try:
            if self.flow_active:
                handed = await self._fetch_and_hand_on(active)
        finally:
            if not handed:
                self.room.release()

    async def _fetch_and_hand_on(self, active: set[TP]) -> bool:
        """Fetch once; True if a poll was handed to the agent, which then releases the room."""
        epoch, generation = self.epoch, self.app.consumer_generation_id
        self._fetching = True
        self._fetch_done.clear()
        try:
            fetched = await self._getmany(active, timeout=FETCH_TIMEOUT_S)
            if not fetched:  # the flow was stopped before the fetch began
                return False
            if not self.flow_active or epoch != self.epoch or generation != self.app.consumer_generation_id:
                await self._thread.call_thread(self._thread.seek_back, fetched.slices)
                return False
            return self._hand_on(fetched, epoch)
        finally:
            self._fetching = False
            self._fetch_done.set()

    def _hand_on(self, fetched: Fetched, epoch: int) -> bool:
        """Changelog slices go to recovery at once, source slices to the agent. No await between check and hand-over."""
        self.log_ends.update(fetched.highwaters)
        self.answered_ms = max(self.answered_ms, fetched.answered_ms)
        changelogs = self.app.tables.changelog_topics
        self.app.tables.recovery.apply(
            [part for part in fetched.slices if part.topic in changelogs], fetched.highwaters
        )
        sources = [part for part in fetched.slices if part.topic not in changelogs]
        if sources:
            self.app.polls.put_nowait(Poll(epoch, sources))
        return bool(sources)

    async def wait_for_stopped_flow(self) -> None:
        """Wait for the fetch in flight. Stock Faust's version never waits."""
        while self._fetching:
            await self._fetch_done.wait()

    # -- custody

    def take(self, poll: Poll) -> None:
        """The poll is about to be computed. Raises CustodyError unless each slice begins where the last one ended."""
        _move_on(self.taken, poll)

    async def holds(self, poll: Poll) -> bool:
        """Whether the poll's partitions are ours beyond doubt; if not, it and those behind it are void.

        A commit proves it for a session. Half of one later, or after a standstill, the broker is asked again, by a
        commit that changes nothing: every poll before this one has to be marked. Transactions need no such care: a
        predecessor's are fenced.
        """
        fresh = monotonic() - self._confirmed < self.app.conf.broker_session_timeout / 2
        if self.app.delivery.commits_offsets or fresh:
            return True
        asked = monotonic()
        offsets = {TP(part.topic, part.partition): part.start for part in poll.slices}
        if await self._thread.call_thread(self._thread.confirm, offsets):
            self._confirmed = asked
            return True
        self.epoch += 1
        self.taken = {}  # what is fetched before the positions are set anew follows a poll that was not applied
        return False

    def mark_applied(self, poll: Poll) -> None:
        """The outputs of this poll are acknowledged and the store is written: it may be committed.

        Raises CustodyError unless all polls before it were marked.
        """
        _move_on(self.applied, poll)

    def lag(self) -> dict[TP, int]:
        """Records not yet applied per source partition, as of the last fetch answers."""
        return {tp: max(0, self.log_ends.get((tp.topic, tp.partition), at) - at) for tp, at in self.applied.items()}

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in list(self.applied) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        return self.applied.get(tp)

    async def perform_seek(self) -> None:
        """Begin an epoch: every source partition stands at its committed offset."""
        starts: Mapping[TP, int] = await self._thread.call_thread(self._thread.seek_sources)
        self.applied = {TP(tp.topic, tp.partition): offset for tp, offset in starts.items()}
        self.taken = dict(self.applied)
        self._committed_offset.clear()
        self._committed_offset.update(self.applied)
        self.epoch += 1

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit, unless the offsets went with the outputs."""
        if self.app.delivery.commits_offsets:
            return True
        asked = monotonic()
        done = bool(await super()._commit(offsets))
        self._confirmed = asked if done else self._confirmed
        return done

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Let bundle and delivery take over the partitions before anything of them is read."""
        partitions = {tp.partition for tp in assigned}
        if self.app.catch_up is not None and partitions:
            await self.app.catch_up()
        try:
            self.app.support_sets.data.open(partitions)
            await self.app.delivery.begin(partitions)
        except FewstepError as error:
            fail_stop(str(error), error, exit_code=error.exit_code)
        except Exception as error:  # noqa: BLE001 - without its producers the worker could only stall
            fail_stop(f"partitions could not be taken over: {type(error).__name__}: {error}", error)
        await super().on_partitions_assigned(assigned, generation_id)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let the polls in hand end, commit what is applied, and void the rest."""
        await self.quiesce()
        await self.app.delivery.end()
        await super().on_partitions_revoked(revoked)
        self.applied, self.taken = {}, {}
        self.log_ends = {}

    async def quiesce(self) -> None:
        """Wait for the polls that are being computed and delivered, void those in the queue, and commit.

        Raises TimeoutError when they do not end within the rebalance's patience.
        """
        async with asyncio.timeout(self.app.conf.broker_session_timeout * 3):
            async with self.step_lock, self.delivery_lock:
                self.epoch += 1
        await self.commit()


def _move_on(positions: dict[TP, int], poll: Poll) -> None:
    """Move each partition of the poll to where its slice ends. Raises CustodyError unless it stands where it begins."""
    for part in poll.slices:
        tp = TP(part.topic, part.partition)
        expected = positions.get(tp)
        if part.start != expected:
            raise CustodyError(
                f"{part.topic} {part.partition}: read from offset {part.start}, expected {expected}; a restart "
                "continues from the committed offset; if the topic was recreated, start with another --app-id"
            )
        positions[tp] = part.end


class BatchFetcher(Fetcher):
    """Runs the drain. Stock Faust's calls it a crash when it is cancelled by a stop in the middle of a rebalance."""

    @Service.task
    async def _fetcher(self) -> None:
        try:
            await self.app.consumer._drain_messages(self)
        finally:
            self.set_shutdown()


class BatchTransport(driver.Transport):
    """Faust's aiokafka transport with the batch consumer."""

    Consumer = BatchConsumer
    Fetcher = BatchFetcher
