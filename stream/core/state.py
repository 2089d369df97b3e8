"""The per-user state and how it changes. All functions are pure: a state goes in, another comes out.

The support set is held in columns, as the codec stores them: a step touches thousands of users, and an object per event
would cost more than everything else that it does.
"""

from bisect import bisect_right
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple

from schemas import Role
from stream.core.columns import (
    BYTES,
    END,
    ESCAPE,
    actions,
    after_first_varint,
    encode_action,
    gaps_between,
    times,
    varint,
)
from stream.core.events import Event
from stream.core.records import new_tuple
from stream.settings import StateSettings

ITEM_HASH_BYTES = 3
EVENT_ID_HASH_BYTES = 6


class SupportEvent(NamedTuple):
    """One event of a support set."""

    item_id: str
    event_type: str
    value: float | None
    timestamp_ms: int


class UserState(NamedTuple):
    """What is known of one user; columns hold one entry per support event, oldest first.

    `items` are UTF-8 ids, each followed by END; `codes` one byte for what was done; `escapes` what codes cannot say;
    `gaps` the varint milliseconds from each event to the next, one less than events; `last_ms` the time of the newest.
    `seen` (items that left the window) and `event_ids` are rings of hashes, oldest first. Offsets are -1 before the
    first record. `events` counts all events ever applied. `features` is the profile, a flat JSON object, or empty.
    """

    items: bytes = b""
    codes: bytes = b""
    escapes: bytes = b""
    gaps: bytes = b""
    last_ms: int = 0
    seen: bytes = b""
    event_ids: bytes = b""
    interactions_offset: int = -1
    users_offset: int = -1
    events: int = 0
    features: bytes = b""

    @property
    def support(self) -> list[SupportEvent]:
        """The support set, oldest event first."""
        columns = zip(
            self.items.split(END), actions(self.codes, self.escapes), times(self.gaps, self.last_ms), strict=False
        )
        return [SupportEvent(item.decode(), *action, moment) for item, action, moment in columns]


EMPTY = UserState()
"""A user of whom nothing is known."""


class Change(StrEnum):
    """What a record did to the state; the values also name counters."""

    APPLIED = "applied"
    LATE = "late"
    """Applied, and older than the newest event."""
    DUPLICATE = "duplicates"
    """The event id is known: only the offset advanced."""
    REDELIVERED = "redelivered"
    """The offset was applied before: nothing changed."""


def apply_event(state: UserState, event: Event, offset: int, config: StateSettings) -> tuple[UserState, Change]:
    """Fold one event into the state.

    A late event takes its place by time, after those of the same time. When the window is full the oldest event leaves
    and its item is remembered as seen.
    """
    items, codes, escapes, gaps, last_ms, seen, event_ids, applied, users_offset, events, features = state
    if offset <= applied:
        return state, Change.REDELIVERED
    _, item_id, event_type, value, moment, event_id = event
    if event_id is not None and config.event_ids:
        digest = blake2b(event_id.encode(), digest_size=EVENT_ID_HASH_BYTES).digest()
        if _position(event_ids, digest) >= 0:
            return state._replace(interactions_offset=offset), Change.DUPLICATE
        event_ids = (event_ids + digest)[-EVENT_ID_HASH_BYTES * config.event_ids :]
    change = Change.APPLIED
    if moment < last_ms:
        change = Change.LATE
        items, codes, escapes, gaps = _insert(state, event)
    else:
        code, escape = encode_action(event_type, value)
        if codes:
            gaps += varint(moment - last_ms)
        items += item_id.encode() + END
        codes += BYTES[code]
        escapes += escape
        last_ms = moment
    if len(codes) > config.window:
        items, codes, escapes, gaps, seen = _drop_oldest(items, codes, escapes, gaps, seen, config)
    columns = items, codes, escapes, gaps, last_ms, seen, event_ids, offset, users_offset, events + 1, features
    return new_tuple(UserState, columns), change


def apply_profile(state: UserState, features: bytes, offset: int) -> tuple[UserState, Change]:
    """Replace the profile by `features`, a flat JSON object."""
    if offset <= state.users_offset:
        return state, Change.REDELIVERED
    return state._replace(features=features, users_offset=offset), Change.APPLIED


def shrink(state: UserState, config: StateSettings) -> UserState:
    """Let the oldest events leave until the window fits, as after a smaller window was configured."""
    if len(state.codes) <= config.window:
        return state
    items, codes, escapes, gaps, seen = _drop_oldest(
        state.items, state.codes, state.escapes, state.gaps, state.seen, config
    )
    return state._replace(items=items, codes=codes, escapes=escapes, gaps=gaps, seen=seen)


def offset_of(state: UserState, role: Role) -> int:
    """The last applied offset of an input role, -1 before the first; requests leave no trace."""
    if role is Role.INTERACTIONS:
        return state.interactions_offset
    return state.users_offset if role is Role.USERS else -1


def item_hash(item_id: bytes) -> bytes:
    """24 bits that stand for an item in `seen`; a collision hides an innocent item from one user's lists."""
    return blake2b(item_id, digest_size=ITEM_HASH_BYTES).digest()


def _insert(state: UserState, event: Event) -> tuple[bytes, bytes, bytes, bytes]:
    moments = times(state.gaps, state.last_ms)
    at = bisect_right(moments, event.timestamp_ms)
    moments.insert(at, event.timestamp_ms)
    items = state.items.split(END)
    items.insert(at, event.item_id.encode())
    code, escape = encode_action(event.event_type, event.value)
    escapes = state.escapes
    if escape:
        entries = escapes.split(END)
        entries.insert(state.codes.count(ESCAPE, 0, at), escape[:-1])
        escapes = END.join(entries)
    codes = state.codes[:at] + BYTES[code] + state.codes[at:]
    return END.join(items), codes, escapes, gaps_between(moments)


def _drop_oldest(
    items: bytes, codes: bytes, escapes: bytes, gaps: bytes, seen: bytes, config: StateSettings
) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    for _ in range(len(codes) - config.window):
        item, _, items = items.partition(END)
        if codes[0] == ESCAPE:
            escapes = escapes.partition(END)[2]
        codes = codes[1:]
        gaps = after_first_varint(gaps)
        seen = _remember(seen, item_hash(item), config.seen_items)
    return items, codes, escapes, gaps, seen


def _remember(seen: bytes, digest: bytes, most: int) -> bytes:
    if not most:
        return b""
    at = _position(seen, digest)
    if at >= 0:  # an item that left twice keeps one place, the newer
        seen = seen[:at] + seen[at + ITEM_HASH_BYTES :]
    return (seen + digest)[-ITEM_HASH_BYTES * most :]


def _position(ring: bytes, digest: bytes) -> int:
    """Where a ring holds a hash, -1 if it does not; a match across two entries is none."""
    at = ring.find(digest)
    while at >= 0 and at % len(digest):
        at = ring.find(digest, at + 1)
    return at
