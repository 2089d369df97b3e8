"""Interactions in columns sorted by user and time, with the encodings that the bundle will carry."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from meta import encodings, files
from meta.buckets import MEMORY_ROWS, Buckets
from meta.interactions import chunks
from meta.scratch import ColumnWriter, TextWriter
from schemas import EventKinds, Flat, Item, Manifest, UserFeature, UserProfile
from schemas.errors import DataError

RATING_TYPE = "rating"
"""The event type whose value is a rating."""
_PROFILE_ROWS = 50_000
"""Profiles that are held as Python objects at a time: each takes some kilobytes until it is in a column."""
_DTYPES = {
    "item": np.int32,
    "kind": np.int16,
    "time_ms": np.int64,
    "rating": np.float32,
    "lengths": np.int64,
}


@dataclass(frozen=True)
class Dataset:
    """n events of users on items, sorted by (user, time); file order breaks ties.

    Events of user u are `starts[u]:starts[u + 1]`; as loaded, every user has at least one. Of many events the columns
    lie on disk and users are in the order of a hash of their ids, which is as good as a random one.
    """

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
    user_ids: Sequence[str]
    item_ids: list[str]
    items: list[Item]
    kinds: EventKinds
    user_features: list[UserFeature]
    user_matrix: np.ndarray
    """(n_users, F) float32, multi-hot"""
    dropped: int = 0
    """Events left out because their item is not in the catalog"""
    shuffled: bool = False
    """Users are in random order, as those of many events are"""

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of item rows, with or without events."""
        return len(self.item_ids)

    @property
    def user(self) -> np.ndarray:
        """The user row of each event (n,) int32."""
        return np.repeat(np.arange(self.n_users, dtype=np.int32), self.lengths)

    @property
    def lengths(self) -> np.ndarray:
        """Events per user (n_users,) int64."""
        return np.diff(self.starts)

    @property
    def relevant(self) -> np.ndarray:
        """Whether an event counts as a right answer (n,) bool: all do but those of a negative type."""
        return self.is_relevant(self.kind)

    def is_relevant(self, kind: np.ndarray) -> np.ndarray:
        """The same of some kinds, in their shape."""
        negative = [encodings.UNKNOWN_NEGATIVE]
        negative += [found for name in encodings.NEGATIVE_TYPES if (found := self.kinds.kind(name, None)) is not None]
        return ~np.isin(kind, negative)


def load(
    interactions: Path | Sequence[Path],
    items: Path,
    users: Path | None = None,
    *,
    like: Manifest | None = None,
    item_ids: Sequence[str] | None = None,
    memory_rows: int = MEMORY_ROWS,
) -> Dataset:
    """Read files of InteractionEvent, Item and UserProfile messages; interactions may be folders of Parquet files.

    With `like` events and profiles are encoded as in that bundle, and `item_ids` are its item rows: items of the file
    that it lacks are left out, items that the file lacks are bare. Otherwise rows are in file order and the encodings
    are learned. A later line of the same item or user replaces the earlier one. With more than `memory_rows` events
    memory does not grow with events and users any more; the encodings are then learned from a part of the users.
    Raises DataError naming file and line for anything that cannot be read, and for a file without usable events.
    """
    named = [interactions] if isinstance(interactions, Path) else list(interactions)
    paths = [file for path in named for file in (sorted(path.glob("*.parquet")) if path.is_dir() else [path])]
    catalog = {item.item_id: item for _, item in files.read(items, Item)}
    rows = list(catalog if item_ids is None else item_ids)
    with Buckets(memory_rows=memory_rows) as events, Buckets(memory_rows=memory_rows) as profiles:
        types, dropped = _deal_events(events, paths, rows)
        if not len(events):
            where = ", ".join(map(str, named))
            if not dropped:
                raise DataError(f"{where}: no events in it; give a file of interactions, or a folder of .parquet files")
            raise DataError(
                f"{where}: no event is on an item of {items} ({dropped} are on others);"
                " give the items that these interactions are about"
            )
        if users is not None:
            _deal_profiles(profiles, users)
        if events.on_disk or profiles.on_disk:
            events.spill()
            profiles.spill()
        kinds, features = (like.kinds, like.user_features) if like else _learn(events, profiles, types)
        columns = _gather(events, profiles, kinds, types, features)
        shuffled = events.on_disk
    return Dataset(
        **columns,
        item_ids=rows,
        items=[catalog.get(item_id) or Item(item_id=item_id) for item_id in rows],
        kinds=kinds,
        user_features=features,
        dropped=dropped,
        shuffled=shuffled,
    )


def subset(dataset: Dataset, users: np.ndarray) -> Dataset:
    """The events of these user rows, renumbered in the order given; item rows and encodings stay.

    A range of rows shares the columns, anything else copies what it needs.
    """
    users = np.asarray(users)
    lengths = dataset.lengths[users]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    if len(users) and (np.diff(users) == 1).all():
        part = slice(int(users[0]), int(users[-1]) + 1)
        at: slice | np.ndarray = slice(int(dataset.starts[part.start]), int(dataset.starts[part.stop]))
        ids, matrix = dataset.user_ids[part], dataset.user_matrix[part]
    else:
        at = np.repeat(dataset.starts[:-1][users] - starts[:-1], lengths) + np.arange(starts[-1])
        ids, matrix = [dataset.user_ids[int(user)] for user in users], dataset.user_matrix[users]
    return replace(
        dataset,
        item=dataset.item[at],
        kind=dataset.kind[at],
        time_ms=dataset.time_ms[at],
        rating=dataset.rating[at],
        starts=starts,
        user_ids=ids,
        user_matrix=matrix,
    )


