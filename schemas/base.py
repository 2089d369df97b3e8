"""What all wire models share: immutability, strictness by direction, ids and timestamps."""

from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

SCHEMA_VERSION = 1
"""Version of every message that this build writes, and the newest that it reads."""

# 1973-03-03 in milliseconds; as seconds it is the year 5138. Anything below is a timestamp in seconds.
OLDEST_MS = 100_000_000_000
# The last millisecond that RFC 3339 can write, 9999-12-31T23:59:59.999Z; microseconds since 1978 lie beyond it.
NEWEST_MS = 253_402_300_799_999


class Incoming(BaseModel):
    """A message that others write: unknown fields are ignored, so that producers may run ahead of us."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    schema_version: Annotated[int, Field(ge=1, description="Version of this schema; newer ones are refused")] = 1


class Outgoing(BaseModel):
    """A message that we write: unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Annotated[int, Field(ge=1, le=SCHEMA_VERSION)] = SCHEMA_VERSION


def epoch_ms(value: Any) -> int:
    """Read an RFC 3339 text or epoch milliseconds as epoch milliseconds (UTC).

    Raises ValueError for a text without an offset, a number that looks like seconds or microseconds, or anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("expected RFC 3339 text or epoch milliseconds")
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:  # its message quotes the text, which has no place in a dead letter's header
            raise ValueError("not an RFC 3339 text") from None
        if moment.tzinfo is None:
            raise ValueError("RFC 3339 text needs an offset, such as 2026-01-31T12:00:00Z")
        value = moment.timestamp() * 1000
    if isinstance(value, float) and not isfinite(value):
        raise ValueError("not a finite number")
    milliseconds = int(round(value))  # noqa: RUF046 - round() is untyped for the union
    if milliseconds < OLDEST_MS:
        raise ValueError("before 1973: epoch milliseconds are expected, this looks like seconds")
    if milliseconds > NEWEST_MS:
        raise ValueError("beyond the year 9999: epoch milliseconds are expected, this looks like a finer unit")
    return milliseconds


def rfc3339(milliseconds: int) -> str:
    """Write epoch milliseconds as RFC 3339 text in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


Timestamp = Annotated[
    int,
    BeforeValidator(epoch_ms),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": "date-time"}, {"type": "integer", "minimum": OLDEST_MS}],
            "description": "RFC 3339 text or epoch milliseconds",
        }
    ),
]
Identifier = Annotated[str, Field(min_length=1, max_length=256)]


def _identifier(value: Any) -> Any:
    return str(value) if type(value) is int else value


IncomingIdentifier = Annotated[
    Identifier,
    BeforeValidator(_identifier),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "minLength": 1, "maxLength": 256}, {"type": "integer"}]},
    ),
]
"""An id as producers write it: text, or an integer that is read as its decimal text."""

Scalar = bool | int | float | str
Flat = dict[str, Scalar]
"""A flat object: names to texts and numbers."""
