"""The two ends of an open loop, on a real broker: events go out when due, and lists are noted as they come."""

import asyncio
from pathlib import Path
from time import monotonic, sleep

import orjson
import pytest
from tiny_bundle import write_tiny_bundle

from schemas.errors import BrokerError
from stream.bench import latency
from stream.bench.courses import PARTITIONS, endless_load, lay_out, settings_for
from stream.bench.figures import Rung, Variant
from stream.bench.open_loop import Position, Reader, offer, waits
from stream.bench.report import SHARED
from stream.bench.runs import running
from stream.bench.served import describe
from stream.broker import Broker
from stream.clients.connect import open_admin
from stream.clients.event_file import FileEvent
from stream.clients.outbox import open_outbox
from stream.settings import Settings

COUNT, RATE = 60, 300


@pytest.fixture
def settings(broker: Broker, prefix: str) -> Settings:
    """With two empty topics, `in` and `lists` behind the prefix."""
    found = Settings.load(kafka={"bootstrap_servers": broker.bootstrap_servers, "topic_prefix": prefix})
    wanted = {"num_partitions": PARTITIONS, "replication_factor": 1}
    with open_admin(found.kafka) as admin:
        admin.create_topics({f"{prefix}{name}": wanted for name in ("in", "lists")}, wait_for_metadata=True)
    return found


def test_each_event_is_due_in_its_time_and_its_list_is_noted_when_it_comes(settings: Settings, prefix: str) -> None:
    events = [FileEvent(f"user-{number % 7}", None, b"event") for number in range(COUNT)]

    async def drive() -> list[tuple[Position, float]]:
        async with (
            open_outbox(settings.kafka, f"{prefix}in", partitions=PARTITIONS) as outbox,
            open_outbox(settings.kafka, f"{prefix}lists", partitions=PARTITIONS) as lists,
        ):
            sent = await offer(outbox, events, rate=RATE)
            # Here nobody answers but us.
            source = [{"partition": at.partition, "offset": at.offset} for at, _ in sent]
            answers = [
                FileEvent(at.user, None, orjson.dumps({"user_id": at.user, "source": one}))
                for (at, _), one in zip(sent, source, strict=True)
            ]
            await lists.send(answers)
            return sent

    with Reader(settings.kafka, f"{prefix}lists", partitions=PARTITIONS) as reader:
        sent = asyncio.run(drive())
        deadline = monotonic() + 30
        while len(reader.arrivals()) < COUNT:
            reader.check()
            assert monotonic() < deadline
            sleep(0.05)
        assert reader.cpu_seconds() > 0
        found = waits(sent, reader.arrivals())
    assert [at.user for at, _ in sent] == [event.user_id for event in events]
    assert sent[-1][1] - sent[0][1] == pytest.approx((COUNT - 1) / RATE)
    for partition in range(PARTITIONS):
        offsets = [at.offset for at, _ in sent if at.partition == partition]
        assert offsets == [*range(len(offsets))]
    # All were answered once the last one had been sent.
    assert all(wait is not None and wait > sent[-1][1] - due for wait, (_, due) in zip(found, sent, strict=True))


def test_a_reader_that_finds_no_broker_says_so() -> None:
    with Reader(Settings.load(kafka={"bootstrap_servers": "127.0.0.1:1"}).kafka, "lists", partitions=1) as reader:
        deadline = monotonic() + 30
        with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1"):
            while monotonic() < deadline:
                reader.check()
                sleep(0.05)


def test_a_worker_is_driven_up_the_ladder(
    broker: Broker, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "SETTLE_S", 0.0)
    monkeypatch.setattr(latency, "WARM_UP", (100, 0.2))
    monkeypatch.setattr(latency, "RUNG_S", 0.5)
    monkeypatch.setattr(latency, "next_rate", lambda rungs: None if rungs else 200)
    write_tiny_bundle(tmp_path / "models")
    settings = settings_for(broker.bootstrap_servers, prefix, model_store=str(tmp_path / "models"), model="default")
    served = describe(settings.model.store, settings.model.name, home=tmp_path)
    course = lay_out(settings, served, tmp_path, events=0)
    events, told = endless_load(course, served, users=20), list[Rung]()
    with running(course, Variant.FEWSTEP) as child:
        (rung,) = asyncio.run(
            latency.find_sustained(child, settings.kafka, events, broker_pid=broker.pid, show=told.append)
        )
        (timed,) = asyncio.run(
            latency.measure_latency(child, settings.kafka, events, phases={100: 0.3}, number=0, broker_pid=broker.pid)
        )
    assert told == [rung]
    assert (rung.rate, rung.events) == (200, 100)
    assert min(rung.first_ms, rung.last_ms) > 0
    assert (timed.rate, timed.events, timed.unanswered) == (100, 30, 0)
    assert 0 < timed.p50_ms <= timed.p99_ms
    assert set(timed.cpu_s) == set(SHARED)
    assert min(timed.cpu_s.values()) > 0