def keep_events(dataset: Dataset, kept: np.ndarray) -> Dataset:
    """The events where `kept` (n,) is true; all users stay, some of them maybe without an event."""
    return replace(
        dataset,
        item=dataset.item[kept],
        kind=dataset.kind[kept],
        time_ms=dataset.time_ms[kept],
        rating=dataset.rating[kept],
        starts=np.concatenate([[0], np.cumsum(kept)])[dataset.starts],
    )


def _deal_events(events: Buckets, paths: Sequence[Path], rows: Sequence[str]) -> tuple[list[str], int]:
    """Put the events on known items into buckets; gives the event types and how many are left out."""
    known = pl.DataFrame(
        {"item_id": rows, "item": np.arange(len(rows), dtype=np.int32)}, schema_overrides={"item_id": pl.String}
    )
    types: dict[str, int] = {}
    dropped = 0
    for path in paths:
        for chunk in chunks(path):
            found = chunk.join(known, on="item_id", how="inner", maintain_order="left")
            dropped += len(chunk) - len(found)
            for name in found.get_column("event_type").unique(maintain_order=True):
                types.setdefault(name, len(types))
            type_of = (
                pl.col("event_type").replace_strict(types, return_dtype=pl.Int16) if types else pl.lit(0, pl.Int16)
            )
            if len(found):
                events.add(found.select("user_id", "item", type_of.alias("type_of"), "value", "time_ms"))
    return list(types), dropped


def _deal_profiles(profiles: Buckets, path: Path) -> None:
    held: list[tuple[str, bytes]] = []
    for line, profile in files.read(path, UserProfile):
        if profile.user_id is None:
            raise DataError(f"{path}, line {line}: no user_id; in a file every profile needs its own")
        held.append((profile.user_id, orjson.dumps(profile.features)))
        if len(held) == _PROFILE_ROWS:
            profiles.add(_profile_frame(held))
            held = []
    if held:
        profiles.add(_profile_frame(held))


def _profile_frame(rows: list[tuple[str, bytes]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"user_id": pl.String, "features": pl.Binary}, orient="row")


def _learn(events: Buckets, profiles: Buckets, types: list[str]) -> tuple[EventKinds, list[UserFeature]]:
    """Encodings from the first bucket that holds anything: all users, or a random part of them."""
    number, frame = next((number, frame) for number, frame in enumerate(events) if len(frame))
    users = frame.get_column("user_id").unique(maintain_order=True)
    kinds = encodings.learn_kinds(types, frame["type_of"].to_numpy(), _values(frame))
    return kinds, encodings.learn_user_features(_profiles_of(users, profiles.bucket(number)))


def _gather(
    events: Buckets, profiles: Buckets, kinds: EventKinds, types: list[str], features: list[UserFeature]
) -> dict[str, Any]:
    """The columns of all users, bucket by bucket."""
    columns = {name: ColumnWriter(dtype) for name, dtype in _DTYPES.items()}
    matrix, ids = ColumnWriter(np.float32, width=sum(map(len, features))), TextWriter()
    rating_type = types.index(RATING_TYPE) if RATING_TYPE in types else -1
    for number, frame in enumerate(events):
        if frame.is_empty():
            continue
        users = frame.get_column("user_id").unique(maintain_order=True)
        numbers = pl.DataFrame({"user_id": users, "user": np.arange(len(users), dtype=np.int32)})
        user = frame.join(numbers, on="user_id", how="left", maintain_order="left")["user"].to_numpy()
        time_ms = frame["time_ms"].to_numpy()
        order = np.lexsort((time_ms, user))
        type_of, values = frame["type_of"].to_numpy(), _values(frame)
        kind = encodings.encode_kinds(kinds, types, type_of, values)
        # The value of another type may be a price or a duration.
        rating = np.where(type_of == rating_type, values, np.nan)
        columns["item"].append(frame["item"].to_numpy()[order])
        columns["kind"].append(kind[order])
        columns["time_ms"].append(time_ms[order])
        columns["rating"].append(rating[order])
        columns["lengths"].append(np.bincount(user, minlength=len(users)))
        matrix.append(encodings.encode_users(features, _profiles_of(users, profiles.bucket(number))))
        ids.append(users.to_list())
    closed = {name: writer.close() for name, writer in columns.items()}
    starts = np.concatenate([[0], np.cumsum(closed.pop("lengths"))]).astype(np.int64)
    return {**closed, "starts": starts, "user_ids": ids.close(), "user_matrix": matrix.close()}


def _values(frame: pl.DataFrame) -> np.ndarray:
    return frame["value"].fill_null(np.nan).to_numpy()


def _profiles_of(users: pl.Series, bucket: pl.DataFrame) -> list[Flat]:
    """The features of each user, the last line of each; {} where there is none."""
    found = {} if bucket.is_empty() else dict(bucket.iter_rows())
    return [orjson.loads(found[user]) if user in found else {} for user in users]
