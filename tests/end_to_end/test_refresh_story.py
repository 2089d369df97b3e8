"""The whole loop, as it runs in production: broker, worker and trainer are processes, and only Kafka and files connect.

A model is trained and served; over night tastes and catalog change; the worker notices and asks; the trainer, which
waits for that, reads, trains, judges and publishes; the worker takes it over under load; and one command takes it back.
FEWSTEP_TEST_STORY multiplies the number of users; `pytest -s` prints what was seen.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any
from urllib.request import urlopen

import numpy as np
import orjson
import pytest
from deployment import DEADLINE_S, Deployment
from story_world import Choice, Shop, days
from wholeness import assert_counted_once, assert_not_doubled, assert_not_mixed, published

from schemas import RefreshRequest, Role
from stream.broker import Broker
from stream.clients.connect import open_producer
from stream.clients.event_file import FileEvent

TIMES = float(os.environ.get("FEWSTEP_TEST_STORY", "1"))
HISTORY, MEASURED, DRIFTED = (round(n * TIMES) for n in (600, 150, 900))
"""Users of the first day before the training, of each part that is measured, and of the second day before it."""
RETURNING = 0.25
RECIPE = "d = 16\nepochs = 20\nvalidate_every = 3\nlearning_rate = 0.02\nbatch_users = 32\napart_share = 0.0\n"


@pytest.fixture
def served(broker: Broker, prefix: str, tmp_path: Path) -> Iterator[Deployment]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {"FEWSTEP_MEASURES__SHARE": "1", "FEWSTEP_WEB__PORT": str(port)}
    with Deployment(broker, prefix, tmp_path, partitions=2, environment=environment) as deployment:
        rmtree(tmp_path / "models")  # the first model is the trainer's, too
        deployment.port = port  # type: ignore[attr-defined]
        yield deployment


def metric(served: Deployment, name: str) -> float:
    with urlopen(f"http://127.0.0.1:{served.port}/metrics", timeout=DEADLINE_S) as answer:  # type: ignore[attr-defined]
        lines = answer.read().decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))


def until(holds: Callable[[], bool]) -> None:
    deadline = monotonic() + DEADLINE_S
    while not holds():
        assert monotonic() < deadline
        sleep(0.1)


def command(served: Deployment, *words: str) -> list[str]:
    settings = served.settings
    return [
        sys.executable, "-m", "stream", *words, "--model-store", settings.model.store, "--model", "default",
        "--bootstrap-servers", settings.kafka.bootstrap_servers, "--topic-prefix", settings.kafka.topic_prefix,
        "--json",
    ]  # fmt: skip


def refresh(served: Deployment) -> list[str]:
    recipe = served.folder / "recipe.toml"
    recipe.write_text(RECIPE)
    return ["refresh", "--archive", str(served.folder / "archive"), "--config", str(recipe)]


def run(served: Deployment, *words: str) -> dict[str, Any]:
    done = subprocess.run(command(served, *words), capture_output=True, text=True, timeout=2 * DEADLINE_S)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def trainer(served: Deployment) -> Iterator[Callable[[str], dict[str, Any]]]:
    """`fewstep refresh --on-drift` as a process; gives what waits for its next run that ends so."""
    with (served.folder / "trainer.log").open("wb") as log:
        process = subprocess.Popen(
            command(served, *refresh(served), "--on-drift"), stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    told = process.stdout

    def wait_for(outcome: str) -> dict[str, Any]:
        for line in told:
            report: dict[str, Any] = json.loads(line)
            print(f"{report['outcome']}: {report['reasons']} {report['seconds']}")  # noqa: T201
            if report["outcome"] == outcome:
                return report
        raise AssertionError((served.folder / "trainer.log").read_text()[-2000:])

    try:
        yield wait_for
    finally:
        process.kill()
        process.wait()
        told.close()


class Traffic:
    """Sends choices, and before them who makes them; remembers the last of each user."""

    def __init__(self, served: Deployment, shop: Shop) -> None:
        self._served, self._shop = served, shop
        self._known: set[str] = set()
        self.newest: dict[str, int] = {}
        self.sent = 0

    def send(self, choices: Sequence[Choice]) -> None:
        """All of them, in order."""
        new = dict.fromkeys(one.user_id for one in choices if one.user_id not in self._known)
        interests = [{"user_id": user, "features": {"interest": self._shop.interests[user]}} for user in new]
        self._served.send([FileEvent(one["user_id"], None, orjson.dumps(one)) for one in interests], Role.USERS)
        self._known |= set(new)
        events = [
            FileEvent(one.user_id, None, orjson.dumps({"event_type": "like", **one._asdict()})) for one in choices
        ]
        for one, position in zip(choices, self._served.send(events), strict=True):
            self.newest[one.user_id] = position.offset
        self.sent += len(choices)

    def hit_rate(self, choices: Sequence[Choice]) -> float:
        """Send, and see how many of the choices stood on the list that the worker would have shown before."""
        before = [metric(self._served, f"fewstep_{name}_total") for name in ("hits", "measured")]
        self.send(choices)
        until(lambda: metric(self._served, "fewstep_events_total") >= self.sent)
        hits, measured = (
            metric(self._served, f"fewstep_{name}_total") - old
            for name, old in zip(("hits", "measured"), before, strict=True)
        )
        return hits / measured


def announce_items(served: Deployment, item_ids: Iterable[str]) -> None:
    with open_producer(served.settings.kafka) as producer:
        for item_id in item_ids:
            producer.send(served.topic(Role.ITEMS), key=item_id.encode(), value=orjson.dumps({"item_id": item_id}))
        producer.flush()


def answer(served: Deployment, user: str) -> dict[str, Any]:
    """A list on request, less what says when and why it was made."""
    request = FileEvent(user, None, orjson.dumps({"timestamp": 1_735_689_600_000}))
    offset = served.send([request], Role.REQUESTS)[0].offset
    found = served.wait_for_lists({user: offset}, Role.REQUESTS)[user]
    return {name: value for name, value in found.items() if name not in ("source", "generated_at")}


@contextmanager
def going_on(traffic: Traffic, make: Callable[[], Sequence[Choice]]) -> Iterator[None]:
    """Choices keep coming meanwhile."""
    over = Event()

    def send() -> None:
        while not over.is_set():
            traffic.send(make())
            over.wait(0.2)

    sender = Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        over.set()
        sender.join()


@pytest.mark.timeout(900)
def test_tastes_drift_and_the_loop_brings_the_lists_back_without_a_hand(served: Deployment) -> None:
    rng = np.random.default_rng(0)
    day, next_day = days(rng)
    shop = Shop(rng)
    traffic = Traffic(served, shop)
    announce_items(served, day.item_ids)
    traffic.send(shop.visits(day, HISTORY, returning=RETURNING))
    first = run(served, *refresh(served))["version"]
    served.start_worker()
    with trainer(served) as wait_for:
        assert wait_for("nothing new")["served"] == first
        until(lambda: "ready" in served.log().read_text())
        until(lambda: metric(served, "fewstep_events_total") == traffic.sent)
        good = traffic.hit_rate(shop.visits(day, MEASURED, returning=RETURNING))

        new = [item_id for item_id in next_day.item_ids if item_id.startswith("new-")]
        announce_items(served, new)
        until(lambda: metric(served, "fewstep_items") == len(day.item_ids) + len(new))
        bad = traffic.hit_rate(shop.visits(next_day, DRIFTED, returning=RETURNING))
        assert bad < 0.7 * good
        until(lambda: bool(served.records(served.topic(Role.REFRESH_REQUESTS))))  # a worker asks once a second
        (record,) = served.records(served.topic(Role.REFRESH_REQUESTS))
        assert RefreshRequest.model_validate_json(record.value).model_version == first
        asker = next(iter(traffic.newest))
        before = answer(served, asker)

        with going_on(traffic, lambda: shop.visits(next_day, 5, returning=RETURNING)):
            report = wait_for("published")
            served.wait_for_log(f"serving default {report['version']} instead of {first}")
        again = traffic.hit_rate(shop.visits(next_day, MEASURED, returning=RETURNING))
    print(f"HR@10 {good:.3f}, after the drift {bad:.3f}, after the refresh {again:.3f}; {report['seconds']}")  # noqa: T201
    assert again >= 0.9 * good
    assert report["training"]["started_from"] == first
    assert_whole(served, traffic, [first, report["version"]])

    after = answer(served, asker)
    assert (before["model_version"], after["model_version"]) == (first, report["version"])
    assert run(served, "model", "rollback")["version"] == first
    served.wait_for_log(f"serving default {first} instead of {report['version']}")
    assert orjson.dumps(answer(served, asker)) == orjson.dumps(before)


def everybody_answered(served: Deployment, traffic: Traffic) -> bool:
    """Whether each user has a list of all that was sent; its source may be the profile that came in the same poll."""
    applied: dict[str, int] = {}
    for one in served.records(served.topic(Role.RECOMMENDATIONS)):
        applied[one.key.decode()] = orjson.loads(dict(one.headers)["fewstep-state"])["interactions"]
    return all(applied.get(user, -1) >= offset for user, offset in traffic.newest.items())


def assert_whole(served: Deployment, traffic: Traffic, versions: list[str]) -> None:
    """No event is lost or counted twice, no list doubled, none of a poll of another version; versions only rise."""
    until(lambda: everybody_answered(served, traffic))
    lists = published(served)
    assert_counted_once(served, traffic.sent)
    assert_not_doubled(lists)
    assert_not_mixed(lists, versions)
    assert {one["model_version"] for one in lists} == set(versions)
