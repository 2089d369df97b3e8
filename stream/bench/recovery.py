"""Recovery of a changelog of many users: the worker with both stores, its restart beside its data, stock Faust."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep, time

import numpy as np

from schemas.errors import FewstepError
from stream.bench.figures import Section
from stream.bench.lane import Lane
from stream.bench.process_clock import peak_mib, resident_mib
from stream.bench.runs import Course, worker_command
from stream.children import end, last_words, launch
from stream.clients.event_file import FileEvent
from stream.clients.outbox import open_outbox
from stream.clients.provision import create_topics
from stream.core.codec import encode
from stream.core.events import Event
from stream.core.state import EMPTY, EVENT_ID_HASH_BYTES, ITEM_HASH_BYTES, UserState, apply_event
from stream.settings import StateSettings
from stream.topics import changelog_topic

STOCK_USERS = 100_000
"""Stock Faust recovers no more than so many: it is asked for its rate, and is slow."""
WITHIN_S = 600.0
_CHUNK = 5000
_LOOK_EVERY_S = 0.02


@dataclass(frozen=True)
class Recovered:
    """One start."""

    who: str
    users: int
    seconds: float
    """From the first read of the changelog to the end of recovery, by the program's own clock."""
    ready_s: float
    """From the start of the process."""
    resident_mib: float
    peak_mib: float
    disk_bytes: int
    """Of its data directory."""


def measure_recovery(course: Course, users: int, item_ids: Sequence[str], show: Callable[[str], None]) -> Section:
    """Fill changelogs with rows of full windows and start on them.

    Raises FewstepError if a program ends early or is not ready in time, BrokerError if Kafka fails.
    """
    app_id = f"{course.settings.kafka.topic_prefix}recovery"
    named = course.settings.model_copy(update={"worker": course.settings.worker.model_copy(update={"app_id": app_id})})
    create_topics(named, partitions=course.partitions, replication_factor=1)
    show(f"filling a changelog with the rows of {users:,} users")
    row_bytes = asyncio.run(_fill(course, changelog_topic(app_id), users, item_ids))
    starts = [
        ("fewstep, store memory", "memory", "memory"),
        ("fewstep, store rocksdict", "rocksdict", "rocksdict"),
        ("fewstep, started again beside its data", "rocksdict", "rocksdict"),
    ]
    found: list[Recovered] = []
    for who, store, folder in starts:
        data_dir, figures = course.home / folder, course.home / f"{len(found)}.json"
        options = ["--state-store", store]
        command = worker_command(named, data_dir, figures, module="stream.bench.restoring", options=options)
        found.append(_start(command, who, users, data_dir, figures, ready="ready:"))
        show(_line(found[-1]))
    found.append(_stock(course, min(users, STOCK_USERS), item_ids))
    show(_line(found[-1]))
    return _section(found, users, row_bytes)


def _stock(course: Course, users: int, item_ids: Sequence[str]) -> Recovered:
    app_id = f"{course.settings.kafka.topic_prefix}stock"
    data_dir, figures = course.home / "stock", course.home / "stock.json"
    named = course.settings.model_copy(update={"worker": course.settings.worker.model_copy(update={"app_id": app_id})})
    create_topics(named, partitions=course.partitions, replication_factor=1)
    asyncio.run(_fill(course, changelog_topic(app_id), users, item_ids))
    lane = Lane(
        course.settings.kafka.bootstrap_servers, app_id, "", "", course.partitions, course.n_items, course.d,
        str(data_dir), "",
    )  # fmt: skip
    command = [sys.executable, "-m", "stream.bench.restoring", str(figures), "restore", lane.to_json()]
    return _start(command, "stock Faust, rocksdict", users, data_dir, figures, ready="")


def _start(command: Sequence[str], who: str, users: int, data_dir: Path, figures: Path, *, ready: str) -> Recovered:
    """Start a program, wait until it has recovered and its log has the word, and end it."""
    folder = figures.with_suffix("")
    folder.mkdir()
    log, began = folder / "output.log", monotonic()
    process = launch(command, log)
    try:
        while not (figures.exists() and ready in log.read_text(errors="replace")):
            sleep(_LOOK_EVERY_S)
            if process.poll() is not None:
                raise FewstepError(f"{who} ended with exit code {process.returncode}: {last_words(log)}")
            if monotonic() - began > WITHIN_S:
                raise FewstepError(f"{who} was not ready within {WITHIN_S:.0f} s: {last_words(log)}")
        ready_s = monotonic() - began
        clock = json.loads(figures.read_text())
        memory = resident_mib(process.pid), peak_mib(process.pid)
    finally:
        end(process)
    disk = sum(path.stat().st_size for path in data_dir.rglob("*") if path.is_file()) if data_dir.exists() else 0
    return Recovered(who, users, clock["ended"] - clock["began"], ready_s, *memory, disk)


async def _fill(course: Course, topic: str, users: int, item_ids: Sequence[str]) -> float:
    """Write a row for each user; gives the mean bytes of a row."""
    size = 0
    async with open_outbox(course.settings.kafka, topic, partitions=course.partitions) as outbox:
        some: list[FileEvent] = []
        for number, row in enumerate(_rows(users, item_ids, course.settings.state)):
            size += len(row)
            some.append(FileEvent(f"user-{number}", 0, row))
            if len(some) == _CHUNK or number == users - 1:
                await outbox.send(some)
                some = []
    return size / users


def _rows(users: int, item_ids: Sequence[str], config: StateSettings) -> Iterator[bytes]:
    """Rows as the worker writes them, of full windows and full rings. The windows are those of a few users, which
    costs less to make; the rings are each user's own.
    """
    rng = np.random.default_rng(0)
    now_ms = round(time() * 1000)
    windows = [_window(rng, item_ids, config, now_ms) for _ in range(200)]
    for number in range(users):
        yield encode(
            windows[number % len(windows)]._replace(
                seen=rng.bytes(ITEM_HASH_BYTES * config.seen_items),
                event_ids=rng.bytes(EVENT_ID_HASH_BYTES * config.event_ids),
            )
        )


def _window(rng: np.random.Generator, item_ids: Sequence[str], config: StateSettings, now_ms: int) -> UserState:
    state = EMPTY
    for offset in range(config.window):
        moment = now_ms - (config.window - offset) * int(rng.integers(1, 86_400_000))
        item = item_ids[int(rng.integers(len(item_ids)))]
        event = Event(b"user", item, "click", None, max(moment, state.last_ms), None)
        state, _ = apply_event(state, event, offset, config)
    return state


def _line(found: Recovered) -> str:
    return (
        f"{found.who}: {found.users / found.seconds:,.0f} users/s, ready after {found.ready_s:.1f} s, "
        f"{found.resident_mib:,.0f} MiB"
    )


def _section(found: Sequence[Recovered], users: int, row_bytes: float) -> Section:
    *_, again, stock = found
    rows = [
        [
            one.who, f"{one.users:,}", "" if one is again else f"{one.users / one.seconds:,.0f}",
            "" if one in (again, stock) else f"{one.users / one.seconds / (stock.users / stock.seconds):.1f}",
            f"{one.ready_s:.1f}", f"{one.resident_mib:,.0f}", f"{one.peak_mib:,.0f}",
            f"{one.disk_bytes / one.users:,.0f}",
        ]
        for one in found
    ]  # fmt: skip
    header = ["", "users", "users/s", "times stock", "ready after s", "MiB", "peak MiB", "disk bytes/user"]
    title = f"Recovery of {users:,} users of full windows; {row_bytes:,.0f} bytes of changelog value per user"
    return Section("recovery", title, header, rows, list(found))
