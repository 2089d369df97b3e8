"""Whatever arrives ends as a list, a change or a dead letter, and the stream goes on."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from deployment import Deployment

from schemas import Role
from stream.broker import Broker
from stream.clients.connect import open_producer
from stream.clients.event_file import FileEvent
from stream.core.codec import decode_row

NOW = 1_700_000_000_000
LARGE = b'{"item_id": "i1", "event_type": "view", "padding": "' + b"x" * 2_000_000 + b'"}'
BAD: dict[str, tuple[bytes | None, bytes]] = {
    "malformed": (b"ann", b'{"item_id": "i1", "event'),
    "no-user": (None, b'{"item_id": "i1", "event_type": "view"}'),
    "invalid": (b"ann", b'{"item_id": "i1", "event_type": "rating", "value": NaN}'),
    "newer-schema": (b"ann", b'{"schema_version": 2, "item_id": "i1", "event_type": "view"}'),
    "too-large": (b"ann", LARGE),
}


def event(user: str, item: str, *, at: int = NOW) -> FileEvent:
    value = {"user_id": user, "item_id": item, "event_type": "click", "timestamp": at}
    return FileEvent(user, at, json.dumps(value).encode())


def last_offset(deployment: Deployment, *events: FileEvent) -> dict[str, int]:
    sent = deployment.send(events)
    return {one.user_id: position.offset for one, position in zip(events, sent, strict=True)}


def send_raw(deployment: Deployment, key: bytes | None, value: bytes | None) -> Any:
    with open_producer(deployment.settings.kafka) as producer:
        producer.config["max_request_size"] = 3_000_000
        return producer.send(deployment.topic(Role.INTERACTIONS), key=key, value=value, partition=0).get(timeout=20)


@pytest.fixture
def served(broker: Broker, prefix: str, tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(broker, prefix, tmp_path, partitions=1, environment={"FEWSTEP_STATE__STORE": "memory"}) as running:
        running.start_worker()
        yield running


def test_each_bad_record_becomes_a_dead_letter_with_its_reason_and_the_stream_goes_on(served: Deployment) -> None:
    sent = {reason: send_raw(served, key, value) for reason, (key, value) in BAD.items()}
    served.wait_for_lists(last_offset(served, event("ann", "i1")))

    letters = {
        dict(record.headers)["fewstep-reason"].decode(): record
        for record in served.records(served.topic(Role.DEAD_LETTERS))
    }
    assert letters.keys() == BAD.keys()
    for reason, (key, value) in BAD.items():
        headers = dict(letters[reason].headers)
        assert headers["__connect.errors.topic"].decode() == served.topic(Role.INTERACTIONS)
        assert int(headers["__connect.errors.offset"]) == sent[reason].offset
        assert letters[reason].key == key
        if reason != "too-large":
            assert letters[reason].value == value
    reference = json.loads(letters["too-large"].value)
    assert (reference["size"], reference["sha256"]) == (len(LARGE), sha256(LARGE).hexdigest())


def test_a_tombstone_forgets_the_user_also_for_a_worker_that_starts_later(served: Deployment) -> None:
    served.wait_for_lists(last_offset(served, event("ann", "i1"), event("ben", "i2")))
    send_raw(served, b"ann", None)
    served.wait_for_lists(last_offset(served, event("ben", "i3")))
    assert served.changelog().last[b"ann"] is None
    assert served.lists().last[b"ann"] is None

    served.kill_worker()
    served.start_worker()
    lists = served.wait_for_lists(last_offset(served, event("ann", "i4"), event("ben", "i4")))
    assert (lists["ann"]["support_size"], lists["ben"]["support_size"]) == (1, 3)


def test_an_event_on_an_unknown_item_waits_in_the_window_until_a_bundle_knows_it(served: Deployment) -> None:
    from tiny_bundle import write_tiny_bundle

    unknown = "i205"  # the bundle has i0 to i199
    lists = served.wait_for_lists(last_offset(served, event("ann", unknown)))
    assert lists["ann"]["support_size"] == 1
    assert all(item["reasons"] == [] for item in lists["ann"]["items"])
    row = served.changelog().last[b"ann"] or b""
    assert [one.item_id for one in decode_row(row, b"ann").support] == [unknown]

    assert served.stop_worker() == 0
    assert "unknown_items=1" in served.log().read_text()
    write_tiny_bundle(served.folder / "models", version="v2", n_items=210)
    served.start_worker()
    asked = served.send([FileEvent("ann", None, b"{}")], Role.REQUESTS)
    found = served.wait_for_lists({"ann": asked[0].offset}, Role.REQUESTS)["ann"]
    assert found["model_version"] == "v2"
    assert {reason["item_id"] for item in found["items"] for reason in item["reasons"]} == {unknown}


def test_a_new_user_gets_the_list_of_the_initialization(served: Deployment) -> None:
    asked = served.send([FileEvent("new", None, b'{"n": 7}'), FileEvent("newer", None, b'{"n": 7}')], Role.REQUESTS)
    lists = served.wait_for_lists({"new": asked[0].offset, "newer": asked[1].offset}, Role.REQUESTS)
    assert lists["new"]["support_size"] == 0
    assert len(lists["new"]["items"]) == 7
    assert lists["new"]["items"] == lists["newer"]["items"]
