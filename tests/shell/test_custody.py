"""Who answers for which offset: fetches that cross a rebalance, gaps, and what may be committed."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from schemas.errors import StateError
from stream.core.codec import encode
from stream.core.records import Outcome
from stream.core.state import EMPTY
from stream.settings import Settings
from stream.shell.app import WorkerApp, create_app
from stream.shell.consumer import BatchConsumer, CustodyError
from stream.shell.polls import Fetched, Poll, Slice
from stream.shell.recovery import ShortChangelogError

SOURCE, LOG = TP("fewstep-interactions", 0), TP("t-support-sets-changelog", 0)


class Thread:
    """Stands for the thread that owns the aiokafka consumer: gives one prepared fetch."""

    def __init__(self, fetched: Fetched, during: Callable[[], None] = lambda: None) -> None:
        self.fetched, self.during, self.sought_back = fetched, during, []
        self.confirmed: list[dict[TP, int]] = []
        self.is_member = True

    async def getmany(self, active: set[TP], timeout: float) -> Fetched:
        await asyncio.sleep(0)
        self.during()
        return self.fetched

    async def call_thread(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
        return await function(*args)

    async def seek_back(self, slices: list[Slice]) -> None:
        self.sought_back += slices

    async def confirm(self, offsets: dict[TP, int]) -> bool:
        self.confirmed.append(offsets)
        return self.is_member

    async def seek_sources(self) -> dict[TP, int]:
        return {SOURCE: 10}


def slice_of(tp: TP, start: int, *values: bytes | None) -> Slice:
    records = [
        SimpleNamespace(offset=start + i, timestamp=0, key=b"u", value=value, headers=())
        for i, value in enumerate(values)
    ]
    return Slice(tp.topic, tp.partition, start, start + len(values), records)


def with_consumer(tmp_path: Path, body: Callable[[WorkerApp, BatchConsumer], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        settings = Settings.load(worker={"app_id": "t"}, state={"store": "memory", "data_dir": tmp_path})
        app = create_app(settings, lambda *_, clock_ms: Outcome(), partitions=4, dead_letter_partitions=1)
        consumer: Any = app.consumer
        loop_of_thread = consumer._thread.thread_loop  # made for a thread that these tests do not start
        try:
            await body(app, consumer)
        finally:
            loop_of_thread.close()

    asyncio.run(main())


def interruptions(app: WorkerApp, consumer: BatchConsumer) -> dict[str, Callable[[], None]]:
    def next_generation() -> None:
        app.consumer_generation_id = 7

    def next_epoch() -> None:
        consumer.epoch += 1

    return {"flow stopped": consumer.stop_flow, "generation": next_generation, "epoch": next_epoch}


@pytest.mark.parametrize("interruption", ["flow stopped", "generation", "epoch"])
def test_a_fetch_that_a_rebalance_overtook_is_dropped_and_its_positions_set_back(
    tmp_path: Path, interruption: str
) -> None:
    async def body(app: WorkerApp, consumer: BatchConsumer) -> None:
        thread = Thread(Fetched([slice_of(SOURCE, 10, b"a")], {}), interruptions(app, consumer)[interruption])
        consumer._thread = thread  # type: ignore[assignment]
        assert not await consumer._fetch_and_hand_on({SOURCE})
        assert app.polls.empty()
        assert thread.sought_back == thread.fetched.slices

    with_consumer(tmp_path, body)


def test_an_undisturbed_fetch_reaches_the_agent_as_one_poll(tmp_path: Path) -> None:
    async def body(app: WorkerApp, consumer: BatchConsumer) -> None:
        both = [slice_of(SOURCE, 10, b"a", b"b"), slice_of(TP("fewstep-requests", 2), 4, b"c")]
        consumer._thread = Thread(Fetched(both, {}))  # type: ignore[assignment]
        assert await consumer._fetch_and_hand_on({SOURCE})
        assert app.polls.get_nowait() == Poll(consumer.epoch, both)

    with_consumer(tmp_path, body)


def test_flow_control_cannot_clear_a_poll_that_was_handed_on(tmp_path: Path) -> None:
    async def body(app: WorkerApp, consumer: BatchConsumer) -> None:
        app.polls.put_nowait(Poll(0, []))
        app.flow_control.suspend()
        app.flow_control.resume()
        assert app.polls.qsize() == 1

    with_consumer(tmp_path, body)


def test_waiting_for_a_stopped_flow_waits_for_the_fetch_in_flight(tmp_path: Path) -> None:
    async def body(app: WorkerApp, consumer: BatchConsumer) -> None:
        order: list[str] = []
        consumer._thread = Thread(Fetched([], {}), lambda: order.append("fetched"))  # type: ignore[assignment]
        fetch = asyncio.create_task(consumer._fetch_and_hand_on({SOURCE}))
        await asyncio.sleep(0)
        consumer.stop_flow()
        await consumer.wait_for_stopped_flow()
        order.append("stopped")
        await fetch
        assert order == ["fetched", "stopped"]

    with_consumer(tmp_path, body)


def test_a_poll_must_begin_at_the_next_offset_to_apply(tmp_path: Path) -> None:
    async def body(app: WorkerApp, consumer: BatchConsumer) -> None:
        consumer._thread = Thread(Fetched([], {}))  # type: ignore[assignment]
        await consumer.perform_seek()
        consumer.take(Poll(1, [slice_of(SOURCE, 10, b"a")]))
        consumer.mark_applied(Poll(1, [slice_of(SOURCE, 10, b"a")]))
        for start in (10, 12):
            with pytest.raises(CustodyError, match=rf"read from offset {start}, expected 11"):
                consumer.take(Poll(1, [slice_of(SOURCE, start, b"a")]))

    with_consumer(tmp_path, body)


def test_polls_are_marked_in_the_order_in_which_they_were_taken(tmp_path: Path) -> None:
    async def body(app: WorkerApp, consumer: BatchConsumer) -> None:
        consumer._thread = Thread(Fetched([], {}))  # type: ignore[assignment]
        await consumer.perform_seek()
        first, second = Poll(1, [slice_of(SOURCE, 10, b"a")]), Poll(1, [slice_of(SOURCE, 11, b"b")])
        consumer.take(first)
        consumer.take(second)
        with pytest.raises(CustodyError, match="read from offset 11, expected 10"):
            consumer.mark_applied(second)
        consumer.mark_applied(first)
        consumer.mark_applied(second)
        assert consumer.applied == {SOURCE: 12}

    with_consumer(tmp_path, body)


@pytest.mark.parametrize("held", ["step_lock", "delivery_lock"])
def test_a_rebalance_waits_for_the_poll_that_is_computed_and_for_the_one_that_is_delivered(
    tmp_path: Path, held: str
) -> None:
    async def body(app: WorkerApp, consumer: BatchConsumer) -> None:
        epoch = consumer.epoch
        async with getattr(consumer, held):
            quiet = asyncio.create_task(consumer.quiesce())
            await asyncio.sleep(0.05)
            assert (quiet.done(), consumer.epoch) == (False, epoch)
        await quiet
        assert consumer.epoch == epoch + 1

    with_consumer(tmp_path, body)


def test_only_applied_offsets_are_committed(tmp_path: Path) -> None:
    async def body(app: WorkerApp, consumer: BatchConsumer) -> None:
        consumer._thread = Thread(Fetched([], {}))  # type: ignore[assignment]
        await consumer.perform_seek()
        app.polls.put_nowait(Poll(1, [slice_of(SOURCE, 10, b"a", b"b")]))
        assert consumer._filter_committable_offsets([SOURCE]) == {}
        consumer.mark_applied(app.polls.get_nowait())
        assert consumer._filter_committable_offsets([SOURCE]) == {SOURCE: 12}

    with_consumer(tmp_path, body)


def test_a_new_epoch_voids_the_polls_before_it(tmp_path: Path) -> None:
    async def body(app: WorkerApp, consumer: BatchConsumer) -> None:
        consumer._thread = Thread(Fetched([slice_of(SOURCE, 10, b"a")], {}))  # type: ignore[assignment]
        await consumer._fetch_and_hand_on({SOURCE})
        await consumer.perform_seek()
        assert app.polls.get_nowait().epoch != consumer.epoch

    with_consumer(tmp_path, body)


def row(number: int) -> bytes:
    return encode(EMPTY._replace(events=number))


def recovering(app: WorkerApp) -> Any:
    recovery: Any = app.tables.recovery
    recovery.add_active(app.support_sets, LOG)
    recovery._set_recovery_started()
    recovery.active_offsets[LOG] = -1
    return recovery


def test_recovery_applies_every_record_of_a_fetch_the_last_one_too(tmp_path: Path) -> None:
    async def body(app: WorkerApp, consumer: BatchConsumer) -> None:
        recovery = recovering(app)
        recovery.apply([slice_of(LOG, 0, row(1), row(2), row(3))], {(LOG.topic, 0): 5})
        assert app.support_sets.data.read(0, b"u") == row(3)
        assert recovery.need_recovery()
        recovery.apply([slice_of(LOG, 3, row(4), row(5))], {(LOG.topic, 0): 5})
        assert app.support_sets.data.read(0, b"u") == row(5)
        assert not recovery.in_recovery

    with_consumer(tmp_path, body)


def test_recovery_waits_for_the_end_that_fetch_answers_report(tmp_path: Path) -> None:
    async def body(app: WorkerApp, consumer: BatchConsumer) -> None:
        recovery = recovering(app)
        assert recovery.need_recovery()  # nothing answered yet, whatever ListOffsets said
        recovery.apply([], {(LOG.topic, 0): 0})
        assert not recovery.in_recovery

    with_consumer(tmp_path, body)


def test_recovery_ends_behind_a_trailing_transaction_marker(tmp_path: Path) -> None:
    async def body(app: WorkerApp, consumer: BatchConsumer) -> None:
        recovery = recovering(app)
        records = slice_of(LOG, 0, row(1))
        recovery.apply([records._replace(end=2)], {(LOG.topic, 0): 2})
        assert not recovery.in_recovery

    with_consumer(tmp_path, body)


def test_a_changelog_that_ends_before_the_local_state_is_refused(tmp_path: Path) -> None:
    async def body(app: WorkerApp, consumer: BatchConsumer) -> None:
        app.support_sets.data.write(LOG, [(b"u", b"1")], 9)
        recovery = recovering(app)
        with pytest.raises(ShortChangelogError, match="delete the data directory"):
            recovery.apply([], {(LOG.topic, 0): 3})
        recovery.active_offsets[LOG] = 9  # from where it is read; behind the end aiokafka starts at the beginning
        for part in (slice_of(LOG, 9)._replace(end=0), slice_of(LOG, 0, row(1))):
            with pytest.raises(ShortChangelogError, match="the local state holds offset 9"):
                recovery.apply([part], {})
        assert app.support_sets.data.read(0, b"u") == b"1"

    with_consumer(tmp_path, body)


@pytest.mark.parametrize(("damaged", "said"), [(b"\x63" + row(2)[1:], "newer build"), (row(2)[:-1], "is damaged")])
def test_a_changelog_row_that_cannot_be_read_is_refused_naming_hash_and_offset(
    tmp_path: Path, damaged: bytes, said: str
) -> None:
    async def body(app: WorkerApp, consumer: BatchConsumer) -> None:
        recovery = recovering(app)
        with pytest.raises(StateError, match=rf"{LOG.topic} 0 at offset 8: .*sha256:[0-9a-f]{{16}}.*{said}"):
            recovery.apply([slice_of(LOG, 7, row(1), damaged)], {(LOG.topic, 0): 9})
        assert app.support_sets.data.read(0, b"u") is None

    with_consumer(tmp_path, body)


def test_before_a_poll_is_published_the_broker_is_asked_unless_a_commit_has_just_succeeded(tmp_path: Path) -> None:
    async def body(app: WorkerApp, consumer: Any) -> None:
        thread = consumer._thread = Thread(Fetched([], {}))
        one = Poll(consumer.epoch, [slice_of(SOURCE, 10, b"{}")])
        assert await consumer.holds(one)
        assert await consumer.holds(one)
        assert thread.confirmed == [{SOURCE: 10}]
        consumer._confirmed -= app.conf.broker_session_timeout  # a standstill
        thread.is_member = False
        assert not await consumer.holds(one)
        assert one.epoch != consumer.epoch  # what waits behind it is void too
        with pytest.raises(CustodyError):  # and what is fetched now, behind a poll that was not applied
            consumer.take(Poll(consumer.epoch, [slice_of(SOURCE, 11, b"{}")]))

    with_consumer(tmp_path, body)
