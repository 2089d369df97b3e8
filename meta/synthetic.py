"""A made-up world with planted tastes: what a learner should find is known.

A user sees a handful of items, drawn by popularity, and picks by taste. Taste and items are vectors around domains and
categories; some users switch to another taste in the middle of their history.
"""

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from meta.corpus import Corpus
from meta.synthetic_names import CATEGORIES, title
from schemas import InteractionEvent, Item, UserProfile

DIM = 16
SHOWN = 60
"""Items that a user picks from at each event"""
MEMORY = 48
"""Recent items that a user does not pick again"""
REJECTED = 0.12
"""Share of events in which the user turns something down"""
STRENGTH = 6.0
START_MS = 1_735_689_600_000
SPAN_MS = 180 * 86_400_000
STAY_MS = 30 * 86_400_000
CHUNK = 1024


class Sizes(NamedTuple):
    """How large the world is, and how many of its users change."""

    users: int = 1000
    items: int = 800
    events_per_user: float = 40.0
    drift_share: float = 0.3


class _World(NamedTuple):
    vectors: np.ndarray
    """(n_items, DIM)"""
    popularity: np.ndarray
    """(n_items,): cumulative, ends with 1"""
    tastes: np.ndarray
    """(2, n_users, DIM): before and after a drift"""
    events: np.ndarray
    """(n_users,): how many each has"""
    drift_at: np.ndarray
    """(n_users,): first event index of the new taste, -1 where there is none"""


