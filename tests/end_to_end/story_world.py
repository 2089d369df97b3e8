"""A small shop in which what goes together changes over night: groups of items, and users who choose within one."""

from typing import NamedTuple

import numpy as np

GROUPS, GROUP_ITEMS, EVENTS = 6, 20, 10
NEW_PER_GROUP = 14
"""Items of a group of the second day that the first did not have."""
STRAY = 0.1
"""Share of the choices that follow nothing."""
HONEST = 0.8
"""Share of the users who name their group; the others name any."""
_STAY = 0.2
"""For how long a user stays, of the time over which users arrive"""
_START_MS, _STEP_MS = 1_735_689_600_000, 200_000


class Day(NamedTuple):
    """What goes together: item ids by group (GROUPS, GROUP_ITEMS), the most popular of a group first."""

    groups: np.ndarray

    @property
    def item_ids(self) -> list[str]:
        """All that is chosen on this day."""
        return [str(item_id) for item_id in self.groups.ravel()]


class Choice(NamedTuple):
    """One event."""

    event_id: str
    user_id: str
    item_id: str
    timestamp: int


def days(rng: np.random.Generator) -> tuple[Day, Day]:
    """The second day deals some of the items of the first anew, and most of its items are new."""
    first = np.array([f"old-{n}" for n in range(GROUPS * GROUP_ITEMS)]).reshape(GROUPS, GROUP_ITEMS)
    new = np.array([f"new-{n}" for n in range(GROUPS * NEW_PER_GROUP)]).reshape(GROUPS, NEW_PER_GROUP)
    kept = rng.permutation(first.ravel())[: GROUPS * (GROUP_ITEMS - NEW_PER_GROUP)].reshape(GROUPS, -1)
    return Day(first), Day(rng.permuted(np.concatenate([new, kept], axis=1), axis=1))


class Shop:
    """Makes up users and their choices; time passes with every one of them."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng, self._users, self._events = rng, 0, 0
        self._regulars: list[str] = []
        self.interests: dict[str, str] = {}
        """What each user says of himself: the group he chooses in, more often than not."""

    def visits(self, day: Day, n_users: int, *, returning: float = 0.0) -> list[Choice]:
        """So many users come one after the other and choose `EVENTS` items each; some have been here before.

        Those have other tastes now, and still say of themselves what they said then.
        """
        arrivals = np.sort(self._rng.random(n_users))
        moments: list[tuple[float, str, str]] = []
        for arrival in arrivals:
            group = int(self._rng.integers(GROUPS))
            name = self._name(group, returning)
            times = arrival + np.cumsum(self._rng.exponential(_STAY / EVENTS, EVENTS))
            moments += [
                (float(time), name, str(item)) for time, item in zip(times, self._chosen(day, group), strict=True)
            ]
        made = [
            Choice(f"e{number}", name, item, _START_MS + number * _STEP_MS)
            for number, (_, name, item) in enumerate(sorted(moments), self._events)
        ]
        self._events += len(made)
        return made

    def _name(self, group: int, returning: float) -> str:
        if self._regulars and self._rng.random() < returning:
            return self._regulars.pop(int(self._rng.integers(len(self._regulars))))
        self._users += 1
        name = f"u{self._users}"
        said = group if self._rng.random() < HONEST else int(self._rng.integers(GROUPS))
        self.interests[name] = f"group {said}"
        self._regulars.append(name)
        return name

    def _chosen(self, day: Day, group: int) -> np.ndarray:
        """Without repetition, by popularity within a group (Gumbel's top k), some from anywhere."""
        logits = -np.log(np.arange(GROUP_ITEMS) + 3.0)
        own = day.groups[group]
        ranked = own[np.argsort(-(logits + self._rng.gumbel(size=GROUP_ITEMS)))][:EVENTS]
        others = self._rng.permutation(np.setdiff1d(day.groups.ravel(), own))[:EVENTS]
        return np.where(self._rng.random(EVENTS) < STRAY, others, ranked)
