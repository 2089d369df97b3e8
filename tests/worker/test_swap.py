"""Bundles and catalog change while a worker serves: nothing is lost or mixed, and what is unsound changes nothing.

How long lists pause for a swap is measured by tests/swap_pause.py, and a worker killed in it by test_killed_swap.py.
"""

import asyncio
import gzip
import random
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any

import numpy as np
import orjson
import pytest
from deployment import DEADLINE_S, Deployment
from tiny_bundle import replace_file, write_manifest, write_tiny_bundle
from wholeness import assert_counted_once, assert_not_doubled, assert_not_mixed, published

from schemas import Item, Manifest, ModelAnnouncement, RefreshRequest, Role
from stream.broker import Broker
from stream.clients.connect import open_producer
from stream.clients.event_file import FileEvent
from stream.clients.outbox import open_outbox
from stream.core.arms import is_challenged

SECONDS, RATE = 4, 300
ITEMS = 200
USERS = 50
NOW = 1_700_000_000_000
LATER = "2026-02-01T12:00:00Z"


def event(number: int, user: str | None = None, item: str | None = None) -> FileEvent:
    user = user or f"u{number % USERS}"
    value = {
        "user_id": user, "item_id": item or f"i{number * 7 % 190}", "event_type": "like", "event_id": f"e{number}",
        "timestamp": NOW + number,
    }  # fmt: skip
    return FileEvent(user, None, orjson.dumps(value))


@pytest.fixture
def served(broker: Broker, prefix: str, tmp_path: Path) -> Iterator[Deployment]:
    environment = {"FEWSTEP_MODEL__POLL_INTERVAL_S": "1"}
    with Deployment(broker, prefix, tmp_path, partitions=2, n_items=ITEMS, environment=environment) as deployment:
        deployment.start_worker()
        yield deployment


def broadcast(served: Deployment, role: Role, key: str, value: bytes | None) -> None:
    with open_producer(served.settings.kafka) as producer:
        producer.send(served.topic(role), key=key.encode(), value=value).get(timeout=DEADLINE_S)


def announce(served: Deployment, version: str, action: str) -> None:
    digest = sha256((served.folder / "models" / "default" / version / "manifest.json").read_bytes()).hexdigest()
    announcement = ModelAnnouncement(
        model="default", version=version, digest=digest, url=f"default/{version}", published_at=LATER, action=action
    )
    broadcast(served, Role.MODELS, "default", announcement.model_dump_json().encode())


def publish(served: Deployment, version: str, **changes: Any) -> Manifest:
    changes = {"n_items": ITEMS, "seed": 1, "created_at": LATER} | changes
    return write_tiny_bundle(served.folder / "models", version=version, **changes)


def asked(served: Deployment, user: str, **request: Any) -> dict[str, Any]:
    """The answer to a request."""
    request = {"timestamp": NOW + 1_000_000} | request
    offset = served.send([FileEvent(user, None, orjson.dumps(request))], Role.REQUESTS)[0].offset
    return served.wait_for_lists({user: offset}, Role.REQUESTS)[user]


def eventually(served: Deployment, holds: Callable[[dict[str, Any]], bool], **request: Any) -> dict[str, Any]:
    """Ask until the answer is as expected."""
    deadline = monotonic() + DEADLINE_S
    while not holds(found := asked(served, "asker", **request)):
        assert monotonic() < deadline, found
        sleep(0.1)
    return found


def under_load(served: Deployment, first: int, midway: Callable[[], None]) -> int:
    """Send events at the rate for the duration, and do something after a third; gives the number of the next one."""
    n = round(SECONDS * RATE)

    async def send() -> int:
        number, done, begin = first, False, monotonic()
        topic = served.topic(Role.INTERACTIONS)
        async with open_outbox(served.settings.kafka, topic, partitions=served.partitions) as outbox:
            while number < first + n:
                due = first + min(n, round((monotonic() - begin) * RATE) + 1)
                if number < due:
                    await outbox.send([event(at) for at in range(number, due)])
                    number = due
                if not done and number - first >= n // 3:
                    done = True
                    midway()
                await asyncio.sleep(0.005)
        return number

    return asyncio.run(send())


