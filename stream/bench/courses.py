"""Topics and load for programs under measurement."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from time import time

from schemas import Role
from stream.bench.figures import Variant
from stream.bench.runs import Course
from stream.bench.served import Served
from stream.bench.traffic import APART_MS, fill, make_events
from stream.clients.event_file import FileEvent
from stream.clients.provision import create_topics
from stream.settings import Settings

PARTITIONS = 4
SEED = 0
_ENDLESS = 4_000_000
"""More events than are asked for where their number is not known before."""


def settings_for(address: str, prefix: str, *, model_store: str | None, model: str | None) -> Settings:
    """Those of a worker on topics with this prefix."""
    return Settings.load(
        kafka={"bootstrap_servers": address, "topic_prefix": prefix}, model={"store": model_store, "name": model},
        worker={"app_id": f"{prefix}worker"},
    )  # fmt: skip


def lay_out(settings: Settings, served: Served, home: Path, *, events: int) -> Course:
    """Create the topics. Raises BrokerError if Kafka fails."""
    create_topics(settings, partitions=PARTITIONS, replication_factor=1)
    manifest = served.manifest
    return Course(settings, home, PARTITIONS, events, manifest.n_items, manifest.d)


def apart(course: Course, served: Served, name: str, *, model_store: str | None = None) -> Course:
    """The same with topics of its own, and the model of another store if one is named."""
    settings = course.settings
    fresh = settings_for(
        settings.kafka.bootstrap_servers, f"{settings.kafka.topic_prefix}{name}-",
        model_store=model_store or settings.model.store, model=served.manifest.model,
    )  # fmt: skip
    return lay_out(fresh, served, course.home, events=0)


def load_for(course: Course, served: Served, *, count: int, users: int) -> list[FileEvent]:
    """So many events, the last of them now."""
    return list(islice(endless_load(course, served, users=users, past=count), count))


def endless_load(course: Course, served: Served, *, users: int, past: int = _ENDLESS) -> Iterator[FileEvent]:
    """Events as long as they are asked for, `past` of them until now."""
    return make_events(
        users=users,
        item_ids=served.item_ids,
        kinds=served.manifest.kinds,
        event_types=course.settings.limits.event_types,
        oldest_ms=round(time() * 1000) - (past - 1) * APART_MS,
        seed=SEED,
    )


def fill_with(course: Course, load: Sequence[FileEvent]) -> None:
    """Send these events to the topic of interactions. Raises BrokerError if Kafka fails."""
    asyncio.run(fill(course.settings.kafka, course.topic(Role.INTERACTIONS), load, partitions=course.partitions))


def in_turn(variants: Sequence[Variant], number: int) -> list[Variant]:
    """Each round begins with another variant, so that none is always the one after the slowest."""
    shift = number % max(1, len(variants))
    return [*variants[shift:], *variants[:shift]]
