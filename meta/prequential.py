"""Test, then learn: how often the list of the moment holds what a user takes to next, over a stream in order of time.

The lists are those that a worker published. `fewstep replay --by-round N --hold --ask` asks for one at the time of each
event, once all earlier events of the user are applied, and sends the event when the list is there: a user's r-th list
belongs to its r-th event of the stream. Beside it stand two recommenders that learn from every event of everybody.

Source of the protocol: Vinagre, Jorge and Gama, Evaluation of recommender systems in streaming environments, 2014.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from meta import files
from meta.encodings import NEGATIVE_TYPES
from meta.measures import CUTOFF
from schemas import InteractionEvent, Item, Recommendation, Role
from schemas.errors import DataError, complaint

POSITIVE_RATING = 4.0
FEW = 10
"""A user with fewer positive events is new."""
NEIGHBORHOOD = 50
"""The last positive events of a user that count for the item-item cosine."""
ARMS = ("fewstep", "popularity", "item-item cosine")


class Stream(NamedTuple):
    """Events in order of time: users (n,) numbered, items (n,) rows, positive (n,); those before `start` warm up."""

    user_ids: list[str]
    item_ids: list[str]
    users: np.ndarray
    items: np.ndarray
    positive: np.ndarray
    start: int


class Asked(NamedTuple):
    """A list that answered a request: its items, and the events that it includes."""

    items: list[str]
    support_size: int


def read_stream(warm_up: Path, stream: Path, items: Path) -> Stream:
    """Read both files, each in its own order. Raises DataError naming the line that is wrong."""
    item_ids = [item.item_id for _, item in files.read(items, Item)]
    rows = {item_id: row for row, item_id in enumerate(item_ids)}
    users: dict[str, int] = {}
    found: list[tuple[int, int, bool]] = []
    start = 0
    for path in (warm_up, stream):
        start = len(found)
        for line, event in files.read(path, InteractionEvent):
            if event.user_id is None or event.item_id not in rows:
                raise DataError(f"{path}, line {line}: no user_id, or an item that {items} lacks; correct the line")
            liked = event.event_type not in NEGATIVE_TYPES and (event.value is None or event.value >= POSITIVE_RATING)
            found.append((users.setdefault(event.user_id, len(users)), rows[event.item_id], liked))
    user, item, positive = (np.array(column) for column in zip(*found, strict=True))
    return Stream(list(users), item_ids, user, item, positive, start)


def read_asked(path: Path) -> dict[str, list[Asked]]:
    """The lists that answered requests, by user, in order of the requests; one that was published twice counts once.

    Raises DataError naming a line that is no Recommendation message.
    """
    lists: dict[str, dict[int, Asked]] = {}
    for line, text in files.lines_of(path):
        if text.strip() == b"null":
            continue
        try:
            message = Recommendation.model_validate_json(text)
        except ValidationError as error:
            raise DataError(f"{path}, line {line}: {complaint(error)}; give what `fewstep watch` wrote") from None
        if message.source.topic.endswith(Role.REQUESTS):
            own = lists.setdefault(message.user_id, {})
            own[message.source.offset] = Asked([item.item_id for item in message.items], message.support_size)
    return {user: [asked for _, asked in sorted(own.items())] for user, own in lists.items()}


def evaluate_stream(stream: Stream, asked: dict[str, list[Asked]], *, seed: int) -> dict[str, Any]:
    """HR@10 over the positive events after the warm-up, for all and for those of new users.

    `seed` orders ties of the baselines. Raises DataError where the lists do not belong to this stream.
    """
    tested = np.flatnonzero(stream.positive & (np.arange(len(stream.users)) >= stream.start))
    if not len(tested):
        raise DataError("no positive event after the warm-up: nothing to predict")
    baselines, before = baseline_hits(stream, seed=seed)
    hits = {ARMS[0]: published_hits(stream, asked), **dict(zip(ARMS[1:], baselines, strict=True))}
    few = tested[before[tested] < FEW]
    return {
        "cutoff": CUTOFF,
        "n_events": len(tested),
        "n_few": len(few),
        "few": FEW,
        "hit_rate": {arm: float(hit[tested].mean()) for arm, hit in hits.items()},
        "hit_rate_few": {arm: float(hit[few].mean()) if len(few) else None for arm, hit in hits.items()},
    }


def published_hits(stream: Stream, asked: dict[str, list[Asked]]) -> np.ndarray:
    """Whether the first ten items of the list before each event (n,) hold its item; False in the warm-up."""
    hits = np.zeros(len(stream.users), dtype=bool)
    n_before = np.zeros(len(stream.user_ids), dtype=np.int64)
    taken = np.zeros(len(stream.user_ids), dtype=np.int64)
    window = max((one.support_size for own in asked.values() for one in own), default=0)
    for at, (user, item) in enumerate(zip(stream.users, stream.items, strict=True)):
        if at >= stream.start:
            own = asked.get(stream.user_ids[user], [])
            if taken[user] >= len(own):
                raise DataError(
                    f"user {stream.user_ids[user]}: {len(own)} lists, fewer than events; capture all of them"
                )
            one = own[taken[user]]
            if one.support_size != min(n_before[user], window):
                raise DataError(
                    f"user {stream.user_ids[user]}, list {taken[user] + 1}: it includes {one.support_size} events, and "
                    f"{n_before[user]} came before; replay warm-up and stream with --hold, the stream with --ask"
                )
            hits[at] = stream.item_ids[item] in one.items[:CUTOFF]
            taken[user] += 1
        n_before[user] += 1
    return hits


def baseline_hits(stream: Stream, *, seed: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Hits (n,) of popularity and of item-item cosine, and the positive events (n,) of its user before each event.

    Both learn from each positive event at once, and rank the items that the user has not interacted with.
    Source: Miranda and Jorge, Incremental collaborative filtering for binary ratings, WI-IAT 2008.
    """
    n_items = len(stream.item_ids)
    counts, together = np.zeros(n_items), np.zeros((n_items, n_items), dtype=np.float32)
    liked: list[list[int]] = [[] for _ in stream.user_ids]
    seen: list[list[int]] = [[] for _ in stream.user_ids]
    order = np.random.default_rng(seed).permutation(n_items)
    popular, similar = (np.zeros(len(stream.users), dtype=bool) for _ in range(2))
    before = np.zeros(len(stream.users), dtype=np.int64)
    for at, (user, item) in enumerate(zip(stream.users, stream.items, strict=True)):
        before[at], recent = len(liked[user]), np.array(liked[user][-NEIGHBORHOOD:], dtype=np.int64)
        if stream.positive[at]:
            if at >= stream.start:
                norms = np.sqrt(np.maximum(counts, 1))
                cosine = (together[recent] / norms[recent, None]).sum(axis=0) / norms
                popular[at] = _is_hit(counts, item, seen[user], order)
                similar[at] = _is_hit(cosine, item, seen[user], order)
            counts[item] += 1
            together[item, recent] += 1
            together[recent, item] += 1
            liked[user].append(item)
        seen[user].append(item)
    return (popular, similar), before


def _is_hit(scores: np.ndarray, item: int, seen: list[int], order: np.ndarray) -> bool:
    better = scores > scores[item]
    better |= (scores == scores[item]) & (order < order[item])
    better[seen] = False
    return int(better.sum()) < CUTOFF
