"""Reads files of interactions in columns, a bounded number of rows at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from meta import files
from schemas import SCHEMA_VERSION, InteractionEvent
from schemas.base import NEWEST_MS, OLDEST_MS
from schemas.errors import DataError

CHUNK_ROWS = 500_000
COLUMNS = {
    "user_id": pl.String,
    "item_id": pl.String,
    "event_type": pl.String,
    "value": pl.Float64,
    "time_ms": pl.Int64,
}
"""Of a chunk; `value` is null where an event has none."""


def chunks(path: Path, *, rows: int = CHUNK_ROWS) -> Iterator[pl.DataFrame]:
    """Yield the events of a file in file order as frames of at most `rows`.

    Raises DataError naming file and line for whatever `schemas.InteractionEvent` refuses, and for an event without user
    or time, which only a record on a topic can lend it.
    """
    if not path.name.endswith(".parquet"):
        yield from _by_row(files.read(path, InteractionEvent), path, rows)
        return
    try:
        lazy = pl.scan_parquet(path)
        total = lazy.select(pl.len()).collect().item()
        for start in range(0, total, rows):
            frame = lazy.slice(start, rows).collect()
            if _is_plain(frame):
                yield _as_columns(frame)
            else:
                yield from _by_row(files.read_frame(frame, path, InteractionEvent, first=start + 1), path, rows)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise files.unreadable(path, error) from None


def _by_row(messages: Iterator[tuple[int, InteractionEvent]], path: Path, rows: int) -> Iterator[pl.DataFrame]:
    """Through the schema, one message at a time."""
    held: list[tuple[Any, ...]] = []
    for line, event in messages:
        if event.user_id is None or event.timestamp is None:
            missing = "user_id" if event.user_id is None else "timestamp"
            raise DataError(f"{path}, line {line}: no {missing}; in a file every event needs its own")
        held.append((event.user_id, event.item_id, event.event_type, event.value, event.timestamp))
        if len(held) == rows:
            yield _frame(held)
            held = []
    if held:
        yield _frame(held)


def _frame(rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def _as_columns(frame: pl.DataFrame) -> pl.DataFrame:
    value = pl.col("value").cast(pl.Float64) if "value" in frame.columns else pl.lit(None, dtype=pl.Float64)
    return frame.select(
        "user_id", "item_id", "event_type", value.alias("value"), pl.col("timestamp").cast(pl.Int64).alias("time_ms")
    )


def _is_plain(frame: pl.DataFrame) -> bool:
    """Whether the schema takes every row as it stands, as far as columns can tell; if not, it is asked row by row."""
    texts = {"user_id": 256, "item_id": 256, "event_type": 64}
    types = frame.schema
    if any(types.get(name) != pl.String for name in texts) or types.get("timestamp") != pl.Int64:
        return False
    if "event_id" in types and types["event_id"] != pl.String:
        return False
    if "context" in types or ("value" in types and not types["value"].is_numeric()):
        return False
    holds = [
        pl.col(name).is_not_null() & pl.col(name).str.len_chars().is_between(1, most) for name, most in texts.items()
    ]
    holds.append(pl.col("timestamp").is_not_null() & pl.col("timestamp").is_between(OLDEST_MS, NEWEST_MS))
    if "event_id" in types:
        holds.append(pl.col("event_id").is_null() | pl.col("event_id").str.len_chars().is_between(1, 256))
    if "value" in types:
        holds.append(pl.col("value").is_null() | pl.col("value").cast(pl.Float64).is_finite())
    if "schema_version" in types:
        holds.append(pl.col("schema_version").is_null() | (pl.col("schema_version") == SCHEMA_VERSION))
    return bool(frame.select(pl.all_horizontal([each.all() for each in holds])).item())
