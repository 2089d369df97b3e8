"""A deployment for tests: topics of its own, a tiny bundle, workers as real processes, and what they wrote."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, NamedTuple, Self

import orjson
from tiny_bundle import write_tiny_bundle

from schemas import Role, topic_name
from stream.broker import Broker
from stream.clients.connect import open_consumer
from stream.clients.event_file import FileEvent
from stream.clients.outbox import Position, open_outbox
from stream.clients.provision import create_topics
from stream.core.records import Record
from stream.core.step import Step
from stream.engine.bundle import load_bundle
from stream.settings import DeliveryKind, Settings
from stream.shell.failstop import EXIT_FAILED
from stream.topics import changelog_topic

DEADLINE_S = 120.0


class Written(NamedTuple):
    """The last value of every key of a topic, and how many records there are."""

    last: dict[bytes, bytes | None]
    n_records: int


class Deployment:
    """Topics, bundle and workers under one prefix; ends its processes when left."""

    def __init__(
        self, broker: Broker, prefix: str, folder: Path, *, store: str = "rocksdict", partitions: int = 4,
        n_items: int = 200, delivery: DeliveryKind = "at_least_once", environment: Mapping[str, str] | None = None,
        servers: str | None = None, program: Sequence[str] = ("-m", "stream"),
    ) -> None:  # fmt: skip
        """`servers` is where workers find Kafka, if not at the broker; `program` what Python runs as a worker."""
        self._servers, self._program = servers or broker.bootstrap_servers, program
        self.folder, self.partitions = folder, partitions
        self.settings = Settings.load(
            kafka={"bootstrap_servers": broker.bootstrap_servers, "topic_prefix": prefix, "session_timeout_s": 6.0},
            model={"store": str(folder / "models")},
            worker={"app_id": f"{prefix}app", "delivery": delivery},
            state={"store": store},
        )
        self._environment = dict(environment or {})
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._started: dict[int, float] = {}
        create_topics(self.settings, partitions=partitions, replication_factor=1)
        write_tiny_bundle(folder / "models", n_items=n_items)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers.values():
            worker.kill()
            worker.wait()

    # -- workers

    def start_worker(
        self, number: int = 0, *, delivery: DeliveryKind | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start a worker with a data directory of its own; it keeps the directory when it is started again."""
        kafka = self.settings.kafka
        at = (environment or {}).get("FEWSTEP_KAFKA__BOOTSTRAP_SERVERS", self._servers)
        command = [
            sys.executable, *self._program, "worker", "--bootstrap-servers", at,
            "--topic-prefix", kafka.topic_prefix, "--app-id", self.settings.worker.app_id,
            "--model-store", self.settings.model.store, "--state-store", self.settings.state.store,
            "--data-dir", str(self.folder / f"state-{number}"),
            "--delivery", delivery or self.settings.worker.delivery,
        ]  # fmt: skip
        self._started[number] = monotonic()
        with self.log(number).open("ab") as log:
            self._workers[number] = subprocess.Popen(
                command,
                env={
                    "PATH": "/usr/bin:/bin",
                    "FEWSTEP_KAFKA__SESSION_TIMEOUT_S": "6",
                    **self._environment,
                    **(environment or {}),
                },
                stdout=log,
                stderr=log,
            )

    def log(self, number: int = 0) -> Path:
        """What worker `number` wrote to stdout and stderr."""
        return self.folder / f"worker-{number}.log"

    def kill_worker(self, number: int = 0) -> None:
        """SIGKILL."""
        self._workers[number].kill()
        self._workers[number].wait()

    def stop_worker(self, number: int = 0) -> int:
        """SIGTERM; gives the exit code. It is not revived."""
        worker = self._workers.pop(number)
        worker.send_signal(signal.SIGTERM)
        return worker.wait(DEADLINE_S)

    def wait_for_exit(self, number: int = 0) -> int:
        """Wait until a worker has ended by itself; gives the exit code. It is not revived."""
        return self._workers.pop(number).wait(DEADLINE_S)

    def signal_worker(self, number: int, what: signal.Signals) -> None:
        """Any signal, such as SIGSTOP and SIGCONT; a worker that has ended gets none."""
        self._workers[number].send_signal(what)

    def pid(self, number: int = 0) -> int:
        """Process id of a worker."""
        return self._workers[number].pid

    def age(self, number: int = 0) -> float:
        """Seconds since this worker was last started."""
        return monotonic() - self._started[number]

    def numbers(self) -> list[int]:
        """Of all workers that were started and not stopped for good."""
        return sorted(self._workers)

    def ended(self) -> dict[int, int]:
        """Exit codes of the workers that have ended, by number."""
        return {number: code for number, worker in self._workers.items() if (code := worker.poll()) is not None}

    def revive(self) -> None:
        """Do what a supervisor does: start again whoever ended with exit code 70. Fails on any other end."""
        for number, worker in list(self._workers.items()):
            code = worker.poll()
            if code == EXIT_FAILED:
                self.start_worker(number)
            elif code is not None:
                raise AssertionError(f"worker {number} ended with {code}: {self.log(number).read_text()[-2000:]}")

    # -- traffic

    def topic(self, role: Role) -> str:
        """The topic of a role."""
        return topic_name(role, self.settings.kafka.topic_prefix)

    def send(self, events: Sequence[FileEvent], role: Role = Role.INTERACTIONS) -> list[Position]:
        """Send keyed by user, in order, acknowledged."""

        async def sent() -> list[Position]:
            async with open_outbox(self.settings.kafka, self.topic(role), partitions=self.partitions) as outbox:
                return await outbox.send(events)

        return asyncio.run(sent())

    def records(self, topic: str) -> list[Any]:
        """All records that the topic holds now."""
        found: list[Any] = []
        deadline = monotonic() + DEADLINE_S
        with open_consumer(self.settings.kafka, topic, from_beginning=True) as consumer:
            while not all(_is_read(consumer, partition) for partition in consumer.assignment()):
                assert monotonic() < deadline, f"{topic} was not read within {DEADLINE_S:.0f} s"
                for batch in consumer.poll(timeout_ms=200).values():
                    found += batch
        return found

    def changelog(self) -> Written:
        """Rows of the support sets."""
        return self._written(changelog_topic(self.settings.worker.app_id))

    def lists(self) -> Written:
        """Published lists."""
        return self._written(self.topic(Role.RECOMMENDATIONS))

    def _written(self, topic: str) -> Written:
        found = self.records(topic)
        return Written({record.key: record.value for record in found}, len(found))

    def wait_for_lists(self, newest: Mapping[str, int], role: Role = Role.INTERACTIONS) -> dict[str, dict[str, Any]]:
        """Wait until each user has a list that includes the input record at this offset; gives the last lists."""
        topic, waiting = self.topic(role), dict(newest)
        lists: dict[str, dict[str, Any]] = {}
        deadline = monotonic() + DEADLINE_S
        with open_consumer(self.settings.kafka, self.topic(Role.RECOMMENDATIONS), from_beginning=True) as consumer:
            while waiting and monotonic() < deadline:
                self.revive()
                for batch in consumer.poll(timeout_ms=200).values():
                    for record in batch:
                        if record.value is None:
                            continue
                        found = orjson.loads(record.value)
                        user, source = found["user_id"], found["source"]
                        lists[user] = found
                        if source["topic"] == topic and source["offset"] >= waiting.get(user, 1 << 62):
                            del waiting[user]
        assert not waiting, f"{len(waiting)} users without a current list after {DEADLINE_S:.0f} s"
        return lists

    def wait_for_log(self, text: str, number: int = 0, *, count: int = 1) -> None:
        """Wait until a worker's log holds the text so many times."""
        deadline = monotonic() + DEADLINE_S
        while self.log(number).read_text().count(text) < count:
            assert monotonic() < deadline, f"no {text!r} in {self.log(number).read_text()[-2000:]}"
            sleep(0.05)

    # -- the truth

    def interactions(self) -> list[Record]:
        """The records of the interactions topic as a step takes them."""
        return [
            Record(Role.INTERACTIONS, r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)
            for r in self.records(self.topic(Role.INTERACTIONS))
        ]

    def undisturbed(self) -> tuple[dict[bytes, bytes | None], dict[bytes, bytes | None]]:
        """Rows and lists of one pass over the interactions, in this process, without a broker in between."""
        step = Step(load_bundle(self.settings.model.store, self.settings.model.name), self.settings)
        rows: dict[tuple[int, bytes], bytes | None] = {}
        lists: dict[bytes, bytes | None] = {}

        def read_row(partition: int, key: bytes) -> bytes | None:
            return rows.get((partition, key))

        inputs = self.interactions()
        for start in range(0, len(inputs), 777):  # a size that no poll has: batches must not matter
            outcome = step(inputs[start : start + 777], read_row, clock_ms=0)
            rows |= {(row.partition, row.key or b""): row.value for row in outcome.rows}
            lists |= {message.key or b"": message.value for message in outcome.recommendations}
        return {key: value for (_, key), value in rows.items()}, lists


def _is_read(consumer: Any, partition: Any) -> bool:
    end = consumer.highwater(partition)
    return end is not None and consumer.position(partition) >= end


def without_clock(value: bytes | None) -> dict[str, Any]:
    """A list but for the time at which it was made."""
    found: dict[str, Any] = orjson.loads(value or b"null")
    return {name: field for name, field in found.items() if name != "generated_at"}
