"""What one refresh learns from: the newest part of the archive as files, cut in time for the judging."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl

from meta.refresh.archive import Archive, State
from schemas import Item
from schemas.errors import RefusedError

LEAST_EVENTS = 200_000
"""A window holds so many at least, where there are so many: old users beside the new events."""
OLD_PER_NEW = 4
"""Events of a window per new event: what keeps the cost of a refresh in proportion to what is new."""
JUDGED_SHARE = 0.5
"""Of the new events, the newest: what a candidate is judged on and not trained on."""
MOST_JUDGED_EVENTS = 200_000
MOST_JUDGED_USERS = 2000
_COLUMNS = ("user_id", "item_id", "event_type", "value", "timestamp", "partition", "offset")
_IDENTITY = ("user_id", "event_id")


class Window(NamedTuple):
    """Files below one folder, as `meta.dataset.load` reads them."""

    before: Path
    """Events before `cut_ms`: what a candidate is trained on"""
    judged: Path
    """All events of the users whom it is judged on, before and after"""
    everything: Path
    items: Path
    profiles: Path | None
    cut_ms: int
    n_events: int
    n_new: int
    """Events that the incumbent was not trained on"""


def cut_window(
    archive: Archive,
    state: State,
    folder: Path,
    *,
    trained: Mapping[int, int],
    n_new: int,
    max_events: int,
    incremental: bool,
    fallback_items: list[Item],
) -> Window:
    """Write the window's files. `trained` are the positions that the incumbent knows, `n_new` about how many it lacks.

    The cut lies so that the newest half of the new events is judged on. Memory: some 150 bytes per event of the window.
    Raises RefusedError where there is nothing to learn from, DataError where the archive is damaged.
    """
    budget = min(max_events, max(LEAST_EVENTS, OLD_PER_NEW * n_new)) if incremental else max_events
    events = _newest(archive, state, budget)
    if not len(events):
        raise RefusedError(f"archive {archive.store.url} holds no interactions: send some, then run again")
    known = pl.DataFrame(
        {"partition": list(trained), "until": list(trained.values())}, schema={"partition": pl.Int32, "until": pl.Int64}
    )
    events = events.join(known, on="partition", how="left", maintain_order="left").with_columns(
        new=pl.col("until").is_null() | (pl.col("offset") >= pl.col("until"))
    )
    cut_ms = _cut(events)
    judged = _judged_users(events, cut_ms)
    paths = {name: folder / f"{name}.parquet" for name in ("before", "judged", "everything")}
    plain = events.select(pl.col(_COLUMNS[:5])).with_columns(pl.col("item_id", "event_type").cast(pl.String))
    plain.filter(pl.col("timestamp") < cut_ms).write_parquet(paths["before"])
    plain.filter(pl.col("user_id").is_in(judged.implode())).write_parquet(paths["judged"])
    plain.write_parquet(paths["everything"])
    return Window(
        **paths,
        items=_items(archive, state, folder / "items.jsonl", fallback_items),
        profiles=_profiles(archive, state, folder / "users.jsonl", events["user_id"].unique()),
        cut_ms=cut_ms,
        n_events=len(events),
        n_new=int(events["new"].sum()),
    )


def _newest(archive: Archive, state: State, budget: int) -> pl.DataFrame:
    """The newest events, about `budget` of them, oldest first, none twice."""
    frames: list[pl.DataFrame] = []
    rows = 0
    for part in reversed(state.of("interactions")):
        if rows >= budget:
            break
        frame = archive.read(part, [*_COLUMNS, "event_id"]).tail(budget - rows)
        # Numbers in place of the ids that are only compared: half of the memory.
        identity = pl.struct(_IDENTITY).hash().alias("identity")
        frames.insert(
            0, frame.with_columns(identity, pl.col("item_id", "event_type").cast(pl.Categorical)).drop("event_id")
        )
        rows += len(frame)
    if not frames:
        return pl.DataFrame()
    return pl.concat(frames).unique("identity", keep="first", maintain_order=True).drop("identity")


def _cut(events: pl.DataFrame) -> int:
    """The time from which on events are judged on; at least one event stays before it."""
    new = events.filter("new")["timestamp"].sort()
    count = min(round(JUDGED_SHARE * len(new)), MOST_JUDGED_EVENTS)
    return int(new[len(new) - max(1, count)])


def _judged_users(events: pl.DataFrame, cut_ms: int) -> pl.Series:
    """Users with an event after the cut; of many a sample that depends on nothing but their ids."""
    users = events.filter(pl.col("timestamp") >= cut_ms)["user_id"].unique().sort()
    if len(users) <= MOST_JUDGED_USERS:
        return users
    return pl.DataFrame({"user": users, "order": users.hash(0)}).sort("order")["user"][:MOST_JUDGED_USERS]


def _items(archive: Archive, state: State, path: Path, fallback: list[Item]) -> Path:
    parts = state.of("items")
    lines = [line for part in parts for line in archive.read(part)["message"].to_list()]
    if not parts:
        lines = [item.model_dump_json(exclude_defaults=True) for item in fallback]
    if not lines:
        raise RefusedError("the items topic is empty, and no bundle names items: send the catalog, then run again")
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _profiles(archive: Archive, state: State, path: Path, users: pl.Series) -> Path | None:
    parts = state.of("profiles")
    if not parts:
        return None
    with path.open("w", encoding="utf-8") as file:
        for part in parts:
            held = archive.read(part, ["user_id", "message"])
            file.writelines(
                f"{line}\n" for line in held.filter(pl.col("user_id").is_in(users.implode()))["message"].to_list()
            )
    return path
