"""Columns of a support set as bytes: what an event was, when, and variable-length integers.

UTF-8 never holds the bytes 0xfe and 0xff, so they separate texts without lengths or escapes.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BYTES = [bytes((number,)) for number in range(256)]
"""Each byte by its number."""
END = b"\xff"
"""Ends every entry of a column of texts."""
ESCAPE = 255
"""The code that says: the next entry of the column `escapes` tells."""
_BEFORE_VALUE = b"\xfe"

# Stored in rows: entries may be added at the end, never moved. Codes 0-31 are types without a value, 32-52 are
# ratings from 0 to 10 in halves, which most services use.
_PLAIN_TYPES = ("view", "click", "like", "dislike", "purchase", "rating", "skip")
_CODES: dict[tuple[str, float | None], int] = {
    **{(name, None): code for code, name in enumerate(_PLAIN_TYPES)},
    **{("rating", half / 2): 32 + half for half in range(21)},
}
_MEANINGS = {code: meaning for meaning, code in _CODES.items()}


def encode_action(event_type: str, value: float | None) -> tuple[int, bytes]:
    """What was done as (code, entry of `escapes`); the entry is empty unless the code is ESCAPE."""
    code = _CODES.get((event_type, value))
    if code is not None:
        return code, b""
    number = b"" if value is None else repr(value).encode()
    return ESCAPE, event_type.encode() + _BEFORE_VALUE + number + END


def actions(codes: bytes, escapes: bytes) -> Iterator[tuple[str, float | None]]:
    """Event type and value of each event, oldest first."""
    told = iter(escapes.split(END))
    for code in codes:
        if code == ESCAPE:
            name, _, number = next(told).partition(_BEFORE_VALUE)
            yield name.decode(), float(number) if number else None
        else:
            yield _MEANINGS[code]


def plain_actions() -> Iterator[tuple[int, str, float | None]]:
    """Every code but ESCAPE with its event type and value."""
    for (event_type, value), code in _CODES.items():
        yield code, event_type, value


def varint(number: int) -> bytes:
    """A non-negative integer, 7 bits a byte, least first; the last byte is below 128."""
    if number < 128:
        return BYTES[number]
    taken = bytearray()
    while number > 127:
        taken.append(number & 127 | 128)
        number >>= 7
    taken.append(number)
    return bytes(taken)


def varints(data: bytes) -> list[int]:
    """The integers that `varint` wrote one after the other."""
    numbers, number, shift = [], 0, 0
    for byte in data:
        number |= (byte & 127) << shift
        if byte < 128:
            numbers.append(number)
            number = shift = 0
        else:
            shift += 7
    return numbers


def unpack_varints(data: bytes) -> NDArray[np.int64]:
    """What `varints` gives, as an array (n,): for the gaps of many users at once."""
    raw = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(raw < 128) + 1
    if not len(ends):
        return np.empty(0, dtype=np.int64)
    starts = np.concatenate([[0], ends[:-1]])
    places = np.arange(len(raw)) - np.repeat(starts, ends - starts)
    return np.add.reduceat((raw & 127).astype(np.int64) << 7 * places, starts)


def after_first_varint(data: bytes) -> bytes:
    """`data` without its first integer."""
    for at, byte in enumerate(data, 1):
        if byte < 128:
            return data[at:]
    return b""


def times(gaps: bytes, last_ms: int) -> list[int]:
    """Event times in milliseconds, oldest first, from the gaps between them and the newest."""
    found = [last_ms]
    for gap in reversed(varints(gaps)):
        found.append(found[-1] - gap)
    return found[::-1]


def gaps_between(moments: Sequence[int]) -> bytes:
    """The reverse of `times`, for ascending moments."""
    return b"".join(varint(later - earlier) for earlier, later in pairwise(moments))
