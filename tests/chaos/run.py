"""One run: load, faults, new bundles and a supervisor side by side, then the verdict."""

import random
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import orjson
from deployment import DEADLINE_S, Deployment
from faults.proxy import FaultProxy
from tiny_bundle import write_manifest, write_tiny_bundle

from chaos.faults import GUEST, WORKERS, Fault, Scene, perform, schedule
from chaos.gauges import Gauges, Trend
from chaos.load import N_ITEMS, N_USERS, START_MS, Load, Traffic
from chaos.verdict import faults_of, judge
from schemas import ModelAnnouncement, Role
from stream.broker import open_broker
from stream.clients.connect import open_admin, open_consumer, open_producer
from stream.clients.event_file import FileEvent
from stream.settings import DeliveryKind, StoreKind

FAULT_EVERY_S = 20.0
BUNDLE_EVERY_S = 60.0
ALONE_S = 90.0
"""For so long worker 0 serves everything, before the others come, and takes over bundles at a fast pace: what all
partitions and many bundles cost it is spent in its warm-up, whenever the faults leave it alone again."""
SETTLING_BUNDLE_EVERY_S = 5.0
TOO_EARLY = "-15 at its start"
STARTS_WITHIN_S = 5.0
"""A SIGTERM that comes so early may find a Python that has not begun with the worker yet."""
EXPECTED_EXITS = {"0", "70", "-9", TOO_EARLY}
"""After SIGTERM, a failure that a restart cures, SIGKILL, and SIGTERM before there is anything to end."""
MOST_MIB_PER_MINUTE = 0.5
"""What a slope may be beyond its interval: a heap that is used settles for longer than a warm-up."""
MOST_HANDLES_PER_MINUTE = 0.5


@dataclass(frozen=True)
class Plan:
    """What a run is like."""

    minutes: float
    seed: int
    rate: int
    delivery: DeliveryKind
    store: StoreKind
    folder: Path


