"""`fewstep replay --verify` finds every list that does not follow from its inputs, and says what it cannot tell.

FEWSTEP_TEST_LISTS sets how many lists are published and verified.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any

import orjson
import pytest
from deployment import DEADLINE_S, Deployment

from schemas import Role
from stream.broker import Broker
from stream.clients.connect import open_admin, open_producer
from stream.clients.event_file import FileEvent
from stream.core.provenance import STATE_HEADER, read_state_version

LISTS = int(os.environ.get("FEWSTEP_TEST_LISTS", "400"))
EVENTS_PER_USER = 40
START_MS = 1_700_000_000_000


def event(user: str, number: int, **fields: Any) -> FileEvent:
    value = {"item_id": f"i{number % 210}", "event_type": "like", "timestamp": START_MS + number * 3_600_000} | fields
    return FileEvent(user, None, orjson.dumps(value))


def traffic(rng: random.Random) -> Iterator[tuple[Role, list[FileEvent]]]:
    """Rounds of events, late ones and duplicates among them, with profiles, requests and tombstones in between."""
    users = [f"u{number}" for number in range(max(8, LISTS // EVENTS_PER_USER))]
    profiles = [FileEvent(user, None, orjson.dumps({"features": {"city": "Bergen", "age": 7}})) for user in users[::2]]
    yield Role.USERS, profiles
    rounds = 2 + LISTS // len(users)
    for number in range(rounds):
        yield (
            Role.INTERACTIONS,
            [
                event(user, number * 3 - rng.choice((0, 0, 9)), event_id=rng.choice((None, number, number // 2)))
                for user in users
            ],
        )
        if number == rounds // 2:
            yield Role.REQUESTS, [FileEvent(user, None, b'{"n":7,"filters":{"domains":["books"]}}') for user in users]
            yield Role.INTERACTIONS, [FileEvent(users[0], None, None), FileEvent(users[1], None, b"{")]  # type: ignore[arg-type]
            yield Role.USERS, [FileEvent(users[2], None, None)]  # type: ignore[arg-type]


def wait_until_forgotten(deployment: Deployment, users: set[bytes]) -> None:
    deadline = monotonic() + DEADLINE_S
    while users and any(deployment.lists().last.get(user) is not None for user in users):
        assert monotonic() < deadline
        deployment.revive()
        sleep(0.05)


@pytest.fixture(scope="module")
def served(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(broker, "audit-", tmp_path_factory.mktemp("audit")) as deployment:
        deployment.start_worker()
        for role, records in traffic(random.Random(0)):
            sent = deployment.send(records, role)
            answered = {
                record.user_id: at.offset
                for record, at in zip(records, sent, strict=True)
                if record.value not in (None, b"{")
            }
            deployment.wait_for_lists(answered, role)
            # What comes next is on another topic, of which a poll might have the later record first.
            wait_until_forgotten(deployment, {record.user_id.encode() for record in records if record.value is None})
        assert deployment.stop_worker() == 0
        yield deployment


def verify(served: Deployment, *arguments: str) -> tuple[int, dict[str, Any]]:
    kafka = served.settings.kafka
    at = ["--bootstrap-servers", kafka.bootstrap_servers, "--topic-prefix", kafka.topic_prefix]
    store = ["--model-store", served.settings.model.store]
    command = [sys.executable, "-m", "stream", "replay", "--verify", "--json", *at, *store, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


def plant(served: Deployment, record: Any, value: bytes, *, headers: Any = None) -> tuple[int, int]:
    """Put a list beside the others as somebody else might have; gives its position."""
    with open_producer(served.settings.kafka) as producer:
        sent = producer.send(
            record.topic, key=record.key, value=value, partition=record.partition,
            headers=record.headers if headers is None else headers,
        ).get(timeout=20)  # fmt: skip
    return sent.partition, sent.offset


@pytest.mark.timeout(900)
def test_every_list_of_a_worker_is_computed_again_and_planted_ones_are_found(served: Deployment) -> None:
    records = [record for record in served.records(served.topic(Role.RECOMMENDATIONS)) if record.value is not None]
    assert len(records) >= LISTS
    code, report = verify(served)
    assert report == {"lists": len(records), "verified": len(records), "unchecked": {}, "differences": []}
    assert code == 0
    assert verify(served, "--user", "u3")[1]["lists"] == sum(record.key == b"u3" for record in records)
    assert verify(served, "--sample", "25")[1]["verified"] == 25
    code, report = verify(served, "--sample", "5", "--model-store", str(served.folder / "elsewhere"))
    assert (code, report["verified"]) == (1, 0), "not one list was checked: that is no verification"

    whole = next(record for record in reversed(records) if json.loads(record.value)["support_size"] > 3)
    told = json.loads(whole.value)
    version = json.loads(dict(whole.headers)[STATE_HEADER])
    swapped = told | {"items": [told["items"][1], told["items"][0], *told["items"][2:]]}
    planted = {
        plant(served, whole, orjson.dumps(swapped)): "items",
        plant(served, whole, orjson.dumps(told | {"source": told["source"] | {"offset": 0}})): "source",
        plant(served, whole, whole.value, headers=_version(version | {"events": version["events"] + 1})): "events",
        plant(served, whole, whole.value, headers=_version(version | {"events": 1})): "events",
        plant(served, whole, whole.value, headers=_version(version | {"interactions": 10**6})): "offset 1000000",
    }
    plant(served, whole, whole.value, headers=[])
    plant(served, whole, orjson.dumps(told | {"model_version": "v0"}))
    code, report = verify(served)
    assert code == 1
    assert {(one["partition"], one["offset"]): one["detail"] for one in report["differences"]}.keys() == planted.keys()
    assert all(planted[one["partition"], one["offset"]] in one["detail"] for one in report["differences"])
    assert report["unchecked"] == {"no-provenance": 1, "no-bundle": 1}
    assert report["verified"] == len(records)

    if not os.environ.get("KAFKA_HOME"):
        return  # the embedded broker cannot delete records
    _delete_interactions(served)
    _, after = verify(served)
    assert after["unchecked"]["retention"] > 0
    assert after["verified"] < len(records)
    assert after["verified"] + sum(after["unchecked"].values()) + len(after["differences"]) == after["lists"]
    assert len(after["differences"]) <= len(planted)


@pytest.mark.timeout(300)
def test_lists_from_the_items_topic_are_verified_while_it_says_the_same(broker: Broker, tmp_path: Any) -> None:
    with Deployment(broker, "audit-items-", tmp_path, partitions=1) as served:
        served.start_worker()
        for number, item in enumerate(({"item_id": "new"}, {"item_id": "i1", "available": False})):
            with open_producer(served.settings.kafka) as producer:
                producer.send(served.topic(Role.ITEMS), key=item["item_id"].encode(), value=orjson.dumps(item))
                producer.flush()
            deadline = monotonic() + DEADLINE_S
            while True:  # until a list is made with it
                sent = served.send([event("ann", 0, event_id=f"{number}-{monotonic()}")])
                served.wait_for_lists({"ann": sent[0].offset})
                versions = [
                    read_state_version(record.headers) for record in served.records(served.topic(Role.RECOMMENDATIONS))
                ]
                told = {version.listings for version in versions if version}
                if len(told - {""}) > number:
                    break
                assert monotonic() < deadline
        assert served.stop_worker() == 0
        newest = versions[-1].listings if versions[-1] else ""
        earlier = sum(version.listings not in ("", newest) for version in versions if version)
        code, report = verify(served)
        assert (code, report["differences"]) == (0, [])
        assert report["unchecked"] == {"listings": earlier}
        assert report["verified"] == len(versions) - earlier


def _version(version: dict[str, int]) -> list[tuple[str, bytes]]:
    return [(STATE_HEADER, orjson.dumps(version))]


def _delete_interactions(served: Deployment) -> None:
    """What retention does: the first half of every partition is gone."""
    from kafka import TopicPartition

    topic = served.topic(Role.INTERACTIONS)
    ends: dict[int, int] = {}
    for record in served.records(topic):
        ends[record.partition] = record.offset + 1
    with open_admin(served.settings.kafka) as admin:
        admin.delete_records({TopicPartition(topic, partition): end // 2 for partition, end in ends.items()})