def in_background(work: Callable[[], None]) -> Callable[[], None]:
    """What starts the work: it must not keep the sender from sending."""
    return lambda: Thread(target=work, daemon=True).start()


@pytest.mark.timeout(600)
def test_a_swap_under_load_loses_doubles_and_mixes_nothing(served: Deployment) -> None:
    served.wait_for_lists({"u0": served.send([event(0)])[0].offset})
    manifest = publish(served, "v2", latest=False)

    def swap() -> None:
        write_manifest(served.folder / "models", manifest)
        announce(served, "v2", "publish")

    last = under_load(served, USERS, in_background(swap))
    served.wait_for_log("serving default v2 instead of v1")
    positions = served.send([event(last + at, user=f"u{at}") for at in range(USERS)])
    final = served.wait_for_lists({f"u{at}": position.offset for at, position in enumerate(positions)})
    assert {one["model_version"] for one in final.values()} == {"v2"}
    lists = published(served)
    assert_not_doubled(lists)
    assert_not_mixed(lists, ["v1", "v2"])
    assert_counted_once(served, last + 1)


@pytest.mark.timeout(600)
def test_a_rollback_returns_the_previous_lists_bit_equal(served: Deployment) -> None:
    served.wait_for_lists({"ann": served.send([event(0, "ann"), event(1, "ann")])[1].offset})
    before = asked(served, "ann")
    publish(served, "v2")
    announce(served, "v2", "publish")
    eventually(served, lambda found: found["model_version"] == "v2")
    assert asked(served, "ann")["items"] != before["items"]
    folder = served.folder / "models" / "default" / "v1" / "manifest.json"
    write_manifest(served.folder / "models", Manifest.model_validate_json(folder.read_bytes()))
    announce(served, "v1", "rollback")
    eventually(served, lambda found: found["model_version"] == "v1")
    after = asked(served, "ann")
    del before["source"], after["source"], before["generated_at"], after["generated_at"]
    assert after == before


@pytest.mark.timeout(600)
def test_an_unsound_bundle_leaves_the_old_one_and_a_missed_announcement_is_made_up_for(served: Deployment) -> None:
    served.wait_for_lists({"ann": served.send([event(0, "ann")])[0].offset})
    publish(served, "v2", extra_input="mood")
    announce(served, "v2", "publish")
    served.wait_for_log("asks for input mood")
    served.wait_for_log("v1 stays in service")
    assert asked(served, "ann")["model_version"] == "v1"
    publish(served, "v3")  # without an announcement: the store is looked into all the same
    eventually(served, lambda found: found["model_version"] == "v3")


