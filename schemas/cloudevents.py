"""Unwraps CloudEvents 1.0 as the Kafka protocol binding carries them, in binary and in structured mode."""

from collections.abc import Sequence
from typing import NamedTuple

import orjson


class Envelope(NamedTuple):
    """The message proper, and what the envelope says where the message is silent."""

    data: bytes
    event_id: str | None = None
    time: str | None = None


class MalformedError(ValueError):
    """The envelope cannot be opened; the message holds nothing of its content."""


def open_envelope(headers: Sequence[tuple[str, bytes]], value: bytes) -> Envelope:
    """The message inside of `value`; a record that is no CloudEvent is the message itself.

    Raises MalformedError. Source: CloudEvents Kafka protocol binding 1.0, sections 3.2 (binary) and 3.3 (structured).
    """
    named = {name.lower(): content for name, content in headers if content is not None}
    if named.get("content-type", b"").lower().startswith(b"application/cloudevents"):
        return _open_structured(value)
    if "ce_specversion" in named:
        return Envelope(value, _text(named.get("ce_id"), "ce_id"), _text(named.get("ce_time"), "ce_time"))
    return Envelope(value)


def _open_structured(value: bytes) -> Envelope:
    try:
        event = orjson.loads(value)
    except orjson.JSONDecodeError:
        raise MalformedError("the CloudEvent is not JSON") from None
    if not isinstance(event, dict):
        raise MalformedError("the CloudEvent is not an object")
    if not isinstance(event.get("data"), dict):
        raise MalformedError("the CloudEvent has no object as data")
    try:
        data = orjson.dumps(event["data"])
    except orjson.JSONEncodeError:
        raise MalformedError("the data of the CloudEvent is nested too deep") from None
    return Envelope(data, _identifier(event.get("id"), "id"), _string(event.get("time"), "time"))


def _text(content: bytes | None, name: str) -> str | None:
    if content is None:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise MalformedError(f"header {name} is not UTF-8") from None
    return _identifier(text, name) if name == "ce_id" else text


def _identifier(value: object, name: str) -> str | None:
    text = _string(value, name)
    if text is not None and not 1 <= len(text) <= 256:
        raise MalformedError(f"{name} of the CloudEvent is empty or over 256 characters")
    return text


def _string(value: object, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise MalformedError(f"{name} of the CloudEvent is not a text")
