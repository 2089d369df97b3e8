"""Brings the archive up to date with the topics: bounded, resumable, and complete in forgetting."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from meta.refresh.archive import PART_ROWS, Archive, Part, State
from meta.refresh.decoding import (
    FORGET_COLUMNS,
    ITEM_COLUMNS,
    PROFILE_COLUMNS,
    decode_events,
    decode_items,
    decode_profiles,
)
from meta.refresh.topic import reading
from schemas import KafkaSettings, Role, topic_name
from schemas.errors import DataError

DEDUPLICATED_ROWS = 1_000_000
"""Newest events of the archive among which an event that comes again is recognized when it comes."""
_IDENTITY = ("user_id", "event_id")
# Items and profiles before the interactions that need them.
_ROLES = (Role.ITEMS, Role.USERS, Role.INTERACTIONS)


def update(archive: Archive, kafka: KafkaSettings, now: datetime, *, chunk: int = PART_ROWS) -> State:
    """Read all three topics from where the archive ends to where they end, then erase who wants to be forgotten.

    There is a commit per chunk of records, so a run that is killed loses a chunk's work at most.
    Raises BrokerError, DataError for an archive of other topics, RefusedError where another refresh writes to it.
    """
    state = archive.state()
    _require_same(state, kafka, archive)
    archive.tidy(state, now)
    for role in _ROLES:
        topic = topic_name(role, kafka.topic_prefix)
        with reading(kafka, topic, state.positions.get(topic, {})) as reader:
            expired = reader.expired
            while records := reader.take(chunk):
                after = _APPLY[role](archive, state, records)
                after = after.model_copy(
                    update={
                        "positions": after.positions | {topic: dict(reader.positions)},
                        "expired": after.expired + expired,
                    }
                )
                state, expired = archive.commit(state, after, now), 0
    state = erase(archive, state, now)
    archive.tidy(state, now)
    return state


def erase(archive: Archive, state: State, now: datetime) -> State:
    """Rewrite every file that holds events or a profile of users to be forgotten, and delete the old ones.

    Reads the user column of every part, and what holds such a user whole, a part at a time.
    """
    forgotten = _forgotten(archive, state)
    if not len(forgotten):
        return state
    users = forgotten["user_id"].unique()
    parts: list[Part] = []
    erased = 0
    for part in state.parts:
        if part.kind == "forget":
            continue
        if part.kind not in ("interactions", "profiles") or not _holds(archive, part, users):
            parts.append(part)
            continue
        rows = archive.read(part)
        kept = without(rows, forgotten)
        erased += len(rows) - len(kept) if part.kind == "interactions" else 0
        if len(kept) == len(rows):
            parts.append(part)
        elif len(kept):
            parts.append(archive.write(state, part.kind, kept))
    after = state.model_copy(update={"parts": tuple(parts), "erased": state.erased + erased})
    return archive.commit(state, after, now)


def without(rows: pl.DataFrame, forgotten: pl.DataFrame) -> pl.DataFrame:
    """Events or profiles but for those that were there when their user was to be forgotten.

    On the partition that said so offsets tell what was there, elsewhere the times of the records.
    """
    if not len(forgotten):
        return rows
    later = pl.col("received") > pl.col("received_until")
    if "partition" in rows.columns:
        here = pl.col("partition") == pl.col("partition_until")
        later = pl.when(here).then(pl.col("offset") > pl.col("offset_until")).otherwise(later)
    until = forgotten.select("user_id", pl.exclude("user_id").name.suffix("_until"))
    doomed = rows.with_row_index("row").join(until, on="user_id").filter(~later)
    return rows.with_row_index("row").join(doomed.select("row").unique(), on="row", how="anti").drop("row")


def _apply_events(archive: Archive, state: State, records: Sequence[Any]) -> State:
    decoded = decode_events(records)
    state, forgotten = _remember(archive, state, decoded.forgotten)
    unseen = _fresh(archive, state, decoded.rows)
    fresh = without(unseen, forgotten)
    parts = state.parts
    tail = state.of("interactions")[-1:]
    if len(fresh):
        # The last part is filled up first: many small refreshes would else leave many small files.
        if tail and tail[0].rows + len(fresh) <= PART_ROWS:
            merged = pl.concat([archive.read(tail[0]), fresh])
            parts = (*(part for part in parts if part is not tail[0]), archive.write(state, "interactions", merged))
        else:
            parts = (*parts, archive.write(state, "interactions", fresh))
    return state.model_copy(
        update={
            "parts": parts,
            "events": state.events + len(fresh),
            "duplicates": state.duplicates + len(decoded.rows) - len(unseen),
            "refused": state.refused + decoded.refused,
        }
    )


def _apply_profiles(archive: Archive, state: State, records: Sequence[Any]) -> State:
    decoded = decode_profiles(records)
    state, forgotten = _remember(archive, state, decoded.forgotten)
    held = pl.concat([pl.DataFrame(schema=PROFILE_COLUMNS), *(archive.read(part) for part in state.of("profiles"))])
    merged = without(pl.concat([held.join(decoded.rows, on="user_id", how="anti"), decoded.rows]), forgotten)
    return _replaced(archive, state, "profiles", merged, decoded.refused)


def _apply_items(archive: Archive, state: State, records: Sequence[Any]) -> State:
    decoded = decode_items(records)
    held = pl.concat([pl.DataFrame(schema=ITEM_COLUMNS), *(archive.read(part) for part in state.of("items"))])
    merged = pl.concat([held.join(decoded.rows, on="item_id", how="anti"), decoded.rows])
    return _replaced(archive, state, "items", merged.filter(pl.col("message").is_not_null()), decoded.refused)


_APPLY: dict[Role, Callable[[Archive, State, Sequence[Any]], State]] = {
    Role.ITEMS: _apply_items,
    Role.USERS: _apply_profiles,
    Role.INTERACTIONS: _apply_events,
}


def _replaced(archive: Archive, state: State, kind: str, frame: pl.DataFrame, refused: int) -> State:
    others = tuple(part for part in state.parts if part.kind != kind)
    part = archive.write(state, kind, frame)
    return state.model_copy(update={"parts": (*others, part), "refused": state.refused + refused})


def _remember(archive: Archive, state: State, forgotten: pl.DataFrame) -> tuple[State, pl.DataFrame]:
    """Keep with the commit who is to be erased at the end of the run, so that a kill before that erases later."""
    everyone = pl.concat([_forgotten(archive, state), forgotten])
    if not len(forgotten):
        return state, everyone
    return _replaced(archive, state, "forget", everyone, 0), everyone


def _forgotten(archive: Archive, state: State) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(schema=FORGET_COLUMNS), *(archive.read(part) for part in state.of("forget"))])


def _holds(archive: Archive, part: Part, users: pl.Series) -> bool:
    return bool(archive.read(part, ["user_id"])["user_id"].is_in(users.implode()).any())


def _fresh(archive: Archive, state: State, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows without those that came before, among themselves or among the newest of the archive."""
    rows = rows.unique(_IDENTITY, keep="first", maintain_order=True)
    known = 0
    for part in reversed(state.of("interactions")):
        if known >= DEDUPLICATED_ROWS or not len(rows):
            break
        rows = rows.join(archive.read(part, _IDENTITY), on=_IDENTITY, how="anti", maintain_order="left")
        known += part.rows
    return rows


def _require_same(state: State, kafka: KafkaSettings, archive: Archive) -> None:
    wanted = topic_name(Role.INTERACTIONS, kafka.topic_prefix)
    others = [topic for topic in state.positions if topic.endswith(Role.INTERACTIONS.value) and topic != wanted]
    if others:
        raise DataError(
            f"archive {archive.store.url} is that of topic {others[0]}, not of {wanted}: use another --archive, or"
            " correct --topic-prefix"
        )
