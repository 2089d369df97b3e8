"""Folds the records of a poll into the states of their users, in order; decides what is to be published for whom."""

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from schemas import Filters
from stream.core.codec import decode_row
from stream.core.decode import Event, Forget, Profile, Rejection, Request, decode
from stream.core.letters import dead_letter
from stream.core.records import Message, ReadRow, Record
from stream.core.state import EMPTY, Change, UserState, apply_event, apply_profile, offset_of, shrink
from stream.settings import Settings, StateSettings

UserKey = tuple[int, bytes]
"""A user where its events arrive: partition and user id as UTF-8."""


class Origin(NamedTuple):
    """The newest input record of a list; its offset may be one that the stored state includes already."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


class Wanted(NamedTuple):
    """One list to be made."""

    user: UserKey
    state: UserState
    n: int
    filters: Filters | None
    now_ms: int
    origin: Origin


@dataclass(slots=True)
class Folded:
    """A poll after folding. `touched` has the origin of every user whose row and list are due; None: forgotten."""

    states: dict[UserKey, UserState | None] = field(default_factory=dict)
    touched: dict[UserKey, Origin] = field(default_factory=dict)
    requests: list[tuple[UserKey, Request, Origin]] = field(default_factory=list)
    dead_letters: list[Message] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def fold(records: Sequence[Record], read_row: ReadRow, *, settings: Settings, known_items: Container[bytes]) -> Folded:
    """Decode the records and apply them in order. Raises StateError for a stored row that cannot be read.

    `known_items` are the UTF-8 ids of the catalog; they only serve the count of events on other items.
    """
    folded = Folded()
    for record in records:
        decoded = decode(record, settings.limits)
        if isinstance(decoded, Rejection):
            folded.dead_letters.append(dead_letter(record, decoded))
            folded.counts["dead_letters"] += 1
            continue
        if record.key and record.key != decoded.key:
            folded.counts["key_mismatches"] += 1
        user = record.partition, decoded.key
        if user not in folded.states:
            row = read_row(*user)
            folded.states[user] = None if row is None else shrink(decode_row(row, decoded.key), settings.state)
        if isinstance(decoded, Request):
            folded.counts["requests"] += 1
            folded.requests.append((user, decoded, _origin(record, EMPTY)))
            continue
        state: UserState | None
        if isinstance(decoded, Event):
            state = _apply_event(folded, user, decoded, offset=record.offset, config=settings.state)
            folded.counts["unknown_items"] += decoded.item_id.encode() not in known_items
        else:
            state = _apply_other(folded, user, decoded, offset=record.offset)
        folded.states[user] = state
        folded.touched[user] = _origin(record, state or EMPTY)
    return folded


def wanted_lists(folded: Folded, settings: Settings) -> list[Wanted]:
    """One list per touched user who is not forgotten, then one per request, each after all events of its user.

    `now` is event time: the newest of the user's events and the request. Only a user without any event and request is
    given the time of its record.
    """
    wanted = []
    for user, origin in folded.touched.items():
        state = folded.states[user]
        if state is not None:
            now_ms = state.last_ms if state.codes else origin.timestamp_ms
            wanted.append(Wanted(user, state, settings.lists.length, None, now_ms, origin))
    for user, request, origin in folded.requests:
        state = folded.states[user] or EMPTY
        now_ms = max(state.last_ms, request.timestamp_ms)
        n = request.n or settings.lists.length
        wanted.append(Wanted(user, state, n, request.filters, now_ms, origin))
    return wanted


def _apply_event(folded: Folded, user: UserKey, event: Event, *, offset: int, config: StateSettings) -> UserState:
    state, change = apply_event(folded.states[user] or EMPTY, event, offset, config)
    folded.counts["events"] += 1
    if change is not Change.APPLIED:
        folded.counts[change] += 1
    return state


def _apply_other(folded: Folded, user: UserKey, decoded: Profile | Forget, *, offset: int) -> UserState | None:
    if isinstance(decoded, Forget):
        # Whatever offset is stored: a tombstone that comes again must not leave anything of the person behind.
        folded.counts["forgotten"] += 1
        return None
    state, change = apply_profile(folded.states[user] or EMPTY, orjson.dumps(decoded.features), offset)
    folded.counts["profiles"] += 1
    if change is not Change.APPLIED:
        folded.counts[change] += 1
    return state


def _origin(record: Record, state: UserState) -> Origin:
    offset = max(record.offset, offset_of(state, record.role))
    return Origin(record.topic, record.partition, offset, record.timestamp_ms)
