"""Folds the records of a poll into the states of their users, in order; decides what is to be published for whom."""

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from schemas import Filters
from stream.core.codec import decode_row, encode
from stream.core.decode import Decoded, Forget, Profile, Rejection, Request, decode
from stream.core.events import Event
from stream.core.letters import dead_letter
from stream.core.records import Message, ReadRow, Record, new_tuple
from stream.core.state import EMPTY, Change, UserState, apply_event, apply_profile, offset_of, shrink
from stream.settings import LimitSettings, Settings

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
    """A poll after folding. `touched` has the newest record of every user whose row and list are due.

    A state of None: forgotten, or nothing known yet.
    """

    states: dict[UserKey, UserState | None] = field(default_factory=dict)
    touched: dict[UserKey, Record] = field(default_factory=dict)
    requests: list[tuple[UserKey, Request, Record]] = field(default_factory=list)
    dead_letters: list[Message] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def fold(records: Sequence[Record], read_row: ReadRow, *, settings: Settings, known_items: Container[bytes]) -> Folded:
    """Decode the records and apply them in order. Raises StateError for a stored row that cannot be read.

    `known_items` are the UTF-8 ids of the catalog; they only serve the count of events on other items.
    """
    folded, kept = Folded(), settings.state
    states, touched = folded.states, folded.touched
    events = unknown = mismatches = 0
    for record, decoded in zip(records, decode_all(records, settings.limits), strict=True):
        if isinstance(decoded, Rejection):
            folded.dead_letters.append(dead_letter(record, decoded))
            continue
        _, _, partition, offset, _, key, _, _ = record
        owner = decoded.key
        if key != owner and key:
            mismatches += 1
        user = partition, owner
        state = states.get(user)
        if state is None and user not in states:
            row = read_row(partition, owner)
            state = None if row is None else shrink(decode_row(row, owner), kept)
        if isinstance(decoded, Event):
            events += 1
            unknown += decoded.item_id.encode() not in known_items
            state, change = apply_event(state or EMPTY, decoded, offset, kept)
            if change is not Change.APPLIED:
                folded.counts[change] += 1
        elif isinstance(decoded, Request):
            folded.requests.append((user, decoded, record))
            states[user] = state
            continue
        else:
            state = _apply_other(folded, state, decoded, offset=offset)
        states[user] = state
        touched[user] = record
    asked, refused = len(folded.requests), len(folded.dead_letters)
    folded.counts.update(
        events=events, unknown_items=unknown, key_mismatches=mismatches, requests=asked, dead_letters=refused
    )
    return folded


def decode_all(records: Sequence[Record], limits: LimitSettings) -> list[Decoded]:
    """What each record asks for, in order."""
    return [decode(record, limits) for record in records]


def wanted_lists(folded: Folded, settings: Settings) -> list[Wanted]:
    """One list per touched user who is not forgotten, then one per request, each after all events of its user.

    `now` is event time: the newest of the user's events and the request. Only a user without any event and request is
    given the time of its record.
    """
    wanted = []
    length = settings.lists.length
    for user, record in folded.touched.items():
        state = folded.states[user]
        if state is not None:
            now_ms = state.last_ms if state.codes else record.timestamp_ms
            wanted.append(new_tuple(Wanted, (user, state, length, None, now_ms, _origin(record, state))))
    for user, request, record in folded.requests:
        state = folded.states[user] or EMPTY
        now_ms = max(state.last_ms, request.timestamp_ms)
        n = request.n or length
        wanted.append(Wanted(user, state, n, request.filters, now_ms, _origin(record, EMPTY)))
    return wanted


def encode_rows(folded: Folded) -> list[Message]:
    """The row of each touched user, a null value for one who is forgotten."""
    states = folded.states
    return [
        new_tuple(Message, (*user, None if state is None else encode(state), ()))
        for user in folded.touched
        for state in (states[user],)
    ]


def _apply_other(
    folded: Folded, state: UserState | None, decoded: Profile | Forget, *, offset: int
) -> UserState | None:
    if isinstance(decoded, Forget):
        # Whatever offset is stored: a tombstone that comes again must not leave anything of the person behind.
        folded.counts["forgotten"] += 1
        return None
    state, change = apply_profile(state or EMPTY, orjson.dumps(decoded.features), offset)
    folded.counts["profiles"] += 1
    if change is not Change.APPLIED:
        folded.counts[change] += 1
    return state


def _origin(record: Record, state: UserState) -> Origin:
    role, topic, partition, offset, timestamp_ms, _, _, _ = record
    return new_tuple(Origin, (topic, partition, max(offset, offset_of(state, role)), timestamp_ms))
