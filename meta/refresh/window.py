"""What one refresh learns from: the newest part of the archive as files, cut in time for the judging."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from meta.refresh.archive import Archive, Part, State
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
_COLUMNS = ("user_id", "item_id", "event_type", "value", "timestamp")
_IDENTITY = ("user_id", "event_id")


class Window(NamedTuple):
    """Files and folders of Parquet files below one folder, as `meta.dataset.load` reads them."""

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
    new_share: float
    """Of `before`: what the incumbent was not trained on"""
    kept_share: float
    """Of `everything`: what lies behind the cut"""


class _Slice(NamedTuple):
    """The last rows of a part of the archive."""

    part: Part
    rows: int


class _Survey(NamedTuple):
    """What decides of each event of a window (n,), oldest first."""

    time_ms: np.ndarray
    is_new: np.ndarray
    """The incumbent was not trained on it"""
    is_kept: np.ndarray
    """It did not come before"""


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

    The cut lies so that the newest half of the new events is judged on. Reads each part of the window three times, one
    at a time; what decides of an event is held of all, some 40 bytes each.
    Raises RefusedError where there is nothing to learn from, DataError where the archive is damaged.
    """
    budget = min(max_events, max(LEAST_EVENTS, OLD_PER_NEW * n_new)) if incremental else max_events
    slices = _newest(state, budget)
    if not slices:
        raise RefusedError(f"archive {archive.store.url} holds no interactions: send some, then run again")
    survey = _survey(archive, slices, trained)
    cut_ms = _cut(survey)
    judged, users = _users(archive, slices, survey, cut_ms)
    paths = {name: folder / name for name in ("before", "judged", "everything")}
    for path in paths.values():
        path.mkdir()
    for number, (frame, kept) in enumerate(_frames(archive, slices, _COLUMNS, survey.is_kept)):
        name, rows = f"{number:06}.parquet", frame.filter(kept)
        rows.write_parquet(paths["everything"] / name)
        rows.filter(pl.col("timestamp") < cut_ms).write_parquet(paths["before"] / name)
        rows.filter(pl.col("user_id").is_in(judged.implode())).write_parquet(paths["judged"] / name)
    after = survey.time_ms[survey.is_kept] >= cut_ms
    new = survey.is_new[survey.is_kept]
    return Window(
        **paths,
        items=_items(archive, state, folder / "items.jsonl", fallback_items),
        profiles=_profiles(archive, state, folder / "users.jsonl", users),
        cut_ms=cut_ms,
        n_events=len(new),
        n_new=int(new.sum()),
        new_share=float(new[~after].mean()) if not after.all() else 0.0,
        kept_share=float(after.mean()),
    )


def _newest(state: State, budget: int) -> list[_Slice]:
    """Where the newest events lie, `budget` of them at most, oldest first."""
    slices: list[_Slice] = []
    left = budget
    for part in reversed(state.of("interactions")):
        if left <= 0:
            break
        slices.insert(0, _Slice(part, min(part.rows, left)))
        left -= part.rows
    return slices


def _frames(
    archive: Archive, slices: Sequence[_Slice], columns: Sequence[str], mask: np.ndarray
) -> Iterator[tuple[pl.DataFrame, pl.Series]]:
    """These columns of each slice, with its share of the mask (n,)."""
    start = 0
    for part, rows in slices:
        yield archive.read(part, columns).tail(rows), pl.Series(mask[start : start + rows])
        start += rows


def _survey(archive: Archive, slices: Sequence[_Slice], trained: Mapping[int, int]) -> _Survey:
    count = sum(rows for _, rows in slices)
    identities = np.empty(count, dtype=np.uint64)
    time_ms, is_new = np.empty(count, dtype=np.int64), np.ones(count, dtype=bool)
    known = pl.DataFrame(
        {"partition": list(trained), "until": list(trained.values())}, schema={"partition": pl.Int32, "until": pl.Int64}
    )
    start = 0
    columns = (*_IDENTITY, "timestamp", "partition", "offset")
    for part, rows in slices:
        frame = archive.read(part, columns).tail(rows)
        here = slice(start, start + rows)
        identities[here] = frame.select(pl.struct(_IDENTITY).hash()).to_series().to_numpy()
        time_ms[here] = frame["timestamp"].to_numpy()
        until = frame.join(known, on="partition", how="left", maintain_order="left")["until"]
        is_new[here] = (until.is_null() | (frame["offset"] >= until.fill_null(0))).to_numpy()
        start += rows
    return _Survey(time_ms, is_new, pl.Series(identities).is_first_distinct().to_numpy())


def _cut(survey: _Survey) -> int:
    """The time from which on events are judged on; at least one event stays before it."""
    new = survey.time_ms[survey.is_kept & survey.is_new]
    count = max(1, min(round(JUDGED_SHARE * len(new)), MOST_JUDGED_EVENTS))
    return int(np.partition(new, len(new) - count)[len(new) - count])


def _users(archive: Archive, slices: Sequence[_Slice], survey: _Survey, cut_ms: int) -> tuple[pl.Series, pl.Series]:
    """Users with an event after the cut, of many a sample that depends on nothing but their ids; and all users."""
    none = pl.Series("user_id", [], dtype=pl.String)
    later, everybody = none, none
    for frame, kept in _frames(archive, slices, ("user_id", "timestamp"), survey.is_kept):
        rows = frame.filter(kept)
        everybody = pl.concat([everybody, rows["user_id"].unique()]).unique()
        later = pl.concat([later, rows.filter(pl.col("timestamp") >= cut_ms)["user_id"]]).unique()
    judged = pl.DataFrame({"user": later, "order": later.hash(0)}).sort("order", "user")["user"]
    return judged[:MOST_JUDGED_USERS], everybody


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
