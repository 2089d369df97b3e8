"""Reads a raw record as what it asks for, or says why it cannot be read. No bytes make it raise."""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from schemas import (
    SCHEMA_VERSION,
    Filters,
    Flat,
    Incoming,
    InteractionEvent,
    RecommendationRequest,
    Role,
    UserProfile,
    epoch_ms,
)
from schemas.base import NEWEST_MS
from schemas.cloudevents import Envelope, MalformedError, open_envelope
from stream.core.events import LONGEST_ID, Event, plain_event
from stream.core.records import Record
from stream.settings import LimitSettings


class Refusal(StrEnum):
    """Why a record became a dead letter."""

    TOO_LARGE = "too-large"
    """Key or value over `limits.event_bytes`; found before anything is parsed."""
    MALFORMED = "malformed"
    """Not UTF-8, not JSON, not an object, nested too deep, or a number that no parser holds."""
    INVALID = "invalid"
    """A field is missing or of the wrong type, a number is not finite, a timestamp cannot be read."""
    NEWER_SCHEMA = "newer-schema"
    """`schema_version` is above what this build reads: upgrade, then redrive."""
    NO_USER = "no-user"
    """Neither key nor `user_id`."""
    NO_KEY = "no-key"
    """A null value without a key: nobody to forget."""
    BAD_KEY = "bad-key"
    """The key has to name the user and is not UTF-8 or over 256 characters."""
    UNKNOWN_EVENT_TYPE = "unknown-event-type"
    """Not in `limits.event_types`."""
    FUTURE = "future"
    """Event time ahead of the record's by more than `limits.future_skew_s`."""


class Request(NamedTuple):
    """A list is wanted; `n` is None for the worker's default."""

    key: bytes
    n: int | None
    filters: Filters
    timestamp_ms: int


class Profile(NamedTuple):
    """What is known of the user from now on."""

    key: bytes
    features: Flat


class Forget(NamedTuple):
    """The user wants to be forgotten."""

    key: bytes


class Rejection(NamedTuple):
    """The record becomes a dead letter. `detail` is one line and holds nothing of the payload's content."""

    reason: Refusal
    detail: str


Decoded = Event | Request | Profile | Forget | Rejection


def decode(record: Record, limits: LimitSettings) -> Decoded:
    """Read one record of an input role; a key that contradicts the value's `user_id` gives way to it."""
    role, _, _, _, timestamp_ms, key, value, headers = record
    most = limits.event_bytes
    if (value is not None and len(value) > most) or (key is not None and len(key) > most):
        return _too_large(record, most)
    if value is None:
        return _decode_null(record)
    if role is Role.INTERACTIONS and not headers:
        event = plain_event(value, key, timestamp_ms, limits)
        if event is not None:
            return event
    try:
        envelope = open_envelope(headers, value) if headers else Envelope(value)
        return _DECODERS[role](record, envelope, limits)
    except ValidationError as error:
        return _rejection_of(error, envelope.data)
    except MalformedError as error:
        return Rejection(Refusal.MALFORMED, str(error))
    except _RejectedError as error:
        return error.rejection


class _RejectedError(Exception):
    def __init__(self, reason: Refusal, detail: str) -> None:
        super().__init__(detail)
        self.rejection = Rejection(reason, detail)


def _too_large(record: Record, most: int) -> Rejection:
    part, size = next(
        (part, len(data))
        for part, data in (("value", record.value), ("key", record.key))
        if data is not None and len(data) > most
    )
    return Rejection(Refusal.TOO_LARGE, f"{part}: {size} bytes, limits.event_bytes is {most}")


def _decode_null(record: Record) -> Decoded:
    if record.role is Role.REQUESTS:
        return Rejection(Refusal.MALFORMED, "a null value is no request")
    if not record.key:
        return Rejection(Refusal.NO_KEY, "a null value forgets the user named by the key, and there is no key")
    try:
        return Forget(_user_key(None, record.key))
    except _RejectedError as error:
        return error.rejection


