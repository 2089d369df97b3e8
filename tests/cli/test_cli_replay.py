"""`fewstep replay`: every line arrives once, in order, where all clients would put it."""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from command_line import Run, make_list
from kafka.partitioner import murmur2

from schemas import Role, topic_name
from stream.clients.connect import open_consumer, open_producer
from stream.settings import Settings

USERS = 40


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "interactions.jsonl"
    lines = [
        {"user_id": f"u{n % USERS}", "item_id": f"i{n}", "event_type": "view", "timestamp": 1_700_000_000_000 + n}
        for n in range(12_000)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def consume(settings: Settings, count: int) -> dict[int, list[Any]]:
    """Records of the interactions topic by partition, exactly `count` of them."""
    found: dict[int, list[Any]] = defaultdict(list)
    deadline = monotonic() + 60
    topic = topic_name(Role.INTERACTIONS, settings.kafka.topic_prefix)
    with open_consumer(settings.kafka, topic, from_beginning=True) as consumer:
        while sum(map(len, found.values())) < count:
            assert monotonic() < deadline, f"{sum(map(len, found.values()))} of {count} arrived"
            for records in consumer.poll(timeout_ms=200, max_records=5000).values():
                found[records[0].partition] += records
        assert sum(map(len, consumer.poll(timeout_ms=300).values())) == 0
    assert sum(map(len, found.values())) == count
    return found


def test_every_line_arrives_once_in_order_on_its_users_partition(
    fewstep: Run, created: Settings, at: list[str], file: Path
) -> None:
    result = fewstep("replay", str(file), "--json", *at)
    assert result.returncode == 0, result.stderr
    found = consume(created, 12_000)
    sent: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
    for line in file.read_bytes().splitlines():
        key = json.loads(line)["user_id"].encode()
        sent[(murmur2(key) & 0x7FFFFFFF) % 4].append((key, line))
    assert {number: [(record.key, record.value) for record in records] for number, records in found.items()} == sent
    report = json.loads(result.stdout)
    assert report["events"] == 12_000
    assert report["rate"] > 0
    assert report["last"] == {str(number): len(records) - 1 for number, records in found.items()}


def test_a_second_replay_goes_on_from_the_last_offset(
    fewstep: Run, created: Settings, at: list[str], file: Path
) -> None:
    first = json.loads(fewstep("replay", str(file), "--limit", "400", "--json", *at).stdout)["last"]
    second = json.loads(fewstep("replay", str(file), "--limit", "400", "--json", *at).stdout)["last"]
    assert second == {number: 2 * offset + 1 for number, offset in first.items()}


@pytest.mark.parametrize("pace", [["--rate", "2000/s"], ["--speed", "2"]])
def test_a_paced_replay_is_not_faster_than_asked(
    fewstep: Run, created: Settings, at: list[str], file: Path, pace: list[str]
) -> None:
    result = fewstep("replay", str(file), "--limit", "600", "--json", *pace, *at)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["events"] == 600
    assert report["rate"] < 2100  # the first is due at 0, so a hair more than 2000 is right


def test_rounds_take_the_first_events_of_every_user(fewstep: Run, created: Settings, at: list[str], file: Path) -> None:
    assert fewstep("replay", str(file), "--by-round", "2", *at).returncode == 0
    items = [json.loads(record.value)["item_id"] for records in consume(created, 80).values() for record in records]
    assert sorted(items) == sorted(f"i{number}" for number in range(2 * USERS))


@pytest.fixture
def answers(created: Settings) -> Iterator[list[int]]:
    """Answers each event with a list, late; gives how many events each answer found waiting."""
    topic = topic_name(Role.INTERACTIONS, created.kafka.topic_prefix)
    lists = topic_name(Role.RECOMMENDATIONS, created.kafka.topic_prefix)
    seen: list[int] = []
    ended = threading.Event()

    def work() -> None:
        with (
            open_consumer(created.kafka, topic, from_beginning=True) as consumer,
            open_producer(created.kafka) as producer,
        ):
            while not ended.wait(0.3):  # long enough for a round that is not held to be followed by the next
                records = [one for batch in consumer.poll(timeout_ms=200).values() for one in batch]
                if records:
                    seen.append(len(records))
                for record in records:
                    answer = make_list(record.key.decode(), created, record.partition, record.offset)
                    value = answer.model_dump_json().encode()
                    producer.send(lists, key=record.key, value=value, partition=record.partition)
                producer.flush()

    thread = threading.Thread(target=work)
    thread.start()
    yield seen
    ended.set()
    thread.join()


def test_a_held_round_waits_for_the_lists_of_the_one_before(
    fewstep: Run, created: Settings, at: list[str], file: Path, answers: list[int]
) -> None:
    result = fewstep("replay", str(file), "--by-round", "3", "--hold", "--json", *at)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["events"] == 3 * USERS
    assert sum(answers) == 3 * USERS
    assert max(answers) <= USERS  # no two rounds were under way together


@pytest.mark.parametrize(
    "wrong",
    [
        ["--rate", "fast"],
        ["--rate", "0"],
        ["--rate", "-1/s"],
        ["--rate", "5", "--speed", "2"],
        ["--hold", "--ask"],
        ["--verify"],
        ["--user", "u1"],
    ],
)
def test_contradicting_flags_are_wrong_usage(fewstep: Run, file: Path, wrong: list[str]) -> None:
    assert fewstep("replay", str(file), *wrong).returncode == 2


def test_a_bad_line_is_named(fewstep: Run, created: Settings, at: list[str], file: Path) -> None:
    lines = file.read_text().splitlines()
    lines[9] = "{}"
    file.write_text("\n".join(lines))
    result = fewstep("replay", str(file), *at)
    assert result.returncode == 1
    assert result.stderr == f"fewstep: {file}:10: item_id: Field required; correct the line\n"
