"""A backlog: how fast it is drained, how many lists answer it, and whether memory grows meanwhile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic, sleep

from schemas import Role
from schemas.errors import FewstepError
from stream.bench.figures import Section, Variant
from stream.bench.outputs import ends, read_written
from stream.bench.process_clock import peak_mib, resident_mib
from stream.bench.runs import STALLED_AFTER_S, Course, committed, running
from stream.children import last_words
from stream.clients.connect import open_admin
from stream.clients.event_file import FileEvent

_LOOK_EVERY_S = 0.1
_WARM = 0.1
"""Share of the backlog after which memory is first read: the graphs and the store have then what they need."""


@dataclass(frozen=True)
class Drained:
    """One worker over one backlog."""

    events: int
    users: int
    seconds: float
    lists: int
    warm_mib: float
    """Resident memory after a tenth of the backlog."""
    end_mib: float
    peak_mib: float


def measure_drain(course: Course, load: Sequence[FileEvent], show: Callable[[str], None]) -> Section:
    """Start a worker on the filled topic and watch it. Raises FewstepError if it ends early or stands still."""
    kafka, lists = course.settings.kafka, course.topic(Role.RECOMMENDATIONS)
    since = ends(kafka, lists)
    warm, seen, moved = 0.0, 0, monotonic()
    with running(course, Variant.FEWSTEP) as child, open_admin(kafka) as admin:
        while seen < len(load):
            sleep(_LOOK_EVERY_S)
            child.check()
            now = committed(admin, child.lane.app_id, child.lane.source)
            if now != seen:
                seen, moved = now, monotonic()
            elif monotonic() - moved > STALLED_AFTER_S:
                raise FewstepError(f"the worker stood still at {seen} of {len(load)} events: {last_words(child.log)}")
            if not warm and seen >= _WARM * len(load):
                warm = resident_mib(child.process.pid)
        memory = resident_mib(child.process.pid), peak_mib(child.process.pid)
    found = read_written(kafka, lists, since=since)
    users = len({event.user_id for event in load})
    drained = Drained(len(load), users, found.ended - found.began, found.lists, warm, *memory)
    show(f"backlog drained: {drained.events / drained.seconds:,.0f} events/s")
    row = [
        f"{drained.events:,}", f"{users:,}", f"{drained.events / drained.seconds:,.0f}",
        f"{drained.lists / drained.events:.2f}", f"{drained.lists / users:.2f}",
        *(f"{one:,.0f}" for one in (drained.warm_mib, drained.end_mib, drained.peak_mib)),
    ]  # fmt: skip
    header = [
        "events", "users", "events/s", "lists/event", "lists/user", "MiB after a tenth", "MiB at the end", "peak MiB",
    ]  # fmt: skip
    return Section("backlog", "A backlog, drained by one worker", header, [row], [drained])