def run(plan: Plan) -> dict[str, Any]:
    """Run it; gives what the report says. Raises BrokerError without Apache Kafka."""
    rng = random.Random(plan.seed)
    faults = schedule(rng, int(plan.minutes * 60 // FAULT_EVERY_S) - 1)
    traffic = Traffic(random.Random(rng.random()))
    with ExitStack() as stack:
        broker = stack.enter_context(open_broker("kafka"))
        proxy = stack.enter_context(FaultProxy(broker.bootstrap_servers, seed=plan.seed))
        deployment = stack.enter_context(
            Deployment(
                broker, "chaos-", plan.folder, store=plan.store, delivery=plan.delivery, n_items=N_ITEMS,
                servers=proxy.bootstrap_servers, environment={"FEWSTEP_MODEL__POLL_INTERVAL_S": "5"},
            )
        )  # fmt: skip
        soak = Soak(Scene(broker, proxy, deployment), faults)
        load = Load(traffic, deployment.settings.kafka, rate=plan.rate)
        deployment.start_worker(0)
        load.start()
        soak.stay(ALONE_S)
        for number in range(1, WORKERS):
            deployment.start_worker(number)
        soak.go_on(plan.minutes * 60)
        load.end()
        soak.gauges.write(plan.folder / "samples.csv")
        words = soak.settle()
        verdict = judge(deployment, words, newest=soak.version, seed=plan.seed) | {"delivery": plan.delivery}
        trends, peaks = soak.gauges.trends(), soak.gauges.peaks()
        return {
            "seed": plan.seed, "minutes": plan.minutes, "broker": broker.name, "delivery": plan.delivery,
            "store": plan.store, "sent": dict(traffic.counts), "schedule": [one._asdict() for one in faults],
            "faults": dict(soak.done), "exits": dict(soak.exits), "bundles": soak.n_bundles, "verdict": verdict,
            "trends": [one._asdict() for one in trends], "peaks": [one._asdict() for one in peaks],
            "wrong": faults_of(verdict) + soak.wrong_exits() + growing(trends),
        }  # fmt: skip


class Soak:
    """Does faults and publishes bundles when they are due, and restarts at once whoever has ended."""

    def __init__(self, scene: Scene, faults: list[Fault]) -> None:
        self._scene, self._left = scene, list(faults)
        self._current: Iterator[None] = iter(())
        self.gauges = Gauges()
        self.done: Counter[str] = Counter()
        self.exits: Counter[str] = Counter()
        self.n_bundles = 0
        self.version = "v1"

    def stay(self, seconds: float) -> None:
        """Return after this time; there are no faults, and many bundles."""
        until, bundle_due = monotonic() + seconds, monotonic() + SETTLING_BUNDLE_EVERY_S
        while monotonic() < until:
            self._tick()
            if monotonic() > bundle_due:
                self._publish_bundle()
                bundle_due += SETTLING_BUNDLE_EVERY_S

    def go_on(self, seconds: float) -> None:
        """Return after this time, and after the last fault has ended."""
        begin = monotonic()
        fault_due, bundle_due = begin + FAULT_EVERY_S, begin + BUNDLE_EVERY_S / 2
        while monotonic() < begin + seconds:
            if self._tick() and monotonic() > bundle_due:
                self._publish_bundle()
                bundle_due += BUNDLE_EVERY_S
            if self._left and monotonic() > fault_due:
                fault = self._left.pop(0)
                self.done[fault.kind] += 1
                print(f"{monotonic() - begin:5.0f} s  {fault.kind} (worker {fault.victim}, {fault.api.name})")  # noqa: T201
                self._current = perform(fault, self._scene)
                fault_due += FAULT_EVERY_S
        while not self._tick():
            pass

    def _tick(self) -> bool:
        """Move on what is under way; True if no fault is."""
        sleep(0.1)
        self._supervise()
        deployment = self._scene.deployment
        self.gauges.look({number: deployment.pid(number) for number in deployment.numbers()})
        return next(self._current, False) is False

    def _supervise(self) -> None:
        deployment = self._scene.deployment
        for number, code in deployment.ended().items():
            if number not in self._scene.absent:
                early = code == -signal.SIGTERM and deployment.age(number) < STARTS_WITHIN_S
                self.exits[TOO_EARLY if early else str(code)] += 1
                deployment.start_worker(number)

    def wrong_exits(self) -> list[str]:
        """Exit codes that nothing that was done explains."""
        return [f"exit {code}" for code in self.exits if code not in EXPECTED_EXITS]

    def _publish_bundle(self) -> None:
        """A bundle, its pointer and its announcement, as `fewstep refresh` leaves them."""
        self.n_bundles += 1
        deployment, self.version = self._scene.deployment, f"v{self.n_bundles + 1}"
        store, now = deployment.folder / "models", datetime(2026, 2, 1, tzinfo=UTC) + timedelta(minutes=self.n_bundles)
        made = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        manifest = write_tiny_bundle(
            store, version=self.version, n_items=N_ITEMS, seed=self.n_bundles, created_at=made, latest=False
        )
        write_manifest(store, manifest)
        digest = sha256((store / "default" / self.version / "manifest.json").read_bytes()).hexdigest()
        announcement = ModelAnnouncement(
            model="default", version=self.version, digest=digest, url=f"default/{self.version}", published_at=made,
            action="publish",
        )  # fmt: skip
        with open_producer(deployment.settings.kafka) as producer:
            value = announcement.model_dump_json().encode()
            producer.send(deployment.topic(Role.MODELS), key=b"default", value=value).get(timeout=30)

    def settle(self) -> dict[str, tuple[int, int]]:
        """Let the guest go, wait until everything is applied; gives the position of the last event of every user."""
        deployment = self._scene.deployment
        if GUEST in deployment.numbers():
            deployment.stop_worker(GUEST)
        for number in range(WORKERS):
            deployment.wait_for_log(f" {self.version} ", number)
        value = {"item_id": "i1", "event_type": "view", "timestamp": START_MS + 10**10}
        words = [FileEvent(f"u{user}", None, orjson.dumps(value)) for user in range(N_USERS)]
        # The last word has to be the last: a request or a profile that waits in another topic would have it else.
        self._wait_until_applied()
        positions = deployment.send(words)
        self._wait_until_applied()
        return {word.user_id: (at.partition, at.offset) for word, at in zip(words, positions, strict=True)}

    def _wait_until_applied(self) -> None:
        """Wait until the offsets of all input topics are committed to their ends."""
        deployment, deadline = self._scene.deployment, monotonic() + DEADLINE_S
        kafka, group = deployment.settings.kafka, deployment.settings.worker.app_id
        topic = deployment.topic(Role.INTERACTIONS)
        with open_admin(kafka) as admin, open_consumer(kafka, topic, from_beginning=True) as consumer:
            while True:
                kept = {at: one.offset for at, one in admin.list_group_offsets({group: None})[group].items()}
                if kept and consumer.end_offsets(list(kept)) == kept:
                    return
                deployment.revive()
                assert monotonic() < deadline, f"not all is applied after {DEADLINE_S:.0f} s"
                sleep(0.5)


def growing(trends: Iterable[Trend]) -> list[str]:
    """Workers whose memory or handles went on growing after their warm-up."""
    return [
        f"worker {one.worker} grows"
        for one in trends
        if one.rss.per_minute - one.rss.margin > MOST_MIB_PER_MINUTE
        or one.handle.per_minute - one.handle.margin > MOST_HANDLES_PER_MINUTE
    ]
