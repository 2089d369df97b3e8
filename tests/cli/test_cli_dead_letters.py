"""`fewstep dead-letters`: what was refused can be looked at, and sent again once, to where it came from."""

import json
from typing import Any

import pytest
from command_line import Run
from kafka import TopicPartition

from schemas import Role, topic_name
from stream.clients.connect import open_admin, open_producer
from stream.clients.whole_topic import WholeTopic
from stream.core.decode import Event, Rejection, decode
from stream.core.letters import dead_letter
from stream.core.records import Record
from stream.settings import LimitSettings, Settings

SENT_MS = 1_700_000_000_000
STRICT = LimitSettings(event_bytes=256)
GOOD = b'{"item_id":"i1","event_type":"view"}'
DANCE = b'{"item_id":"i1","event_type":"dance"}'
LONG = GOOD.ljust(300)


def send(settings: Settings, topic: str, value: bytes | None, **fields: Any) -> int:
    with open_producer(settings.kafka) as producer:
        sent = producer.send(topic, value=value, key=fields.pop("key", b"ann"), **fields).get(timeout=20)
    offset: int = sent.offset
    return offset


def refuse(settings: Settings, value: bytes, role: Role = Role.INTERACTIONS, *, letters: int = 1, **fields: Any) -> int:
    """Send a record as a producer does and refuse it as the worker does; gives its offset."""
    topic = topic_name(role, settings.kafka.topic_prefix)
    fields = {"partition": 2, "timestamp_ms": SENT_MS, "headers": [("trace", b"t1")]} | fields
    offset = send(settings, topic, value, **fields)
    record = Record(role, topic, fields["partition"], offset, SENT_MS, b"ann", value, fields["headers"])
    rejection = decode(record, STRICT)
    assert isinstance(rejection, Rejection)
    letter = dead_letter(record, rejection)
    for _ in range(letters):
        send(
            settings, topic_name(Role.DEAD_LETTERS, settings.kafka.topic_prefix), letter.value, key=letter.key,
            headers=list(letter.headers),
        )  # fmt: skip
    return offset


def source(settings: Settings, role: Role = Role.INTERACTIONS) -> list[Any]:
    return list(WholeTopic(settings.kafka, topic_name(role, settings.kafka.topic_prefix)))


def redrive(fewstep: Run, at: list[str], *flags: str) -> dict[str, int]:
    done = fewstep("dead-letters", "redrive", "--json", *flags, *at)
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return {name: count for name, count in found.items() if count}


def test_letters_are_listed_with_reason_source_time_and_size(fewstep: Run, created: Settings, at: list[str]) -> None:
    first, second = refuse(created, b"{"), refuse(created, LONG)
    done = fewstep("dead-letters", "list", "--json", *at)
    assert done.returncode == 0, done.stderr
    letters = [json.loads(line) for line in done.stdout.splitlines()]
    topic = topic_name(Role.INTERACTIONS, created.kafka.topic_prefix)
    assert [one["source"] for one in letters] == [
        {"topic": topic, "partition": 2, "offset": offset} for offset in (first, second)
    ]
    assert [(one["reason"], one["size"]) for one in letters] == [("malformed", 1), ("too-large", 300)]
    assert all(one["time"].endswith("Z") and one["detail"] for one in letters)
    shown = fewstep("dead-letters", "list", "--reason", "too-large", *at).stdout
    assert shown.count("\n") == 1
    assert f"too-large  {topic}[2]@{second}  300 bytes" in shown


def test_a_letter_is_sent_again_once_to_where_it_came_from(fewstep: Run, created: Settings, at: list[str]) -> None:
    offset = refuse(created, DANCE, letters=2)  # a worker died and refused it again: two letters of one record
    refuse(created, b"{")
    chosen = ("--reason", "unknown-event-type")
    assert redrive(fewstep, at, *chosen, "--dry-run") == {"dry_run": True, "letters": 2, "sent": 1, "already-sent": 1}
    assert len(source(created)) == 2
    assert redrive(fewstep, at, *chosen) == {"letters": 2, "sent": 1, "already-sent": 1}
    copy = source(created)[-1]
    assert (copy.partition, copy.key, copy.value, copy.timestamp) == (2, b"ann", DANCE, SENT_MS)
    assert list(copy.headers) == [("trace", b"t1"), ("fewstep-redriven", b"2:%d" % offset)]
    record = Record(Role.INTERACTIONS, "t", 2, copy.offset, copy.timestamp, copy.key, copy.value, copy.headers)
    assert isinstance(decode(record, LimitSettings(event_types=("dance",))), Event)

    assert redrive(fewstep, at, *chosen) == {"letters": 2, "already-sent": 2}
    assert redrive(fewstep, at) == {"letters": 3, "sent": 1, "already-sent": 2}
    assert len(source(created)) == 4

    again = refuse(created, DANCE, headers=list(copy.headers))  # sent again, and refused again: a letter of its own
    shown = fewstep("dead-letters", "redrive", *chosen, "--dry-run", *at).stdout
    assert "1 of them not for the first time" in shown
    assert redrive(fewstep, at, *chosen) == {"letters": 3, "sent": 1, "already-sent": 2, "in-vain": 1}
    assert ", after a redrive" in fewstep("dead-letters", "list", *at).stdout.splitlines()[-1]
    assert dict(source(created)[-1].headers)["fewstep-redriven"] == b"2:%d" % again


def test_a_record_that_was_too_large_is_fetched_from_its_topic(fewstep: Run, created: Settings, at: list[str]) -> None:
    refuse(created, LONG)
    assert redrive(fewstep, at) == {"letters": 1, "sent": 1}
    assert [record.value for record in source(created)] == [LONG, LONG]


def test_an_old_profile_does_not_come_back_over_a_newer_one(fewstep: Run, created: Settings, at: list[str]) -> None:
    refuse(created, b'{"features":{"age":[]}}', Role.USERS)
    send(created, topic_name(Role.USERS, created.kafka.topic_prefix), b'{"features":{"age":30}}', partition=2)
    assert redrive(fewstep, at) == {"letters": 1, "superseded": 1}
    assert len(source(created, Role.USERS)) == 2


def test_nothing_is_sent_where_retention_removed_what_would_tell_if_it_was_sent_before(
    fewstep: Run, created: Settings, at: list[str]
) -> None:
    topic = topic_name(Role.INTERACTIONS, created.kafka.topic_prefix)
    offset = refuse(created, DANCE)
    send(created, topic, GOOD, partition=2)
    try:
        with open_admin(created.kafka) as admin:
            admin.delete_records({TopicPartition(topic, 2): offset + 2})
    except Exception as error:  # noqa: BLE001 - whichever way the embedded broker says no
        pytest.skip(f"this broker cannot delete records: {type(error).__name__}")
    assert redrive(fewstep, at) == {"letters": 1, "expired": 1}


def test_a_letter_of_unknown_source_stays_where_it_is(fewstep: Run, created: Settings, at: list[str]) -> None:
    send(created, topic_name(Role.DEAD_LETTERS, created.kafka.topic_prefix), b"{", headers=[("other", b"x")])
    assert redrive(fewstep, at) == {"letters": 1, "foreign": 1}
    assert "foreign" in fewstep("dead-letters", "redrive", *at).stdout
