"""What the records of the topics mean to the archive: rows, and users to forget. No bytes make it raise."""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

import polars as pl
from pydantic import ValidationError

from schemas import SCHEMA_VERSION, Incoming, InteractionEvent, Item, UserProfile, epoch_ms
from schemas.cloudevents import Envelope, MalformedError, open_envelope

EVENT_COLUMNS = {
    "event_id": pl.String,
    "user_id": pl.String,
    "item_id": pl.String,
    "event_type": pl.String,
    "value": pl.Float64,
    "timestamp": pl.Int64,  # event time, epoch ms
    "received": pl.Int64,  # the record's time, epoch ms
    "partition": pl.Int32,
    "offset": pl.Int64,
}
PROFILE_COLUMNS = {"user_id": pl.String, "message": pl.String, "received": pl.Int64}
ITEM_COLUMNS = {"item_id": pl.String, "message": pl.String}
FORGET_COLUMNS = {"user_id": pl.String, "partition": pl.Int32, "offset": pl.Int64, "received": pl.Int64}
"""A user wants to be forgotten with all that came before. `partition` is -1 where another topic said so."""
ELSEWHERE = -1
_LONGEST_ID = 256


class Decoded(NamedTuple):
    """A chunk of a topic."""

    rows: pl.DataFrame
    forgotten: pl.DataFrame
    refused: int
    """Records that cannot be read; the worker has made dead letters of them"""


def decode_events(records: Iterable[Any]) -> Decoded:
    """Interactions as rows of EVENT_COLUMNS, in the order of the records."""
    rows: list[tuple[Any, ...]] = []
    forgotten: list[tuple[Any, ...]] = []
    refused = 0
    for record in records:
        if record.value is None:
            key = _key(record)
            if key is None:
                refused += 1
            else:
                forgotten.append((key, record.partition, record.offset, record.timestamp))
            continue
        row = _event(record)
        if row is None:
            refused += 1
        else:
            rows.append(row)
    return Decoded(_frame(rows, EVENT_COLUMNS), _frame(forgotten, FORGET_COLUMNS), refused)


def decode_profiles(records: Iterable[Any]) -> Decoded:
    """The last profile of each user as rows of PROFILE_COLUMNS; a null value forgets the user, in all topics."""
    rows: dict[str, tuple[Any, ...]] = {}
    forgotten: list[tuple[Any, ...]] = []
    refused = 0
    for record in records:
        profile = None if record.value is None else _message(record, UserProfile)
        user = (profile[0].user_id if profile else None) or _key(record)
        if user is None or (profile is None and record.value is not None):
            refused += 1
        elif profile is None:
            rows.pop(user, None)
            forgotten.append((user, ELSEWHERE, record.offset, record.timestamp))
        else:
            text = profile[0].model_copy(update={"user_id": user}).model_dump_json(exclude_defaults=True)
            rows[user] = (user, text, record.timestamp)
    return Decoded(_frame(list(rows.values()), PROFILE_COLUMNS), _frame(forgotten, FORGET_COLUMNS), refused)


def decode_items(records: Iterable[Any]) -> Decoded:
    """The last state of each item as rows of ITEM_COLUMNS; `message` is null for an item that was withdrawn."""
    rows: dict[str, tuple[Any, ...]] = {}
    refused = 0
    for record in records:
        item = None if record.value is None else _message(record, Item)
        name = item[0].item_id if item else _key(record)
        if name is None or (item is None and record.value is not None):
            refused += 1
        else:
            rows.pop(name, None)  # later ones last
            rows[name] = (name, item[0].model_dump_json(exclude_defaults=True) if item else None)
    return Decoded(_frame(list(rows.values()), ITEM_COLUMNS), _frame([], FORGET_COLUMNS), refused)


_M = TypeVar("_M", bound=Incoming)


def _event(record: Any) -> tuple[Any, ...] | None:
    found = _message(record, InteractionEvent)
    if found is None:
        return None
    event, envelope = found
    user = event.user_id if event.user_id is not None else _key(record)
    try:
        moment = event.timestamp
        if moment is None:
            moment = record.timestamp if envelope.time is None else epoch_ms(envelope.time)
    except ValueError:
        return None
    if user is None or moment < 0:
        return None
    event_id = event.event_id or envelope.event_id or f"{record.topic}-{record.partition}-{record.offset}"
    return (
        event_id, user, event.item_id, event.event_type, event.value, moment, record.timestamp, record.partition,
        record.offset,
    )  # fmt: skip


def _message(record: Any, model: type[_M]) -> tuple[_M, Envelope] | None:
    """The message and its envelope, None where it cannot be read."""
    try:
        envelope = open_envelope(record.headers, record.value) if record.headers else Envelope(record.value)
        message = model.model_validate_json(envelope.data)
    except (ValidationError, MalformedError):
        return None
    return (message, envelope) if message.schema_version <= SCHEMA_VERSION else None


def _key(record: Any) -> str | None:
    try:
        text = (record.key or b"").decode()
    except UnicodeDecodeError:
        return None
    return text if 0 < len(text) <= _LONGEST_ID else None


def _frame(rows: list[tuple[Any, ...]], columns: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=columns, orient="row")
