"""Interactions in memory: columns sorted by user and time, with the encodings that the bundle will carry."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from meta import encodings, files
from schemas import EventKinds, Flat, InteractionEvent, Item, Manifest, UserFeature, UserProfile
from schemas.errors import DataError

RATING_TYPE = "rating"
"""The event type whose value is a rating."""


@dataclass(frozen=True)
class Dataset:
    """n events of users on items, sorted by (user, time); file order breaks ties.

    Events of user u are `starts[u]:starts[u + 1]`; as loaded, every user has at least one.
    """

    user: np.ndarray
    """(n,) int32"""
    item: np.ndarray
    """(n,) int32: rows of `items`"""
    kind: np.ndarray
    """(n,) int16: as `kinds` gives them, negative for a type that it does not know"""
    time_ms: np.ndarray
    """(n,) int64"""
    rating: np.ndarray
    """(n,) float32: the value of an event of type `rating`, NaN for every other event"""
    starts: np.ndarray
    """(n_users + 1,) int64"""
    user_ids: list[str]
    item_ids: list[str]
    items: list[Item]
    kinds: EventKinds
    user_features: list[UserFeature]
    user_matrix: np.ndarray
    """(n_users, F) float32, multi-hot"""
    dropped: int = 0
    """Events left out because their item is not in the catalog"""

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of item rows, with or without events."""
        return len(self.item_ids)

    @property
    def lengths(self) -> np.ndarray:
        """Events per user (n_users,) int64."""
        return np.diff(self.starts)

    @property
    def relevant(self) -> np.ndarray:
        """Whether an event counts as a right answer (n,) bool: all do but those of a negative type."""
        negative = [encodings.UNKNOWN_NEGATIVE]
        negative += [kind for name in encodings.NEGATIVE_TYPES if (kind := self.kinds.kind(name, None)) is not None]
        return ~np.isin(self.kind, negative)


@dataclass
class _Columns:
    """What is read from a file, in file order."""

    user: "array[int]" = field(default_factory=lambda: array("i"))
    item: "array[int]" = field(default_factory=lambda: array("i"))
    type_of: "array[int]" = field(default_factory=lambda: array("i"))
    value: "array[float]" = field(default_factory=lambda: array("d"))
    time_ms: "array[int]" = field(default_factory=lambda: array("q"))
    users: dict[str, int] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    dropped: int = 0


def load(
    interactions: Path,
    items: Path,
    users: Path | None = None,
    *,
    like: Manifest | None = None,
    item_ids: Sequence[str] | None = None,
) -> Dataset:
    """Read files of InteractionEvent, Item and UserProfile messages.

    With `like` events and profiles are encoded as in that bundle, and `item_ids` are its item rows: items of the file
    that it lacks are left out, items that the file lacks are bare. Otherwise rows are in file order and the encodings
    are learned. A later line of the same item or user replaces the earlier one.
    Raises DataError naming file and line for anything that cannot be read, and for a file without usable events.
    """
    catalog = {item.item_id: item for _, item in files.read(items, Item)}
    rows = list(catalog if item_ids is None else item_ids)
    columns = _read_columns(interactions, {item_id: row for row, item_id in enumerate(rows)})
    if not columns.user:
        raise DataError(
            f"{interactions}: no event is on an item of {items} ({columns.dropped} are on others);"
            " give the items that these interactions are about"
        )
    profiles = _profiles(users, columns.users) if users else [{} for _ in columns.users]
    types, type_of, values = list(columns.types), np.asarray(columns.type_of), np.asarray(columns.value)
    kinds = like.kinds if like else encodings.learn_kinds(types, type_of, values)
    features = like.user_features if like else encodings.learn_user_features(profiles)
    # The value of another type may be a price or a duration.
    rating = np.where(type_of == columns.types.get(RATING_TYPE, -1), values, np.nan).astype(np.float32)
    time_ms, user = np.asarray(columns.time_ms, dtype=np.int64), np.asarray(columns.user, dtype=np.int32)
    order = np.lexsort((time_ms, user))
    return Dataset(
        user=user[order],
        item=np.asarray(columns.item, dtype=np.int32)[order],
        kind=encodings.encode_kinds(kinds, types, type_of, values)[order],
        time_ms=time_ms[order],
        rating=rating[order],
        starts=np.searchsorted(user[order], np.arange(len(columns.users) + 1)).astype(np.int64),
        user_ids=list(columns.users),
        item_ids=rows,
        items=[catalog.get(item_id) or Item(item_id=item_id) for item_id in rows],
        kinds=kinds,
        user_features=features,
        user_matrix=encodings.encode_users(features, profiles),
        dropped=columns.dropped,
    )


def subset(dataset: Dataset, users: np.ndarray) -> Dataset:
    """The events of these user rows, renumbered in the order given; item rows and encodings stay."""
    lengths = dataset.lengths[users]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    at = np.repeat(dataset.starts[:-1][users] - starts[:-1], lengths) + np.arange(starts[-1])
    return replace(
        dataset,
        user=np.repeat(np.arange(len(users), dtype=np.int32), lengths),
        item=dataset.item[at],
        kind=dataset.kind[at],
        time_ms=dataset.time_ms[at],
        rating=dataset.rating[at],
        starts=starts.astype(np.int64),
        user_ids=[dataset.user_ids[user] for user in users],
        user_matrix=dataset.user_matrix[users],
    )


def keep_events(dataset: Dataset, kept: np.ndarray) -> Dataset:
    """The events where `kept` (n,) is true; all users stay, some of them maybe without an event."""
    return replace(
        dataset,
        user=dataset.user[kept],
        item=dataset.item[kept],
        kind=dataset.kind[kept],
        time_ms=dataset.time_ms[kept],
        rating=dataset.rating[kept],
        starts=np.concatenate([[0], np.cumsum(kept)])[dataset.starts],
    )


def _read_columns(path: Path, rows: dict[str, int]) -> _Columns:
    columns = _Columns()
    for line, event in files.read(path, InteractionEvent):
        if event.user_id is None or event.timestamp is None:
            missing = "user_id" if event.user_id is None else "timestamp"
            raise DataError(f"{path}, line {line}: no {missing}; in a file every event needs its own")
        row = rows.get(event.item_id)
        if row is None:
            columns.dropped += 1
            continue
        columns.user.append(columns.users.setdefault(event.user_id, len(columns.users)))
        columns.item.append(row)
        columns.type_of.append(columns.types.setdefault(event.event_type, len(columns.types)))
        columns.value.append(float("nan") if event.value is None else event.value)
        columns.time_ms.append(event.timestamp)
    return columns


def _profiles(path: Path, users: dict[str, int]) -> list[Flat]:
    profiles: list[Flat] = [{} for _ in users]
    for line, profile in files.read(path, UserProfile):
        if profile.user_id is None:
            raise DataError(f"{path}, line {line}: no user_id; in a file every profile needs its own")
        row = users.get(profile.user_id)
        if row is not None:
            profiles[row] = profile.features
    return profiles
