"""Reads a record as the contract says, with nothing but the standard library: the reference's own eyes."""

import json
from datetime import datetime
from typing import Any

from schemas import SCHEMA_VERSION, Role
from stream.core.records import Record
from stream.settings import LimitSettings

OLDEST_MS = 100_000_000_000
NEWEST_MS = 253_402_300_800_000


class RefusedError(Exception):
    """The record becomes a dead letter for this reason."""


def read(record: Record, limits: LimitSettings) -> tuple[str, bytes, dict[str, Any]]:
    """What a record is (event, request, profile, forget), of whom, and its fields; raises RefusedError.

    It knows plain JSON messages, not CloudEvents, and takes no text for a number.
    """
    if any(part is not None and len(part) > limits.event_bytes for part in (record.value, record.key)):
        raise RefusedError("too-large")
    if record.value is None:
        if record.role is Role.REQUESTS:
            raise RefusedError("malformed")
        if not record.key:
            raise RefusedError("no-key")
        return "forget", _user({}, record), {}
    fields = _object(record.value)
    if fields.get("schema_version", 1) > SCHEMA_VERSION:
        raise RefusedError("newer-schema")
    if record.role is Role.USERS:
        return "profile", _user(fields, record), fields.get("features", {})
    if record.role is Role.INTERACTIONS:
        _require(isinstance(fields.get("item_id"), str | int) and 0 < len(str(fields["item_id"])) <= 256)
        _require(isinstance(fields.get("event_type"), str) and 0 < len(fields["event_type"]) <= 64)
        _require(isinstance(fields.get("value"), int | float | None))
        if fields["event_type"] not in limits.event_types:
            raise RefusedError("unknown-event-type")
    moment = _moment(fields.get("timestamp"), record, limits)
    kind = "event" if record.role is Role.INTERACTIONS else "request"
    return kind, _user(fields, record), fields | {"timestamp": moment}


def _object(value: bytes) -> dict[str, Any]:
    try:
        found = json.loads(value.decode())
    except ValueError:
        raise RefusedError("malformed") from None
    if not isinstance(found, dict):
        raise RefusedError("malformed")
    return found


def _user(fields: dict[str, Any], record: Record) -> bytes:
    if fields.get("user_id") is not None:
        return str(fields["user_id"]).encode()
    if not record.key:
        raise RefusedError("no-user")
    try:
        text = record.key.decode()
    except ValueError:
        raise RefusedError("bad-key") from None
    if len(text) > 256:
        raise RefusedError("bad-key")
    return record.key


def _moment(given: Any, record: Record, limits: LimitSettings) -> int:
    if given is None:
        return record.timestamp_ms
    if isinstance(given, str):
        try:
            given = round(datetime.fromisoformat(given).timestamp() * 1000)
        except ValueError:
            raise RefusedError("invalid") from None
    _require(OLDEST_MS <= given < NEWEST_MS)
    if given > record.timestamp_ms + limits.future_skew_s * 1000:
        raise RefusedError("future")
    return int(given)


def _require(holds: bool) -> None:
    if not holds:
        raise RefusedError("invalid")
