"""The worker, slow and obvious: one dictionary of people, one record at a time.

It says what rows, lists, dead letters and counts a sequence of records has to give. It shares no code with what it
judges but the settings, the codec's view of a row (`decode_row`), and the graphs of the bundle.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

from reference.reading import RefusedError, read

from schemas import Role
from stream.core.codec import decode_row
from stream.core.records import Record
from stream.core.state import UserState
from stream.settings import Settings

UserKey = tuple[int, bytes]
"""A user where its events arrive: partition and user id as UTF-8."""


@dataclass
class Person:
    """What is known of one user; `events` are (time, item, type, value) in the order of time."""

    events: list[tuple[int, str, str, float | None]] = field(default_factory=list)
    event_ids: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    profile: dict[str, Any] | None = None
    n_events: int = 0
    offsets: dict[Role, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ExpectedList:
    """A list that has to be published, by what it has to be made from."""

    user: UserKey
    person: Person
    n: int
    filters: dict[str, Any]
    now_ms: int
    source: tuple[str, int, int]


@dataclass
class Expected:
    """What one poll has to give."""

    rows: dict[UserKey, Person | None] = field(default_factory=dict)
    lists: list[ExpectedList] = field(default_factory=list)
    letters: list[tuple[int, int, str]] = field(default_factory=list)
    """Partition, offset and reason."""
    counts: Counter[str] = field(default_factory=Counter)


class Reference:
    """Keeps everybody in one dictionary; `known_items` are the ids of the catalog."""

    def __init__(self, settings: Settings, known_items: Iterable[str]) -> None:
        self.settings, self.known_items = settings, frozenset(known_items)
        self.people: dict[UserKey, Person] = {}

    def take(self, records: Sequence[Record]) -> Expected:
        """Apply one poll, record by record, then make the lists: of everybody touched, and of every request."""
        expected = Expected()
        touched: dict[UserKey, tuple[Record, int]] = {}
        requests: list[tuple[UserKey, dict[str, Any], Record]] = []
        for record in records:
            try:
                kind, key, fields = read(record, self.settings.limits)
            except RefusedError as refused:
                expected.letters.append((record.partition, record.offset, str(refused)))
                continue
            expected.counts["key_mismatches"] += bool(record.key) and record.key != key
            user = record.partition, key
            if kind == "request":
                requests.append((user, fields, record))
                continue
            self._apply(kind, user, fields, record, counts=expected.counts)
            offset = self.people[user].offsets[record.role] if user in self.people else record.offset
            touched[user] = record, offset
        expected.rows = {user: self.people.get(user) for user in touched}
        expected.lists = [
            *(self._list(user, *newest) for user, newest in touched.items() if user in self.people),
            *(self._answer(*request) for request in requests),
        ]
        expected.counts.update(dead_letters=len(expected.letters), requests=len(requests), lists=len(expected.lists))
        return expected

    def _apply(self, kind: str, user: UserKey, fields: dict[str, Any], record: Record, *, counts: Counter[str]) -> None:
        counts[{"event": "events", "profile": "profiles", "forget": "forgotten"}[kind]] += 1
        if kind == "forget":
            self.people.pop(user, None)
            return
        # A copy: whoever holds a person of before, holds it unchanged.
        person = self.people[user] = _copied(self.people.get(user, Person()))
        if kind == "event":
            counts["unknown_items"] += str(fields["item_id"]) not in self.known_items
        if record.offset <= person.offsets.get(record.role, -1):
            counts["redelivered"] += 1
            return
        person.offsets[record.role] = record.offset
        if kind == "profile":
            person.profile = fields
        else:
            counts.update(self._happen(person, fields))

    def _happen(self, person: Person, fields: dict[str, Any]) -> list[str]:
        """One event that was not delivered before; gives the counters that it adds to."""
        config = self.settings.state
        if fields.get("event_id") is not None and config.event_ids:
            if str(fields["event_id"]) in person.event_ids:
                return ["duplicates"]
            person.event_ids = [*person.event_ids, str(fields["event_id"])][-config.event_ids :]
        late = bool(person.events) and fields["timestamp"] < person.events[-1][0]
        person.n_events += 1
        person.events.append((fields["timestamp"], str(fields["item_id"]), fields["event_type"], fields.get("value")))
        person.events.sort(key=lambda event: event[0])  # stable: of equal times, the one that came later stays later
        while len(person.events) > config.window:
            item = person.events.pop(0)[1]
            person.seen = [one for one in person.seen if one != item] + [item]
        person.seen = person.seen[-config.seen_items :] if config.seen_items else []
        return ["late"] if late else []

    def _list(self, user: UserKey, record: Record, offset: int) -> ExpectedList:
        person = self.people[user]
        now_ms = person.events[-1][0] if person.events else record.timestamp_ms
        source = record.topic, record.partition, offset
        return ExpectedList(user, person, self.settings.lists.length, {}, now_ms, source)

    def _answer(self, user: UserKey, request: dict[str, Any], record: Record) -> ExpectedList:
        person = self.people.get(user, Person())
        now_ms = max([request["timestamp"], *(event[0] for event in person.events[-1:])])
        n = request.get("n") or self.settings.lists.length
        source = record.topic, record.partition, record.offset
        return ExpectedList(user, person, n, request.get("filters", {}), now_ms, source)


def _copied(one: Person) -> Person:
    """One that changes by itself; what its lists hold never changes."""
    return replace(one, events=[*one.events], event_ids=[*one.event_ids], seen=[*one.seen], offsets={**one.offsets})


def same_person(state: UserState, person: Person) -> bool:
    """True if a stored state says of a user exactly what the reference does."""
    return (
        [(event.timestamp_ms, event.item_id, event.event_type, event.value) for event in state.support] == person.events
        and state.event_ids == b"".join(digest(one, 6) for one in person.event_ids)
        and state.seen == b"".join(digest(item, 3) for item in person.seen)
        and (json.loads(state.features) if state.features else None) == person.profile
        and state.events == person.n_events
        and state.interactions_offset == person.offsets.get(Role.INTERACTIONS, -1)
        and state.users_offset == person.offsets.get(Role.USERS, -1)
    )


def wrong_rows(settings: Settings, records: Sequence[Record], rows: Mapping[bytes, bytes | None]) -> list[bytes]:
    """Users whose rows are not what the reference makes of all records, each of which came once."""
    reference = Reference(settings, ())
    reference.take(records)
    people = {key: person for (_, key), person in reference.people.items()}
    kept = {key: row for key, row in rows.items() if row is not None}
    return [
        key
        for key in people.keys() | kept.keys()
        if key not in people or key not in kept or not same_person(decode_row(kept[key], key), people[key])
    ]


def digest(text: str, size: int) -> bytes:
    """The bytes that stand for an id in a ring of a row."""
    return blake2b(text.encode(), digest_size=size).digest()
