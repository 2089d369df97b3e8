"""Follows one model in the store: fetches, checks and warms up what is published, and refuses what is not sound.

The store's `latest.json` says what is to be served; an announcement only says when to look, and whether going back was
meant. So neither a lost announcement nor a stale one does harm: a worker that polls ends at the same version.
"""

import logging

import numpy as np

from schemas import ModelAnnouncement
from schemas.errors import BundleError
from stream.core.adapter import Features
from stream.core.features import BLOCK
from stream.engine.bundle import Bundle, load_bundle, read_latest

logger = logging.getLogger("fewstep.worker")

_MOST_SKIPS = 63
"""A refused bundle is tried again after 1, 3, 7 .. 63 looks: perhaps only the store could not be reached."""
_WARM_USERS = 64


class Follower:
    """The newest sound bundle of one model, None before the first one.

    `problem` says in one line why what the store names is not served, None where it is; `refused` counts how often
    something was. Not thread-safe: all calls come from one thread.
    """

    def __init__(self, store: str, model: str, *, version: str | None = None, bundle: Bundle | None = None) -> None:
        """Follow `latest.json`, or stay with `version` where one is given. `bundle` is served already."""
        self.model = model
        self.bundle = bundle
        self.problem: str | None = None
        self.refused = 0
        self._store, self._version = store, version
        self._announced: ModelAnnouncement | None = None
        self._tried: tuple[str, str | None] | None = None
        self._skips = self._skip = 0

    def announce(self, announcement: ModelAnnouncement) -> None:
        """Take note of an announcement of this model; the next look does not put a retry off."""
        self._announced = announcement
        self._skip = self._skips = 0

    def look(self) -> bool:
        """Fetch what is to be served if it is another bundle; True where `bundle` is a new one, checked and warm.

        Blocks for as long as store and graphs take. What cannot be served leaves `bundle` as it was.
        """
        try:
            wanted = self._wanted()
            if wanted is None or self._is_put_off(wanted):
                return False
            found = load_bundle(self._store, self.model, wanted[0], digest=wanted[1])
            self._require_newer(found)
            warm_up(found)
        except BundleError as error:
            self._refuse(str(error))
            return False
        except Exception as error:  # noqa: BLE001 - whatever a new bundle provokes, the old one goes on serving
            self._refuse(f"the bundle that latest.json names cannot be loaded: {error!r:.200}; export it again")
            return False
        self.bundle, self.problem = found, None
        return True

    def _wanted(self) -> tuple[str, str | None] | None:
        """Version and digest of what is to be served, None where that is what is."""
        served = self.bundle
        if self._version is not None:
            return None if served else (self._version, None)
        latest = read_latest(self._store, self.model)
        if served is None or latest.version != served.manifest.version:
            return latest.version, latest.digest
        if latest.digest != served.digest:
            raise BundleError(
                f"bundle {self.model}/{latest.version} was replaced by another of the same version, and lists would "
                "not say which made them: publish it as a new version"
            )
        self.problem, self._tried = None, None
        return None

    def _is_put_off(self, wanted: tuple[str, str | None]) -> bool:
        if wanted != self._tried:
            self._tried, self._skip, self._skips = wanted, 0, 0
        if self._skip:
            self._skip -= 1
            return True
        self._skips = min(2 * self._skips + 1, _MOST_SKIPS)
        self._skip = self._skips
        return False

    def _require_newer(self, found: Bundle) -> None:
        """A user's version only rises, unless a person meant it to fall: pointers can also fall behind by a race."""
        if self.bundle is None or _age(found) > _age(self.bundle):
            return
        said = self._announced
        if said is not None and said.action in ("promote", "rollback") and said.digest == found.digest:
            return
        raise BundleError(
            f"latest.json names {self.model}/{found.manifest.version}, which is older than what is served, and no "
            f"announcement says that this is meant: fewstep model rollback, or publish a newer one"
        )

    def _refuse(self, problem: str) -> None:
        if problem != self.problem:  # once, and not at every look
            kept = "none is served" if self.bundle is None else f"{self.bundle.manifest.version} stays in service"
            # Put together beforehand: to the filter of the log two refusals in a row would be one repeated line.
            logger.error(f"model {self.model}: {problem} ({kept})")
            self.refused += 1
        self.problem = problem


def warm_up(bundle: Bundle) -> None:
    """Run batches of the sizes that polls have, so that the first lists do not wait for memory to be laid out."""
    manifest = bundle.manifest
    for users, events in ((BLOCK, 1), (BLOCK, 32), (_WARM_USERS, 32)):
        shape = (users, events)
        features: Features = {
            "support_items": np.zeros(shape, dtype=np.int64),
            "support_mask": np.ones(shape, dtype=np.float32),
            "support_kind": np.zeros(shape, dtype=np.int64),
            "support_age": np.zeros(shape, dtype=np.float32),
            "user_features": np.zeros((users, manifest.n_user_features), dtype=np.float32),
            "time_index": np.zeros(users, dtype=np.int64),
        }
        bundle.score(bundle.adapt(features)[0], np.zeros(users, dtype=np.int64))


def _age(bundle: Bundle) -> tuple[str, str]:
    """What orders versions: when they were made, as RFC 3339 in UTC, and among those of one second the name."""
    return bundle.manifest.created_at, bundle.manifest.version