def generate(sizes: Sizes, *, seed: int) -> Corpus:
    """The world of this seed. Memory grows with users and items, not with events."""
    rng = np.random.default_rng(seed)
    domains = list(CATEGORIES)
    item_domain = np.arange(sizes.items) % len(domains)
    item_category = rng.integers(0, len(CATEGORIES[domains[0]]), sizes.items)
    domain_centers = _directions(rng, len(domains))
    category_centers = _directions(rng, len(domains), len(CATEGORIES[domains[0]]))
    vectors = domain_centers[item_domain] + category_centers[item_domain, item_category]
    weights = 1.0 / (rng.permutation(sizes.items) + 10.0) ** 0.8
    main = rng.integers(0, len(domains), sizes.users)
    later = (main + rng.integers(1, len(domains), sizes.users)) % len(domains)
    activity = rng.lognormal(0.0, 0.5, sizes.users)
    events = rng.multinomial(round(sizes.users * sizes.events_per_user), activity / activity.sum())
    drifts = (rng.random(sizes.users) < sizes.drift_share) & (events >= 10)
    world = _World(
        vectors=_unit(vectors + 0.5 * _directions(rng, sizes.items)),
        popularity=np.cumsum(weights / weights.sum()),
        tastes=np.stack([_tastes(rng, chosen, domain_centers, category_centers) for chosen in (main, later)]),
        events=events,
        drift_at=np.where(drifts, events // 2, -1),
    )
    names = rng.permutation(sizes.items)
    items = [
        Item(
            item_id=f"item-{row}",
            title=title(int(names[row]), domains[item_domain[row]]),
            categories=[CATEGORIES[domains[item_domain[row]]][item_category[row]]],
            domain=domains[item_domain[row]],
            features={"year": 2025 - int(names[row]) % 40},
        )
        for row in range(sizes.items)
    ]
    truth = [
        {"user_id": f"user-{u}", "drift_at": int(events[u] // 2), "from": domains[main[u]], "to": domains[later[u]]}
        for u in np.flatnonzero(drifts)
    ]
    stream_seed = int(rng.integers(2**63))
    return Corpus(items, _profiles(rng, main, domains), lambda: _events(world, stream_seed), truth)


def _profiles(rng: np.random.Generator, main: np.ndarray, domains: list[str]) -> list[UserProfile]:
    # Most users name their domain, the rest any; age goes with the domain, region with nothing.
    stated = np.where(rng.random(len(main)) < 0.7, main, rng.integers(0, len(domains), len(main)))
    ages = np.clip(rng.normal(25 + 8 * main, 6), 16, 90).astype(int)
    regions = rng.choice(["north", "east", "south", "west"], len(main))
    return [
        UserProfile(
            user_id=f"user-{u}",
            features={"interest": domains[stated[u]], "age": int(ages[u]), "region": str(regions[u])},
        )
        for u in range(len(main))
    ]


def _events(world: _World, seed: int) -> Iterator[InteractionEvent]:
    rng = np.random.default_rng(seed)
    recent = np.full((len(world.events), MEMORY), -1, dtype=np.int32)
    for users, indices, times in _chunks(world, rng):
        shown = np.searchsorted(world.popularity, rng.random((len(users), SHOWN)) * world.popularity[-1])
        changed = (world.drift_at[users] >= 0) & (indices >= world.drift_at[users])
        liking = np.einsum("bsd,bd->bs", world.vectors[shown], world.tastes[changed.astype(int), users])
        rejects = rng.random(len(users)) < REJECTED
        choice = np.where(rejects[:, None], -liking, liking) * STRENGTH + rng.gumbel(size=liking.shape)
        # Items seen lately are last; where all are, the user returns to one of them.
        choice[(shown[:, :, None] == recent[users][:, None, :]).any(axis=2)] -= 1e6
        picked = choice.argmax(axis=1)
        rows = np.arange(len(users))
        items = shown[rows, picked]
        recent[users, indices % MEMORY] = items
        enthusiasm = liking[rows, picked] - liking.mean(axis=1)
        types = _event_types(rng, enthusiasm, rejects)
        for user, index, time_ms, item, event_type in zip(
            users.tolist(), indices.tolist(), times.tolist(), items.tolist(), types, strict=True
        ):
            yield InteractionEvent(
                event_id=f"{user}-{index}",
                user_id=f"user-{user}",
                item_id=f"item-{item}",
                event_type=event_type,
                timestamp=time_ms,
            )


def _event_types(rng: np.random.Generator, enthusiasm: np.ndarray, rejects: np.ndarray) -> list[str]:
    mood = enthusiasm + 0.3 * rng.standard_normal(len(enthusiasm))
    liked = np.array(["view", "click", "like", "purchase"])[np.digitize(mood, [0.3, 0.6, 1.0])]
    return [str(name) for name in np.where(rejects, np.where(mood < -0.6, "dislike", "skip"), liked)]


def _chunks(world: _World, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Users, event indices and times in the order of time; no user is twice in a chunk."""
    active = np.flatnonzero(world.events)
    arrival = START_MS + rng.random(len(active)) * SPAN_MS
    gaps = STAY_MS / np.maximum(world.events, 1)  # users without events are never asked for theirs
    heap = [(int(time_ms), user, 0) for time_ms, user in zip(arrival, active.tolist(), strict=True)]
    heapq.heapify(heap)
    chunk: list[tuple[int, int, int]] = []
    members: set[int] = set()
    while heap:
        time_ms, user, index = heap[0]
        if user in members or len(chunk) == CHUNK:
            yield _columns(chunk)
            chunk, members = [], set()
        chunk.append(heap[0])
        members.add(user)
        if index + 1 < world.events[user]:
            heapq.heapreplace(heap, (time_ms + 1 + int(rng.exponential(gaps[user])), user, index + 1))
        else:
            heapq.heappop(heap)
    if chunk:
        yield _columns(chunk)


def _columns(chunk: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    times, users, indices = np.array(chunk, dtype=np.int64).T
    return users, indices, times


def _tastes(
    rng: np.random.Generator, main: np.ndarray, domain_centers: np.ndarray, category_centers: np.ndarray
) -> np.ndarray:
    """A domain, two of its categories, and something of one's own: (n_users, DIM)."""
    favorites = rng.integers(0, category_centers.shape[1], (2, len(main)))
    liked = category_centers[main, favorites[0]] + 0.5 * category_centers[main, favorites[1]]
    return _unit(domain_centers[main] + liked + 0.3 * _directions(rng, len(main)))


def _directions(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return _unit(rng.standard_normal((*shape, DIM)))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
