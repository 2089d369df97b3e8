"""One program over the whole topic: started, watched from outside, ended, and what it wrote read back.

The clock is the same for all: from the moment the first event is taken in hand to the moment the last list is handed
to the producer, both on the program's own wall clock, as its lists tell it (`generated_at`, and the record timestamp).
The two programs that write nothing read that clock themselves. Start-up, joining the group and shutting down count
neither as time nor as CPU.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

from kafka.errors import CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError

from schemas import Role, topic_name
from schemas.errors import FewstepError
from stream.bench.figures import RESEARCH, WORKERS, Run, Variant
from stream.bench.lane import Lane
from stream.bench.outputs import Written, ends, read_written
from stream.bench.process_clock import CpuSamples, peak_mib
from stream.children import end, last_words, launch
from stream.clients.connect import open_admin
from stream.clients.provision import create_topics
from stream.settings import Settings

RESEARCH_EVENTS = 2000
"""(b) and (b2) are so slow that they get a part of the topic only; every program stops when it has done its part."""
STALLED_AFTER_S = 90.0
_LOOK_EVERY_S = 0.25
_NOT_KNOWN_YET = (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError)
"""What a broker answers as long as it does not know a group."""


@dataclass(frozen=True)
class Course:
    """Topics filled with events, and the model: what the programs run on."""

    settings: Settings
    home: Path
    partitions: int
    events: int
    n_items: int
    d: int

    def topic(self, role: Role) -> str:
        """The topic of a role."""
        return topic_name(role, self.settings.kafka.topic_prefix)


@dataclass(frozen=True)
class Child:
    """A program that runs."""

    process: Any
    log: Path
    variant: Variant
    lane: Lane

    def check(self) -> None:
        """Raise FewstepError if it has ended."""
        code = self.process.poll()
        if code is not None:
            raise FewstepError(f"{self.variant} ended with exit code {code}: {last_words(self.log)}")


@contextmanager
def running(course: Course, variant: Variant, *, options: Sequence[str] = ()) -> Iterator[Child]:
    """Start a program with a name of its own, and end it when left; `options` are a worker's.

    Raises BrokerError if Kafka fails.
    """
    settings = course.settings
    app_id = f"{settings.kafka.topic_prefix}{variant}-{uuid4().hex[:8]}"
    folder = course.home / app_id
    folder.mkdir()
    lane = Lane(
        bootstrap_servers=settings.kafka.bootstrap_servers,
        app_id=app_id,
        source=course.topic(Role.INTERACTIONS),
        lists=course.topic(Role.RECOMMENDATIONS),
        partitions=course.partitions,
        n_items=course.n_items,
        d=course.d,
        data_dir=str(folder / "state"),
        figures=str(folder / "figures.json"),
    )
    if variant in WORKERS:
        named = settings.model_copy(update={"worker": settings.worker.model_copy(update={"app_id": app_id})})
        create_topics(named, partitions=course.partitions, replication_factor=1)
    log = folder / "output.log"
    process = launch(_command(variant, lane, settings, options), log)
    try:
        yield Child(process, log, variant, lane)
    finally:
        end(process)


def measure(course: Course, variant: Variant, *, number: int) -> Run:
    """Run one program over its part of the topic, in round `number`.

    Raises FewstepError if it ends early or stands still, BrokerError if Kafka fails.
    """
    kafka, lists = course.settings.kafka, course.topic(Role.RECOMMENDATIONS)
    wanted = min(course.events, RESEARCH_EVENTS) if variant in RESEARCH else course.events
    since = ends(kafka, lists)
    refused = sum(ends(kafka, course.topic(Role.DEAD_LETTERS)).values())
    with running(course, variant) as child, CpuSamples(child.process.pid) as samples:
        _wait_until_committed(course, child, wanted)
        peak = peak_mib(child.process.pid)
    if sum(ends(kafka, course.topic(Role.DEAD_LETTERS)).values()) != refused:
        raise FewstepError(f"{variant} refused events of the load; choose a --model with known event types")
    if variant in (Variant.FLOOR, Variant.FAUST):
        found, events = _read_stopwatch(child)
    else:
        found = read_written(kafka, lists, since=since)
        events = sum(found.applied.values()) if variant in WORKERS else found.lists
    cpu_s = samples.between(found.began, found.ended)
    return Run(
        variant=variant,
        round=number,
        events=events,
        seconds=max(found.ended - found.began, 1e-6),
        cpu_s=cpu_s,
        peak_mib=peak,
        lists=found.lists,
        list_bytes=found.value_bytes / found.lists if found.lists else 0.0,
        stages=_read_stages(child, cpu_s) if variant in WORKERS else {},
    )


def _read_stopwatch(child: Child) -> tuple[Written, int]:
    """The clock readings of a program that writes no lists, and its events. Raises FewstepError if it left none."""
    path = Path(child.lane.figures)
    if not path.exists():
        raise FewstepError(f"{child.variant} left no clock readings when it was ended: {last_words(child.log)}")
    watch = json.loads(path.read_text())
    return Written(watch["began"], watch["ended"], 0, 0, {}), watch["events"]


def _read_stages(child: Child, cpu_s: float) -> dict[str, float]:
    """CPU seconds of the worker by stage; `produce` is what is left of all."""
    stages: dict[str, float] = json.loads(Path(child.lane.figures).read_text())
    return stages | {"produce": max(0.0, cpu_s - sum(stages.values()))}


def _command(variant: Variant, lane: Lane, settings: Settings, options: Sequence[str]) -> list[str]:
    if variant not in WORKERS:
        return [sys.executable, "-m", "stream.bench.variants", variant.value, lane.to_json()]
    named = settings.model_copy(update={"worker": settings.worker.model_copy(update={"app_id": lane.app_id})})
    delivery = "exactly_once" if variant is Variant.EXACTLY_ONCE else "at_least_once"
    return worker_command(named, Path(lane.data_dir), Path(lane.figures), options=("--delivery", delivery, *options))


def worker_command(
    settings: Settings,
    data_dir: Path,
    figures: Path,
    *,
    module: str = "stream.bench.stages",
    options: Sequence[str] = (),
) -> list[str]:
    """The command line of a worker inside of a module that takes its time and leaves it in `figures`."""
    return [
        sys.executable, "-m", module, str(figures), "worker",
        "--bootstrap-servers", settings.kafka.bootstrap_servers, "--topic-prefix", settings.kafka.topic_prefix,
        "--app-id", settings.worker.app_id, "--model-store", settings.model.store, "--model", settings.model.name,
        "--data-dir", str(data_dir), *options,
    ]  # fmt: skip


def _wait_until_committed(course: Course, child: Child, wanted: int) -> None:
    """Return once the program's group has committed so many events; all programs commit what they have done."""
    seen, since = 0, monotonic()
    with open_admin(course.settings.kafka) as admin:
        while seen < wanted:
            sleep(_LOOK_EVERY_S)
            child.check()
            now = committed(admin, child.lane.app_id, child.lane.source)
            if now != seen:
                seen, since = now, monotonic()
            elif monotonic() - since > STALLED_AFTER_S:
                raise FewstepError(
                    f"{child.variant} stood still at {seen} of {wanted} events for {STALLED_AFTER_S:.0f} s: "
                    f"{last_words(child.log)}"
                )


def committed(admin: Any, group: str, topic: str) -> int:
    """Events that the group has committed, 0 as long as the broker does not know it."""
    try:
        offsets = admin.list_group_offsets({group: None})[group]
    except _NOT_KNOWN_YET:
        return 0
    return sum(max(0, found.offset) for at, found in offsets.items() if at.topic == topic)
