"""Transactions on a real broker: what is committed together, what a fenced worker cannot do, and who is refused."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from faust.types import TP

from schemas import KafkaSettings, Role
from schemas.errors import BrokerError
from stream.broker import Broker
from stream.clients.connect import open_admin, open_consumer
from stream.core.records import Message, Outcome
from stream.shell import transactions
from stream.shell.agent import Progress, Topics
from stream.shell.delivery import LocalRows
from stream.shell.polls import Poll, Slice
from stream.shell.preflight import require_transactions
from stream.shell.transactions import COMMIT_MARKERS, ExactlyOnce, by_number, new_producer


class Rows:
    """Stands for the local store."""

    def __init__(self) -> None:
        self.held: dict[bytes, bytes | None] = {}
        self.offset: int | None = None

    def persisted_offset(self, tp: TP) -> int | None:
        return self.offset

    def write(self, tp: TP, rows: Any, last_offset: int | None) -> None:
        self.held.update(rows)
        self.offset = self.offset if last_offset is None else last_offset


@pytest.fixture
def settings(broker: Broker, prefix: str) -> KafkaSettings:
    if not broker.name.startswith("Apache Kafka"):
        pytest.skip("the embedded broker has no transactions for aiokafka")
    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers, topic_prefix=prefix)
    with open_admin(kafka) as admin:
        wanted = {"num_partitions": 2, "replication_factor": 1}
        admin.create_topics(
            {f"{prefix}{name}": wanted for name in ("in", "log", "out", "dead")}, wait_for_metadata=True
        )
    return kafka


def made(kafka: KafkaSettings, rows: Rows) -> ExactlyOnce:
    names = {name: f"{kafka.topic_prefix}{name}" for name in ("in", "log", "out", "dead")}
    topics = Topics({names["in"]: Role.INTERACTIONS}, names["log"], names["out"], names["dead"], 2)
    return ExactlyOnce(
        partial(new_producer, kafka, max_request_bytes=1_000_000),
        topics,
        LocalRows(rows, Progress(), markers=COMMIT_MARKERS),  # type: ignore[arg-type]
        app_id=f"{kafka.topic_prefix}app",
        topic_note="an-id",
        timeout_s=20,
    )


def poll(kafka: KafkaSettings, start: int, end: int) -> Poll:
    return Poll(1, [Slice(f"{kafka.topic_prefix}in", 0, start, end, [])])


def outcome(value: bytes) -> Outcome:
    return Outcome(rows=[Message(0, b"u", value)], recommendations=[Message(0, b"u", value)])


def published(kafka: KafkaSettings, topic: str) -> list[bytes]:
    found: list[bytes] = []
    with open_consumer(kafka, f"{kafka.topic_prefix}{topic}", from_beginning=True) as consumer:
        while any(
            consumer.highwater(tp) is None or consumer.position(tp) < consumer.highwater(tp)
            for tp in consumer.assignment()
        ):
            for batch in consumer.poll(timeout_ms=200).values():
                found += [record.value for record in batch]
    return found


def committed(kafka: KafkaSettings) -> tuple[int, str]:
    group = f"{kafka.topic_prefix}app"
    with open_admin(kafka) as admin:
        offsets = admin.list_group_offsets({group: None})[group]
        found = next(iter(offsets.values()))
        return found.offset, found.metadata


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(body())


def test_lists_rows_and_offsets_are_committed_together_and_the_store_follows(settings: KafkaSettings) -> None:
    rows = Rows()

    async def body() -> None:
        delivery = made(settings, rows)
        await delivery.begin({0, 1})
        await delivery.deliver(poll(settings, 0, 5), outcome(b"1"))
        await delivery.deliver(poll(settings, 5, 9), outcome(b"2"))
        await delivery.end()

    run(body)
    assert (published(settings, "out"), published(settings, "log"), committed(settings)) == ([b"1", b"2"],) * 2 + (
        (9, "an-id"),
    )
    assert rows.held == {b"u": b"2"}
    assert rows.offset == 3  # two rows and two commit markers: nothing is left to recover


@pytest.mark.parametrize("frozen_in", ["idle", "transaction"])
def test_a_worker_whose_partition_was_taken_over_changes_nothing_any_more(
    settings: KafkaSettings, frozen_in: str
) -> None:
    frozen, heir = Rows(), Rows()

    async def body() -> None:
        zombie, successor = made(settings, frozen), made(settings, heir)
        await zombie.begin({0})
        await zombie.deliver(poll(settings, 0, 5), outcome(b"1"))
        producer = zombie._producers[0]
        if frozen_in == "transaction":
            await producer.begin_transaction()
            await producer.send_and_wait(f"{settings.topic_prefix}out", b"half", key=b"u", partition=0)
        await successor.begin({0})
        await successor.deliver(poll(settings, 5, 7), outcome(b"2"))
        with pytest.raises(KafkaError):
            if frozen_in == "transaction":
                await producer.commit_transaction()
            else:
                await zombie.deliver(poll(settings, 5, 9), outcome(b"late"))
        await successor.end()
        await producer.stop()

    run(body)
    assert (published(settings, "out"), committed(settings)) == ([b"1", b"2"], (7, "an-id"))
    assert (frozen.held, heir.held) == ({b"u": b"1"}, {b"u": b"2"})


def test_a_poll_without_outcome_still_moves_the_offset_on(settings: KafkaSettings) -> None:
    async def body() -> None:
        delivery = made(settings, Rows())
        await delivery.begin({0})
        await delivery.deliver(poll(settings, 0, 4), Outcome())
        await delivery.end()

    run(body)
    assert committed(settings)[0] == 4


def test_the_group_is_part_of_a_transaction_before_anything_is_produced(monkeypatch: pytest.MonkeyPatch) -> None:
    # The other way round Kafka refuses some of what is produced for a moment, and aiokafka waits before it tries again.
    trace: list[str] = []

    class Producer:
        async def start(self) -> None:
            trace.append("start")

        def __getattr__(self, name: str) -> Any:
            async def called(*_: Any) -> None:
                await asyncio.sleep(0)
                trace.append(name)

            return called

    async def publish(producer: Any, messages: dict[Any, Any]) -> dict[Any, int]:
        trace.append("publish")
        return dict.fromkeys(messages, 0)

    monkeypatch.setattr(transactions, "publish", publish)
    kafka = KafkaSettings(topic_prefix="t-")

    async def body() -> None:
        delivery = made(kafka, Rows())
        delivery._new_producer = lambda identity: Producer()
        await delivery.begin({0})
        await delivery.deliver(poll(kafka, 0, 5), outcome(b"1"))

    run(body)
    assert trace == ["start", "begin_transaction", "send_offsets_to_transaction", "publish", "commit_transaction"]


def test_an_outcome_is_shared_out_by_the_partition_that_each_part_came_from() -> None:
    whole = Outcome(
        rows=[Message(1, b"a", b"1"), Message(0, b"b", b"2")],
        recommendations=[Message(1, b"a", b"3")],
        dead_letters=[Message(2, None, b"4"), Message(1, None, b"5")],
    )
    assert by_number(whole) == {
        0: Outcome(rows=[Message(0, b"b", b"2")]),
        1: Outcome([Message(1, b"a", b"1")], [Message(1, b"a", b"3")], [Message(1, None, b"5")]),
        2: Outcome(dead_letters=[Message(2, None, b"4")]),
    }


def test_a_broker_without_transactions_is_refused_in_one_line(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers)
    if broker.name.startswith("Apache Kafka"):
        require_transactions(kafka, app_id="any")
    else:
        with pytest.raises(BrokerError, match=r"has no transactions.*at_least_once"):
            require_transactions(kafka, app_id="any")
        assert caplog.messages == []
