"""Keeps what serves up to date: bundles as they are published, the catalog as it is broadcast.

Everything here runs in one thread of its own, apart from the event loop and from the step: fetching, checking and
warming up take seconds, and only the exchange of one reference is seen by the stream.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from pydantic import ValidationError

from schemas import ModelAnnouncement
from stream.core.arms import Arms
from stream.core.measured import Measured, Measures
from stream.core.step import Step
from stream.core.tally import Sums
from stream.engine.bundle import Bundle
from stream.engine.follower import Follower
from stream.engine.live_items import LiveItems
from stream.engine.serving import Serving, StepFunction
from stream.settings import Settings

logger = logging.getLogger("fewstep.worker")

_TURN_S = 0.0005

Broadcast = tuple[bytes | None, bytes | None]
"""Key and value of a record of a topic that every worker reads whole."""


class Snapshot(NamedTuple):
    """What health and metrics show.

    `problem` is why what the store names is not served, None where it is; `items` is how many may be listed,
    `items_refused` how many records of the items topic could not be read or kept, `measures` the sums of the
    prequential measures by (model, version).
    """

    model: str
    version: str
    swaps: int
    refused: int
    problem: str | None
    items: int
    items_refused: int
    measures: dict[tuple[str, str], Sums]


class Watch:
    """Owns `serving` and exchanges its step whenever bundle or catalog changed."""

    def __init__(self, settings: Settings, bundle: Bundle) -> None:
        self._settings = settings
        self._follower = Follower(settings.model.store, settings.model.name, bundle=bundle)
        self._challenger = _challenger_of(settings)
        self._items = LiveItems()
        self._served = bundle
        self._deaf: str | None = None
        self._swaps = 0
        self.measures = Measures(settings)
        self.serving = Serving(self._step(bundle, None))

    def hear(self, announcements: Sequence[Broadcast]) -> None:
        """Take note of records of the models topic; one that cannot be read is logged and left out."""
        for _, value in announcements:
            try:
                announcement = ModelAnnouncement.model_validate_json(value or b"")
            except ValidationError:
                logger.warning("an announcement on the models topic cannot be read; it is left out")
                continue
            for follower in (self._follower, self._challenger):
                if follower is not None and announcement.model == follower.model:
                    follower.announce(announcement)

    def look(self) -> None:
        """Look into the model store, and let a new bundle serve."""
        with _giving_way():
            self._look()

    def _look(self) -> None:
        before = self._served.manifest.version
        if self._follower.look():
            self._exchange()
            self._swaps += 1
            logger.info("serving %s %s instead of %s", self._follower.model, self._served.manifest.version, before)
        tried = self._challenger
        if tried is not None and tried.look() and tried.bundle is not None:
            self._exchange()
            share = self._settings.model.challenger_share
            logger.info("challenger %s %s for %.3g of the users", tried.model, tried.bundle.manifest.version, share)

    def take_items(self, records: Sequence[Broadcast]) -> None:
        """Take note of records of the items topic."""
        self._items.take(records)

    def relist(self) -> None:
        """Let the catalog serve as it was heard by now, if that is news."""
        if self._items.changed():
            with _giving_way():
                self._exchange()

    def deafen(self, problem: str) -> None:
        """Note that models and items could not be followed for an unknown reason; what serves goes on."""
        logger.critical("%s", problem)
        self._deaf = problem

    def snapshot(self) -> Snapshot:
        """The state to be shown; from any thread."""
        manifest, follower, tried = self._served.manifest, self._follower, self._challenger
        return Snapshot(
            model=manifest.model,
            version=manifest.version,
            swaps=self._swaps,
            refused=follower.refused,
            problem=self._deaf or follower.problem or (tried.problem if tried else None),
            items=len(self._served.catalog) - len(self._served.catalog.withdrawn),
            items_refused=self._items.refused,
            measures=self.measures.totals(),
        )

    def _exchange(self) -> None:
        bundle, tried = self._follower.bundle, self._challenger
        assert bundle is not None  # the worker started with one, and a look never takes it away
        self._served = self._items.over(bundle)
        other = None if tried is None or tried.bundle is None else self._items.over(tried.bundle)
        self.serving.switch(self._step(self._served, other))

    def _step(self, bundle: Bundle, challenger: Bundle | None) -> StepFunction:
        settings = self._settings
        step: StepFunction = Step(bundle, settings)
        if challenger is not None and settings.model.challenger_share:
            step = Arms(
                step,
                Step(challenger, settings),
                name=settings.model.challenger,
                share=settings.model.challenger_share,
                limits=settings.limits,
            )
        return Measured(step, self.measures, incumbent=bundle, challenger=challenger)


@contextmanager
def _giving_way() -> Iterator[None]:
    """Let the other threads take their turn soon: reading a catalog is Python, and holds the interpreter meanwhile.

    Each time that the event loop or the step wakes up it waits for as long as a turn takes, 5 ms otherwise.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_S)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def _challenger_of(settings: Settings) -> Follower | None:
    name, _, version = settings.model.challenger.partition("/")
    return Follower(settings.model.store, name, version=version or None) if name else None
