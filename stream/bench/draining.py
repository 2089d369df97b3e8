"""A backlog, drained with each store: how fast, how many lists answer it, and whether memory grows meanwhile."""

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
STORES = ("memory", "rocksdict")
_MARKS = (0.1, 0.5)
"""Shares of the backlog after which memory is read, and once more at the end. After the first one, the graphs and the
store have what they need."""


@dataclass(frozen=True)
class Drained:
    """One worker over one backlog."""

    store: str
    events: int
    users: int
    seconds: float
    lists: int
    mib: list[float]
    """Resident memory after a tenth, half and all of the backlog."""
    peak_mib: float


def measure_drain(course: Course, load: Sequence[FileEvent], show: Callable[[str], None]) -> Section:
    """A worker with each store, one after the other, on the filled topic.

    Raises FewstepError if one ends early or stands still.
    """
    users = len({event.user_id for event in load})
    found = []
    for store in STORES:
        found.append(_drain(course, store, len(load), users))
        show(f"backlog drained, store {store}: {found[-1].events / found[-1].seconds:,.0f} events/s")
    rows = [
        [
            one.store, f"{one.events:,}", f"{users:,}", f"{one.events / one.seconds:,.0f}",
            f"{one.lists / one.events:.2f}", f"{one.lists / users:.2f}",
            *(f"{mib:,.0f}" for mib in (*one.mib, one.peak_mib)),
        ]
        for one in found
    ]  # fmt: skip
    header = [
        "store", "events", "users", "events/s", "lists/event", "lists/user", "MiB after a tenth", "after half",
        "at the end", "peak",
    ]  # fmt: skip
    return Section("backlog", "A backlog, drained by one worker", header, rows, found)


def _drain(course: Course, store: str, events: int, users: int) -> Drained:
    kafka, lists = course.settings.kafka, course.topic(Role.RECOMMENDATIONS)
    since = ends(kafka, lists)
    seen, moved, mib = 0, monotonic(), list[float]()
    options = ("--state-store", store)
    with running(course, Variant.FEWSTEP, options=options) as child, open_admin(kafka) as admin:
        while seen < events:
            sleep(_LOOK_EVERY_S)
            child.check()
            now = committed(admin, child.lane.app_id, child.lane.source)
            if now != seen:
                seen, moved = now, monotonic()
            elif monotonic() - moved > STALLED_AFTER_S:
                raise FewstepError(f"the worker stood still at {seen} of {events} events: {last_words(child.log)}")
            mib += [resident_mib(child.process.pid) for mark in _MARKS[len(mib) :] if seen >= mark * events]
        mib.append(resident_mib(child.process.pid))
        peak = peak_mib(child.process.pid)
    found = read_written(kafka, lists, since=since)
    return Drained(store, events, users, found.ended - found.began, found.lists, mib, peak)
