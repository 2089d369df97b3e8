"""Sends dead letters again, each once.

A copy goes to the partition where the record was refused, and carries that offset in a header. Which records were sent
again is read from the source topics themselves, from the oldest refused one on: so there is no other bookkeeping that
could be lost, or be ahead of or behind what was sent, when a run is ended in its middle. A record that has two letters,
because a worker died and refused it again, is sent once too.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from schemas import TOPICS, KafkaSettings, Role, topic_name
from stream.cli.dead_letters_read import REDRIVEN_HEADER, Letter
from stream.clients.connect import open_producer
from stream.clients.whole_topic import WholeTopic
from stream.core.decode import Refusal

_INPUTS = (Role.INTERACTIONS, Role.REQUESTS, Role.USERS)


class Fate(StrEnum):
    """What becomes of a letter in a redrive."""

    SENT = "sent"
    ALREADY = "already-sent"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    LOST = "lost"
    FOREIGN = "foreign"


Place = tuple[str, int, int]
"""Topic, partition and offset."""


class _Source(NamedTuple):
    """What the source topics say: first offsets, what was sent again, the refused records, the newest of each key."""

    first: dict[tuple[str, int], int]
    redriven: set[tuple[str, bytes]]
    originals: dict[Place, Any]
    newest: dict[tuple[str, int, bytes | None], int]


def redrive_letters(kafka: KafkaSettings, letters: Sequence[Letter], *, dry_run: bool) -> list[tuple[Letter, Fate]]:
    """Send those that can be sent, oldest first in each partition, back to the partition they came from.

    That is where the state of their users lives. A copy that is refused makes a letter of its own, which the next run
    sends. Raises BrokerError; what was sent until then is not sent again.
    """
    compacted = {topic_name(role, kafka.topic_prefix): TOPICS[role].cleanup == "compact" for role in _INPUTS}
    ordered = sorted(letters, key=lambda letter: letter.source or ("", 0, 0))
    source = _read_source(kafka, [letter.source for letter in ordered if letter.source], compacted)
    fates, due = [], []
    for letter in ordered:
        fate = _fate(letter, source, compacted)
        if fate is Fate.SENT and letter.source is not None:
            due.append((letter, letter.source))
            source.redriven.add((letter.source[0], _mark(letter.source)))
        fates.append((letter, fate))
    if not dry_run:
        _send(kafka, due, source.originals)
    return fates


def _mark(place: Place) -> bytes:
    """The content of REDRIVEN_HEADER."""
    return b"%d:%d" % place[1:]


def _read_source(kafka: KafkaSettings, places: Sequence[Place], compacted: dict[str, bool]) -> _Source:
    source = _Source({}, set(), {}, {})
    wanted = set(places)
    for topic in {topic for topic, _, _ in places} & compacted.keys():
        starts: dict[int, int] = {}
        for _, partition, offset in (place for place in places if place[0] == topic):
            starts[partition] = min(offset, starts.get(partition, offset))
        whole = WholeTopic(kafka, topic, starts)
        for record in whole:
            source.redriven.update((topic, content) for name, content in record.headers if name == REDRIVEN_HEADER)
            if (topic, record.partition, record.offset) in wanted:
                source.originals[topic, record.partition, record.offset] = record
            if compacted[topic]:
                source.newest[topic, record.partition, record.key] = record.offset
        source.first.update({(topic, partition): offset for partition, offset in whole.first.items()})
    return source


def _fate(letter: Letter, source: _Source, compacted: dict[str, bool]) -> Fate:
    if letter.source is None or letter.source[0] not in compacted:
        return Fate.FOREIGN
    topic, partition, offset = letter.source
    if (topic, _mark(letter.source)) in source.redriven:
        return Fate.ALREADY
    if source.newest.get((topic, partition, letter.key), -1) > offset:
        return Fate.SUPERSEDED
    if source.first.get((topic, partition), 0) > offset + 1:
        return Fate.EXPIRED
    if letter.is_reference and letter.source not in source.originals:
        return Fate.LOST
    return Fate.SENT


def _send(kafka: KafkaSettings, due: Sequence[tuple[Letter, Place]], originals: Mapping[Place, Any]) -> None:
    with open_producer(kafka) as producer:
        sent = []
        for letter, place in due:
            original = originals.get(place)
            key, value = (
                (original.key, original.value) if original and letter.is_reference else (letter.key, letter.value)
            )
            # An event without a time of its own happened when it was sent first. One from the future keeps none: it is
            # to be judged by the time at which it is sent again.
            moment = original.timestamp if original and letter.reason != Refusal.FUTURE else None
            headers = [*letter.headers, (REDRIVEN_HEADER, _mark(place))]
            topic, partition, _ = place
            sent.append(
                producer.send(topic, key=key, value=value, headers=headers, partition=partition, timestamp_ms=moment)
            )
        for future in sent:
            future.get(timeout=kafka.request_timeout_s)
