"""Keeps what serves up to date: bundles as they are published, the catalog as it is broadcast.

Everything here runs in one thread of its own, apart from the event loop and from the step: fetching, checking and
warming up take seconds, and only the exchange of one reference is seen by the stream.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import ValidationError

from schemas import ModelAnnouncement
from stream.core.step import Step
from stream.engine.bundle import Bundle
from stream.engine.follower import Follower
from stream.engine.live_items import LiveItems
from stream.engine.serving import Serving
from stream.settings import Settings

logger = logging.getLogger("fewstep.worker")

Broadcast = tuple[bytes | None, bytes | None]
"""Key and value of a record of a topic that every worker reads whole."""


class Snapshot(NamedTuple):
    """What health and metrics show. `problem` is why a newer bundle is not served, None where there is none."""

    model: str
    version: str
    digest: str
    created_at: str
    swaps: int
    refused: int
    problem: str | None
    items: int
    listings: int
    items_refused: int


class Watch:
    """Owns `serving` and exchanges its step whenever bundle or catalog changed."""

    def __init__(self, settings: Settings, bundle: Bundle) -> None:
        self._settings = settings
        self._follower = Follower(settings.model.store, settings.model.name, bundle=bundle)
        self._items = LiveItems()
        self._served = bundle
        self._deaf: str | None = None
        self._swaps = 0
        self.serving = Serving(Step(bundle, settings))

    def hear(self, announcements: Sequence[Broadcast]) -> None:
        """Take note of records of the models topic; one that cannot be read is logged and left out."""
        for _, value in announcements:
            try:
                announcement = ModelAnnouncement.model_validate_json(value or b"")
            except ValidationError:
                logger.warning("an announcement on the models topic cannot be read; it is left out")
                continue
            if announcement.model == self._follower.model:
                self._follower.announce(announcement)

    def look(self) -> None:
        """Look into the model store, and let a new bundle serve."""
        before = self._served.manifest.version
        if self._follower.look():
            self._exchange()
            self._swaps += 1
            logger.info("serving %s %s instead of %s", self._follower.model, self._served.manifest.version, before)

    def take_items(self, records: Sequence[Broadcast]) -> None:
        """Take note of records of the items topic."""
        self._items.take(records)

    def relist(self) -> None:
        """Let the catalog serve as it was heard by now, if that is news."""
        if self._items.changed():
            self._exchange()

    def deafen(self, problem: str) -> None:
        """Note that nothing is heard of models and items any more; what serves goes on."""
        logger.critical("%s", problem)
        self._deaf = problem

    def snapshot(self) -> Snapshot:
        """The state to be shown; from any thread."""
        manifest, follower = self._served.manifest, self._follower
        return Snapshot(
            model=manifest.model,
            version=manifest.version,
            digest=self._served.digest,
            created_at=manifest.created_at,
            swaps=self._swaps,
            refused=follower.refused,
            problem=self._deaf or follower.problem,
            items=len(self._served.catalog) - len(self._served.catalog.withdrawn),
            listings=len(self._items),
            items_refused=self._items.refused,
        )

    def _exchange(self) -> None:
        bundle = self._follower.bundle
        assert bundle is not None  # the worker started with one, and a look never takes it away
        self._served = self._items.over(bundle)
        self.serving.switch(Step(self._served, self._settings))
