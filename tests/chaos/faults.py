"""The faults: drawn from a seed beforehand, then done one after the other, each a generator that yields meanwhile."""

import os
import random
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple

from deployment import Deployment
from faults.proxy import Api, FaultProxy

from stream.broker import Broker

KINDS = (
    "kill",
    "kill two",
    "terminate",
    "terminate twice",
    "freeze",
    "join",
    "leave",
    "slow answers",
    "cut connections",
    "broker paused",
    "data directory deleted",
)
WORKERS = 3
VICTIMS = (1, 2)
"""Worker 0 gets no signal, so that its memory can be followed; rebalances, connections and broker trouble it has."""
GUEST = 3
"""The worker that joins and leaves."""


class Fault(NamedTuple):
    """What is done to whom, and for how long where it lasts."""

    kind: str
    victim: int
    api: Api
    seconds: float


def schedule(rng: random.Random, count: int) -> list[Fault]:
    """So many faults; each kind comes once before any comes again."""
    kinds: list[str] = []
    while len(kinds) < count:
        kinds += rng.sample(KINDS, len(KINDS))
    return [Fault(kind, rng.choice(VICTIMS), rng.choice(list(Api)), rng.uniform(5, 20)) for kind in kinds[:count]]


@dataclass
class Scene:
    """Everything that a fault can be done to. `absent` are workers that the supervisor leaves alone."""

    broker: Broker
    proxy: FaultProxy
    deployment: Deployment
    absent: set[int] = field(default_factory=set)


def perform(fault: Fault, scene: Scene) -> Iterator[None]:
    """Do it; yields for as long as it lasts. Whoever ended is started again by the supervisor, not here."""
    deployment, victim = scene.deployment, fault.victim
    match fault.kind:
        case "kill":
            deployment.kill_worker(victim)
        case "kill two":
            for number in VICTIMS:
                deployment.kill_worker(number)
        case "terminate" | "terminate twice":
            for _ in range(2 if fault.kind == "terminate twice" else 1):
                deployment.signal_worker(victim, signal.SIGTERM)
        case "freeze":
            deployment.signal_worker(victim, signal.SIGSTOP)
            yield from _wait(fault.seconds)
            deployment.signal_worker(victim, signal.SIGCONT)
        case "join":
            scene.absent.discard(GUEST)
            deployment.start_worker(GUEST)
            yield from _wait(fault.seconds)
            scene.absent.add(GUEST)
            deployment.signal_worker(GUEST, signal.SIGTERM)
        case "leave":
            scene.absent.add(victim)
            deployment.signal_worker(victim, signal.SIGTERM)
            yield from _wait(fault.seconds)
            scene.absent.discard(victim)
        case "data directory deleted":
            deployment.kill_worker(victim)
            shutil.rmtree(deployment.folder / f"state-{victim}", ignore_errors=True)
        case _:
            yield from _around_the_broker(fault, scene)


def _around_the_broker(fault: Fault, scene: Scene) -> Iterator[None]:
    match fault.kind:
        case "slow answers":
            scene.proxy.delays[fault.api] = (0.1, 1.0)
            yield from _wait(fault.seconds)
            scene.proxy.delays.clear()
        case "cut connections":
            for _ in range(5):
                scene.proxy.cuts[fault.api] += 1
                yield from _wait(1.0)
            scene.proxy.cuts.clear()
        case "broker paused":
            assert scene.broker.pid is not None
            os.killpg(scene.broker.pid, signal.SIGSTOP)
            try:
                yield from _wait(fault.seconds)
            finally:
                os.killpg(scene.broker.pid, signal.SIGCONT)


def _wait(seconds: float) -> Iterator[None]:
    until = monotonic() + seconds
    while monotonic() < until:
        yield
