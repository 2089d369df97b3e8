"""The row of a user as changelog and local store hold it: a header, a checksum, and the columns of the state."""

from hashlib import sha256
from struct import Struct
from zlib import crc32

from schemas.errors import StateError
from stream.core.records import new_tuple
from stream.core.state import UserState

ROW_VERSION = 1
"""Format of the rows that this build writes, and the newest that it reads."""

# version, checksum of all that follows it | last_ms, two offsets, events | lengths: items, escapes, codes, gaps, seen,
# event_ids; the features take the rest.
_HEAD = Struct("<BI")
_FIXED = Struct("<QqqIIIHHHH")
_COLUMNS_AT = _HEAD.size + _FIXED.size


def encode(state: UserState) -> bytes:
    """The row of a state; equal states give equal bytes."""
    items, codes, escapes, gaps, last_ms, seen, event_ids, interactions, users, events, features = state
    fixed = _FIXED.pack(
        last_ms,
        interactions,
        users,
        events,
        len(items),
        len(escapes),
        len(codes),
        len(gaps),
        len(seen),
        len(event_ids),
    )
    body = b"".join((fixed, items, codes, escapes, gaps, seen, event_ids, features))
    return _HEAD.pack(ROW_VERSION, crc32(body)) + body


def decode_row(row: bytes, key: bytes) -> UserState:
    """The state that `encode` wrote; `key` only serves the message of an error, as a hash.

    Raises StateError for a row of a newer version and for one that is damaged.
    """
    if row[:1] > bytes((ROW_VERSION,)):
        raise StateError(
            f"{_name(key)} has row format {row[0]}, this build reads {ROW_VERSION}: start the newer build again"
        )
    if (
        len(row) < _COLUMNS_AT
        or row[0] != ROW_VERSION
        or crc32(memoryview(row)[_HEAD.size :]) != _HEAD.unpack_from(row)[1]
    ):
        raise StateError(
            f"{_name(key)} is damaged ({len(row)} bytes): stop the worker, delete its state.data_dir and start it, "
            "so that the state is rebuilt from the changelog"
        )
    last_ms, interactions, users, events, items, escapes, codes, gaps, seen, ids = _FIXED.unpack_from(row, _HEAD.size)
    codes_at = _COLUMNS_AT + items
    escapes_at = codes_at + codes
    gaps_at = escapes_at + escapes
    seen_at = gaps_at + gaps
    ids_at = seen_at + seen
    features_at = ids_at + ids
    columns = (
        row[_COLUMNS_AT:codes_at],
        row[codes_at:escapes_at],
        row[escapes_at:gaps_at],
        row[gaps_at:seen_at],
        last_ms,
        row[seen_at:ids_at],
        row[ids_at:features_at],
        interactions,
        users,
        events,
        row[features_at:],
    )
    return new_tuple(UserState, columns)


def _name(key: bytes) -> str:
    return f"the row of user sha256:{sha256(key).hexdigest()[:16]}"
