"""`fewstep watch`: lists as they arrive, for people and for programs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Run, make_list

from schemas import Recommendation, Role, topic_name
from stream.clients.connect import open_producer
from stream.settings import Settings


def publish(settings: Settings, *messages: tuple[str, bytes | None]) -> None:
    topic = topic_name(Role.RECOMMENDATIONS, settings.kafka.topic_prefix)
    with open_producer(settings.kafka) as producer:
        for user, value in messages:
            producer.send(topic, key=user.encode(), value=value, partition=0)
        producer.flush()


@pytest.fixture
def published(created: Settings) -> Settings:
    messages = [(user, make_list(user, created).model_dump_json().encode()) for user in ("u1", "u2", "u1")]
    publish(created, *messages, ("u2", None))
    return created


def test_json_lines_are_the_messages_without_the_forgotten(fewstep: Run, published: Settings, at: list[str]) -> None:
    result = fewstep("watch", "--from-beginning", "--until-idle", "1", "--json", *at)
    assert result.returncode == 0, result.stderr
    lists = [Recommendation.model_validate_json(line) for line in result.stdout.splitlines()]
    assert lists == [make_list(user, published) for user in ("u1", "u2", "u1")]


def test_people_see_titles_reasons_and_who_was_forgotten(
    fewstep: Run, published: Settings, at: list[str], tmp_path: Path
) -> None:
    items = [{"item_id": "i1", "title": "Alien"}, {"item_id": "i9", "title": "Brazil"}]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, items)))
    result = fewstep("watch", "u2", "--from-beginning", "--until-idle", "1", "--items", "items.jsonl", *at)
    assert result.returncode == 0, result.stderr
    head, first, second, last = result.stdout.splitlines()
    assert head.startswith("u2: m v1, support of 1")
    assert first.split() == ["1.", "Alien", "2.5", "<-", "Brazil", "+0.75"]
    assert second.split() == ["2.", "i2", "1.5"]
    assert last == "u2: forgotten"


def test_it_ends_after_the_count(fewstep: Run, published: Settings, at: list[str]) -> None:
    result = fewstep("watch", "u1", "--from-beginning", "--count", "2", "--json", *at)
    assert [json.loads(line)["user_id"] for line in result.stdout.splitlines()] == ["u1", "u1"]


def test_without_from_beginning_old_lists_are_not_shown(fewstep: Run, published: Settings, at: list[str]) -> None:
    result = fewstep("watch", "--until-idle", "1", "--json", *at)
    assert (result.returncode, result.stdout) == (0, "")


def test_a_list_that_arrives_while_watching_is_shown(published: Settings, at: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stream", "watch", "u3", "--count", "1", "--until-idle", "60", "--json", *at]
    watching = subprocess.Popen(command, cwd=tmp_path, env=os.environ, stdout=subprocess.PIPE, text=True)
    value = make_list("u3", published).model_dump_json().encode()
    while watching.poll() is None:  # it shows what comes after it is ready, and only it knows when that is
        publish(published, ("u3", value))
    assert watching.stdout is not None
    with watching.stdout as shown:
        assert Recommendation.model_validate_json(shown.read()) == make_list("u3", published)


def test_a_message_that_is_no_list_is_named(fewstep: Run, created: Settings, at: list[str], prefix: str) -> None:
    publish(created, ("u1", b'{"user_id": "u1"}'))
    result = fewstep("watch", "--from-beginning", "--count", "1", *at)
    assert result.returncode == 1
    assert f"{prefix}recommendations, partition 0, offset 0 is not a recommendation" in result.stderr
    assert result.stderr.count("\n") == 1
