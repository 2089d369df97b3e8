"""`fewstep send` and `fewstep erase`: one record each, on the partition that all clients agree on."""

import json
from typing import Any

import pytest
from command_line import Run
from kafka.partitioner import murmur2

from schemas import InteractionEvent, Role, topic_name
from stream.clients.connect import open_consumer
from stream.settings import Settings


def only_record(settings: Settings) -> Any:
    with open_consumer(
        settings.kafka, topic_name(Role.INTERACTIONS, settings.kafka.topic_prefix), from_beginning=True
    ) as consumer:
        for _ in range(100):
            records = [record for batch in consumer.poll(timeout_ms=200).values() for record in batch]
            if records:
                (record,) = records
                return record
    raise AssertionError("no record arrived")


def partition_of(user: str) -> int:
    return (murmur2(user.encode()) & 0x7FFFFFFF) % 4


def test_an_interaction_is_sent(fewstep: Run, created: Settings, at: list[str]) -> None:
    result = fewstep(
        *("send", "ü1", "rating", "i7", "--value", "4.5", "--timestamp", "2026-01-31T12:00:00+01:00"),
        *("--event-id", "e1", "--json", *at),
    )
    assert result.returncode == 0, result.stderr
    record = only_record(created)
    assert json.loads(result.stdout) == {"topic": record.topic, "partition": record.partition, "offset": 0}
    assert (record.key, record.partition) == ("ü1".encode(), partition_of("ü1"))
    assert InteractionEvent.model_validate_json(record.value) == InteractionEvent(
        event_id="e1", user_id="ü1", item_id="i7", event_type="rating", value=4.5, timestamp=1_769_857_200_000
    )


def test_what_was_not_given_is_not_sent(fewstep: Run, created: Settings, at: list[str]) -> None:
    assert fewstep("send", "u", "view", "i7", *at).returncode == 0
    assert json.loads(only_record(created).value) == {
        "schema_version": 1, "user_id": "u", "item_id": "i7", "event_type": "view",
    }  # fmt: skip


def test_erasing_sends_a_null_value_under_the_users_key(fewstep: Run, created: Settings, at: list[str]) -> None:
    result = fewstep("erase", "u1", *at)
    assert result.returncode == 0, result.stderr
    record = only_record(created)
    assert (record.key, record.value, record.partition) == (b"u1", None, partition_of("u1"))


@pytest.mark.parametrize("timestamp", ["yesterday", "2026-01-31T12:00:00", "1700000000", "1700000000000000"])
def test_a_doubtful_timestamp_is_wrong_usage(fewstep: Run, timestamp: str) -> None:
    result = fewstep("send", "u1", "view", "i1", "--timestamp", timestamp)
    assert result.returncode == 2
    assert "timestamp" in result.stderr


@pytest.mark.parametrize("user", ["", "x" * 257, "\udcff"])
@pytest.mark.parametrize("command", [["send", "USER", "view", "i1"], ["erase", "USER"]])
def test_a_user_id_that_no_event_may_have_is_wrong_usage(fewstep: Run, command: list[str], user: str) -> None:
    assert fewstep(*[user if word == "USER" else word for word in command]).returncode == 2


def test_a_missing_topic_names_the_command_that_creates_it(fewstep: Run, at: list[str], prefix: str) -> None:
    result = fewstep("send", "u1", "view", "i1", *at)
    assert result.returncode == 1
    assert f"topic {prefix}interactions is missing" in result.stderr
    assert "fewstep topics create" in result.stderr
