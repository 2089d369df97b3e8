"""How throughput grows with worker processes over the same topics."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from time import monotonic, sleep
from typing import Any

from schemas import Role
from schemas.errors import FewstepError
from stream.bench.figures import Section
from stream.bench.outputs import ends, read_written
from stream.bench.process_clock import cpu_seconds
from stream.bench.runs import STALLED_AFTER_S, Course, committed, worker_command
from stream.bench.traffic import fill
from stream.children import end, last_words, launch
from stream.clients.connect import open_admin
from stream.clients.event_file import FileEvent
from stream.clients.provision import create_topics

_LOOK_EVERY_S = 0.1
_SETTLE_S = 2.0


@dataclass(frozen=True)
class Scaled:
    """So many workers of one group."""

    workers: int
    partitions: int
    events: int
    seconds: float
    lists: int
    cpu_s: float
    """Of all workers, from the moment they were ready."""

    @property
    def events_per_s(self) -> float:
        """Rate of all together."""
        return self.events / self.seconds


def measure_scaling(course: Course, load: Sequence[FileEvent], *, most: int, show: Callable[[str], None]) -> Section:
    """1 to `most` workers, each time on topics of their own, which are filled once all workers hold partitions: the
    time of filling is the same for each number. Raises FewstepError if a worker ends or they stand still.
    """
    found = []
    for workers in range(1, most + 1):
        found.append(_measure(course, load, workers))
        show(f"{workers} workers: {found[-1].events_per_s:,.0f} events/s")
    rows = [
        [
            str(one.workers), f"{one.events_per_s:,.0f}", f"{one.lists / one.events:.2f}",
            f"{one.events_per_s / found[0].events_per_s:.2f}", f"{one.cpu_s / one.events * 1e6:,.1f}",
        ]
        for one in found
    ]  # fmt: skip
    header = ["workers", "events/s", "lists/event", "times one", "CPU us/event"]
    return Section("workers", f"Workers over the same {course.partitions} partitions", header, rows, found)


def _measure(course: Course, load: Sequence[FileEvent], workers: int) -> Scaled:
    settings = course.settings
    prefix = f"{settings.kafka.topic_prefix}{workers}-"
    named = settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={"topic_prefix": prefix}),
            "worker": settings.worker.model_copy(update={"app_id": f"{prefix}workers"}),
        }
    )
    create_topics(named, partitions=course.partitions, replication_factor=1)
    own = replace(course, settings=named)
    lists = own.topic(Role.RECOMMENDATIONS)
    with _workers(own, workers) as processes, open_admin(named.kafka) as admin:
        # A worker says so once it holds partitions, and the last one gets some only after all have shared anew.
        _wait(lambda: all("ready:" in log.read_text(errors="replace") for _, log in processes), processes)
        sleep(_SETTLE_S)
        before = sum(cpu_seconds(process.pid) for process, _ in processes)
        asyncio.run(fill(named.kafka, own.topic(Role.INTERACTIONS), load, partitions=course.partitions))
        _wait(lambda: committed(admin, named.worker.app_id, own.topic(Role.INTERACTIONS)) >= len(load), processes)
        cpu_s = sum(cpu_seconds(process.pid) for process, _ in processes) - before
    since = dict.fromkeys(ends(named.kafka, lists), 0)
    found = read_written(named.kafka, lists, since=since)
    return Scaled(workers, course.partitions, len(load), found.ended - found.began, found.lists, cpu_s)


@contextmanager
def _workers(course: Course, count: int) -> Iterator[list[tuple[Any, Any]]]:
    with ExitStack() as stack:
        processes = []
        for number in range(count):
            folder = course.home / f"{course.settings.worker.app_id}-{number}"
            folder.mkdir()
            log = folder / "output.log"
            process = launch(worker_command(course.settings, folder / "state", folder / "figures.json"), log)
            stack.callback(end, process)
            processes.append((process, log))
        yield processes


def _wait(done: Callable[[], bool], processes: Sequence[tuple[Any, Any]]) -> None:
    began = monotonic()
    while not done():
        sleep(_LOOK_EVERY_S)
        for process, log in processes:
            if process.poll() is not None:
                raise FewstepError(f"a worker ended with exit code {process.returncode}: {last_words(log)}")
        if monotonic() - began > STALLED_AFTER_S:
            raise FewstepError(f"the workers stood still for {STALLED_AFTER_S:.0f} s: {last_words(processes[0][1])}")
