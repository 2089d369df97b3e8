"""An interaction, and the short way to read one: most events are plain, and the schema takes several times as long."""

from typing import Any, NamedTuple

import orjson

from schemas import SCHEMA_VERSION, epoch_ms
from schemas.base import NEWEST_MS, OLDEST_MS
from stream.core.records import new_tuple
from stream.settings import LimitSettings

LONGEST_ID = 256
_LONGEST_TYPE = 64
_DEEPEST = 200
"""Levels of nesting that the schema's parser reads; orjson reads more."""
_EXACT = 2**53
"""From here on a number may have been rounded, and only the schema's parser knows."""


class Event(NamedTuple):
    """An interaction. `key` is the user id as UTF-8, as in all decoded records; `timestamp_ms` is event time."""

    key: bytes
    item_id: str
    event_type: str
    value: float | None
    timestamp_ms: int
    event_id: str | None


def plain_event(data: bytes, key: bytes | None, timestamp_ms: int, limits: LimitSettings) -> Event | None:
    """The event that `schemas.InteractionEvent` reads from `data`, or None for whatever is not plainly one.

    None is no verdict: the schema decides then, which also knows what is wrong. `key` and `timestamp_ms` are the
    record's and stand in for what the event lacks.
    """
    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if type(fields) is not dict or (len(data) > 2 * _DEEPEST and data.count(b"{") + data.count(b"[") > _DEEPEST):
        return None
    get = fields.get
    item_id, event_type, event_id, value = get("item_id"), get("event_type"), get("event_id"), get("value")
    user = _user(get("user_id"), key)
    moment = _moment(get("timestamp"), timestamp_ms, limits)
    if type(item_id) is int:
        item_id = str(item_id)
    if (
        user is None
        or moment is None
        or type(item_id) is not str
        or not 0 < len(item_id) <= LONGEST_ID
        or event_type not in limits.event_types
        or not 0 < len(event_type) <= _LONGEST_TYPE
        or not (event_id is None or (type(event_id) is str and 0 < len(event_id) <= LONGEST_ID))
        or ("schema_version" in fields and not _is_own_version(fields["schema_version"]))
        or ("context" in fields and not _is_flat(fields["context"]))
    ):
        return None
    if value is not None:
        if (type(value) is not float and type(value) is not int) or not -_EXACT < value < _EXACT:
            return None
        value = float(value)
    return new_tuple(Event, (user, item_id, event_type, value, moment, event_id))


def _user(user_id: Any, key: bytes | None) -> bytes | None:
    if type(user_id) is str:
        return user_id.encode() if 0 < len(user_id) <= LONGEST_ID else None
    return key if user_id is None and key and len(key) <= LONGEST_ID and key.isascii() else None


def _moment(given: Any, timestamp_ms: int, limits: LimitSettings) -> int | None:
    if given is None:
        return timestamp_ms if 0 <= timestamp_ms <= NEWEST_MS else None
    if type(given) is int and OLDEST_MS <= given <= NEWEST_MS:  # what `epoch_ms` would give, and most often
        moment = given
    else:
        try:
            moment = epoch_ms(given)
        except ValueError:
            return None
    ahead = timestamp_ms >= 0 and moment > timestamp_ms + limits.future_skew_s * 1000
    return None if ahead else moment


def _is_own_version(version: Any) -> bool:
    return type(version) is int and 1 <= version <= SCHEMA_VERSION


def _is_flat(context: Any) -> bool:
    return type(context) is dict and all(
        type(one) is str or type(one) is bool or ((type(one) is int or type(one) is float) and -_EXACT < one < _EXACT)
        for one in context.values()
    )