def planted(served: Deployment, version: str, kind: str) -> str:
    """Publish a bundle that is unsound in this way; gives what the worker has to say of it."""
    store = served.folder / "models"
    vectors = np.random.default_rng(1).standard_normal((ITEMS, 4)).astype(np.float32)
    if kind == "nan":
        vectors[0, 0] = np.nan
    manifest = publish(served, version, latest=False, tensors={"item_vectors": vectors})
    folder = store / "default" / version
    if kind == "rows":
        lines = gzip.decompress((folder / "items.jsonl.gz").read_bytes()).splitlines(keepends=True)
        lines[3], lines[4] = lines[4], lines[3]
        replace_file(store, manifest, "items.jsonl.gz", gzip.compress(b"".join(lines)))
        return "another order"
    content = (folder / "theta.safetensors").read_bytes()
    if kind == "truncated":
        (folder / "theta.safetensors").write_bytes(content[:-7])
    if kind == "checksum":
        (folder / "theta.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    write_manifest(store, manifest, **({"format_version": 0} if kind == "format" else {}))
    return {"nan": "NaN", "truncated": "bytes, its manifest says", "checksum": "sha256", "format": "format"}[kind]


@pytest.mark.timeout(600)
def test_every_planted_bundle_is_refused_with_its_reason_while_the_old_one_serves(served: Deployment) -> None:
    served.wait_for_lists({"ann": served.send([event(0, "ann")])[0].offset})
    for number, kind in enumerate(("nan", "rows", "truncated", "checksum", "format"), 2):
        reason = planted(served, f"v{number}", kind)
        announce(served, f"v{number}", "publish")
        deadline = monotonic() + DEADLINE_S
        while not any(reason in line and f"v{number}" in line for line in served.log().read_text().splitlines()):
            assert monotonic() < deadline, (kind, served.log().read_text()[-1000:])
            sleep(0.05)
        assert asked(served, "ann")["model_version"] == "v1"
    assert served.log().read_text().count("v1 stays in service") == 5


@pytest.mark.timeout(600)
def test_the_catalog_follows_the_items_topic_without_a_bundle(served: Deployment) -> None:
    best = eventually(served, lambda found: True)["items"][0]["item_id"]
    broadcast(served, Role.ITEMS, best, Item(item_id=best, available=False).model_dump_json().encode())
    eventually(served, lambda found: best not in _ids(found))
    broadcast(served, Role.ITEMS, best, Item(item_id=best, categories=["new"]).model_dump_json().encode())
    eventually(served, lambda found: best in _ids(found))
    eventually(served, lambda found: _ids(found) == [best], filters={"categories": ["new"]})
    new = Item(item_id="fresh", categories=["drama", "fresh"])  # the bundle does not know it
    broadcast(served, Role.ITEMS, "fresh", new.model_dump_json().encode())
    eventually(served, lambda found: _ids(found) == ["fresh"], filters={"categories": ["fresh"]})
    broadcast(served, Role.ITEMS, best, b"{ no item")
    broadcast(served, Role.ITEMS, best, None)
    eventually(served, lambda found: best not in _ids(found))
    served.kill_worker()  # and a worker that starts later hears the same
    served.start_worker()
    eventually(served, lambda found: best not in _ids(found))


def _ids(found: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in found["items"]]


@pytest.mark.timeout(600)
def test_tastes_that_turn_raise_one_request_for_a_better_model(broker: Broker, prefix: str, tmp_path: Path) -> None:
    environment = {"FEWSTEP_MEASURES__SHARE": "1"}
    with Deployment(broker, prefix, tmp_path, partitions=1, environment=environment) as served:
        served.start_worker()
        ranked = [item["item_id"] for item in asked(served, "nobody", n=200)["items"]]
        rng = random.Random(0)
        liked = [rng.sample(ranked[:100], 5) + rng.sample(ranked[100:], 5) for _ in range(200)]  # by user: then, now
        events = [event(at, user=f"u{at % 200}", item=liked[at % 200][at // 200]) for at in range(2000)]
        served.wait_for_lists({"u199": served.send(events)[-1].offset})
        served.wait_for_log("asked for a better model")
        (record,) = served.records(served.topic(Role.REFRESH_REQUESTS))
        request = RefreshRequest.model_validate_json(record.value)
        assert (record.key, request.model, request.model_version) == (b"default", "default", "v1")
        assert NOW + 1000 < request.timestamp < NOW + 2000
        assert request.measures["events"] > 1000
        assert served.stop_worker() == 0
        assert "measured=2000" in served.log().read_text()


@pytest.mark.timeout(600)
def test_a_challenger_serves_its_share_and_says_so_in_the_lists(broker: Broker, prefix: str, tmp_path: Path) -> None:
    environment = {"FEWSTEP_MODEL__CHALLENGER": "other", "FEWSTEP_MODEL__CHALLENGER_SHARE": "0.5"}
    with Deployment(broker, prefix, tmp_path, partitions=2, environment=environment) as served:
        publish(served, "v7", model="other")
        served.start_worker()
        served.wait_for_log("challenger other v7 for 0.5 of the users")
        positions = served.send([event(at) for at in range(USERS)])
        lists = served.wait_for_lists({f"u{at}": position.offset for at, position in enumerate(positions)})
        theirs = {user for user in lists if is_challenged(user.encode(), challenger="other", share=0.5)}
        assert 0 < len(theirs) < USERS
        for user, one in lists.items():
            assert (one["model"], one["model_version"]) == (("other", "v7") if user in theirs else ("default", "v1"))