def _decode_event(record: Record, envelope: Envelope, limits: LimitSettings) -> Event:
    event = _supported(InteractionEvent.model_validate_json(envelope.data))
    if event.event_type not in limits.event_types:
        raise _RejectedError(Refusal.UNKNOWN_EVENT_TYPE, "event_type: not one of limits.event_types")
    event_id = envelope.event_id if event.event_id is None else event.event_id
    moment = _moment(event.timestamp, envelope, record, limits)
    return Event(_user_key(event.user_id, record.key), event.item_id, event.event_type, event.value, moment, event_id)


def _decode_request(record: Record, envelope: Envelope, limits: LimitSettings) -> Request:
    request = _supported(RecommendationRequest.model_validate_json(envelope.data))
    moment = _moment(request.timestamp, envelope, record, limits)
    return Request(_user_key(request.user_id, record.key), request.n, request.filters, moment)


def _decode_profile(record: Record, envelope: Envelope, limits: LimitSettings) -> Profile:
    profile = _supported(UserProfile.model_validate_json(envelope.data))
    if any(type(value) is int and not -(2**63) <= value < 2**63 for value in profile.features.values()):
        raise _RejectedError(Refusal.INVALID, "features: a whole number that 64 bits do not hold")
    return Profile(_user_key(profile.user_id, record.key), profile.features)


_DECODERS: dict[Role, Callable[[Record, Envelope, LimitSettings], Event | Request | Profile]] = {
    Role.INTERACTIONS: _decode_event,
    Role.REQUESTS: _decode_request,
    Role.USERS: _decode_profile,
}


_M = TypeVar("_M", bound=Incoming)


def _supported(message: _M) -> _M:
    if message.schema_version > SCHEMA_VERSION:
        raise _RejectedError(Refusal.NEWER_SCHEMA, f"schema_version: this build reads up to {SCHEMA_VERSION}")
    return message


def _user_key(user_id: str | None, key: bytes | None) -> bytes:
    if user_id is not None:
        return user_id.encode()
    if not key:
        raise _RejectedError(Refusal.NO_USER, "user_id: missing, and the record has no key")
    try:
        text = key.decode()
    except UnicodeDecodeError:
        raise _RejectedError(Refusal.BAD_KEY, "key: not UTF-8, and the value has no user_id") from None
    if len(text) > LONGEST_ID:
        raise _RejectedError(Refusal.BAD_KEY, f"key: over {LONGEST_ID} characters, and the value has no user_id")
    return key


def _moment(given: int | None, envelope: Envelope, record: Record, limits: LimitSettings) -> int:
    """Event time: the value's, else the envelope's, else the record's."""
    moment = given
    if moment is None and envelope.time is not None:
        try:
            moment = epoch_ms(envelope.time)
        except ValueError as error:
            raise _RejectedError(Refusal.INVALID, f"time of the CloudEvent: {error}") from None
    if moment is None:
        if not 0 <= record.timestamp_ms <= NEWEST_MS:
            raise _RejectedError(Refusal.INVALID, "timestamp: missing, and the record has none that can be read")
        return record.timestamp_ms
    # A record without a timestamp (-1, message format 0) gives nothing to compare with.
    if record.timestamp_ms >= 0 and moment > record.timestamp_ms + limits.future_skew_s * 1000:
        raise _RejectedError(Refusal.FUTURE, f"timestamp: over {limits.future_skew_s:g} s ahead of the record's")
    return moment


class _Version(BaseModel):
    schema_version: int


def _rejection_of(error: ValidationError, data: bytes) -> Rejection:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if not first["loc"]:
        return Rejection(Refusal.MALFORMED, _one_line(first["msg"]))
    try:
        newer = _Version.model_validate_json(data).schema_version > SCHEMA_VERSION
    except ValidationError:
        newer = False
    if newer:
        return Rejection(Refusal.NEWER_SCHEMA, f"schema_version: this build reads up to {SCHEMA_VERSION}")
    # Names below a flat object are the sender's data, not ours: they stay out of the detail.
    depth = 1 if first["loc"][0] in ("context", "features") else 2
    where = ".".join(str(part) for part in first["loc"][:depth])
    return Rejection(Refusal.INVALID, _one_line(f"{where}: {first['msg']}"))


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:200]
