"""F9, F11, F23, F29, F32: floods, hot keys and foreign partitions end right, and nobody who looks on learns of a user.

All of it goes to one worker. FEWSTEP_TEST_HOT sets how many events the hot user has; nightly runs take 1000000.
"""

import os
import signal
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import orjson
import pytest
from deployment import Deployment
from reference.worker import wrong_rows
from traffic import START_MS, altered, event, newest

from schemas import Role
from stream.broker import Broker
from stream.broker.process import free_port
from stream.clients.connect import open_producer
from stream.core.codec import decode_row

HOT = int(os.environ.get("FEWSTEP_TEST_HOT", "40000"))
CANARY = "canary-3f9a"
TOKEN = "a-token-of-the-test"
# What Faust would serve, what frameworks serve, and what a curious person tries.
GUESSES = [
    "/", "/table/", "/table/support-sets/{user}/", "/router/", "/router/support-sets/{user}/", "/stats/", "/graph/",
    "/assignment/", "/performance/", "/debug", "/users/{user}", "/recommendations/{user}", "/state?user={user}",
    "/metrics/{user}", "/ready/{user}", "/.env", "/static/../../etc/passwd", "/openapi.json", "/docs", "/{user}",
]  # fmt: skip


@pytest.fixture(scope="module")
def port(broker: Broker) -> int:
    """Where the worker listens; chosen when the broker has its own ports."""
    return free_port()


@pytest.fixture(scope="module")
def served(broker: Broker, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    environment = {"FEWSTEP_WEB__PORT": str(port), "FEWSTEP_WEB__TOKEN": TOKEN}
    folder = tmp_path_factory.mktemp("odd")
    with Deployment(broker, "odd-", folder, store="memory", environment=environment) as deployment:
        deployment.start_worker()
        deployment.wait_for_log("ready:")
        yield deployment


def row_of(served: Deployment, user: str) -> bytes:
    return served.changelog().last[user.encode()] or b""


def resident_mib(served: Deployment) -> float:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{served.pid()}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


def flooded(served: Deployment) -> int:
    """How many of 1000 events of one id were applied, and of one more with another id."""
    flood = [event("flooded", f"i{number % 50}", event_id="same") for number in range(1000)]
    sent = [*flood, event("flooded", "i60", event_id="another"), *flood[:10]]
    served.wait_for_lists(newest(sent, served.send(sent)))
    return decode_row(row_of(served, "flooded"), b"flooded").events


def test_a_flood_of_one_event_changes_the_state_once(served: Deployment) -> None:
    assert flooded(served) == 2


def test_without_the_ring_of_event_ids_the_flood_is_applied(broker: Broker, prefix: str, tmp_path: Path) -> None:
    with Deployment(broker, prefix, tmp_path, partitions=1, program=altered("without_event_ids")) as deployment:
        deployment.start_worker()
        assert flooded(deployment) == 1011


@pytest.mark.timeout(1800)
def test_a_hot_user_costs_neither_space_nor_the_others_time(served: Deployment) -> None:
    served.wait_for_lists(newest(*sent_hot(served, 0, 2000)))
    size, memory = len(row_of(served, "hot")), resident_mib(served)
    made, positions = [], []
    for start in range(2000, HOT, 38_000):
        served.signal_worker(0, signal.SIGSTOP)  # else what is sent might be served before the next is sent
        made, positions = sent_hot(served, start, min(38_000, HOT - start))
        if start + 38_000 < HOT:
            served.signal_worker(0, signal.SIGCONT)
    cold = [event(f"cold{number}", "i1", at=START_MS + 1) for number in range(40)]
    placed = served.send(cold)
    served.signal_worker(0, signal.SIGCONT)
    served.wait_for_lists(newest(made + cold, positions + placed))

    partition = positions[0].partition
    lists = [one for one in served.records(served.topic(Role.RECOMMENDATIONS)) if one.value is not None]
    elsewhere = [one for one in lists if one.key.startswith(b"cold") and one.partition != partition]
    hot = [one for one in lists if one.key == b"hot"]
    assert len(elsewhere) > 0
    # They were sent last and are served before the hot partition's backlog is.
    assert max(one.timestamp for one in elsewhere) <= hot[-1].timestamp
    assert len(hot) < HOT / 10  # several events of a poll make one list
    assert abs(len(row_of(served, "hot")) - size) < 64  # numbers grow, the window does not
    assert resident_mib(served) - memory < 150  # polls in hand, fetch buffers


def sent_hot(served: Deployment, start: int, count: int) -> tuple[list, list]:
    made = [event("hot", f"i{number % 200}", at=START_MS + number) for number in range(start, start + count)]
    return made, served.send(made)


def test_state_is_right_where_another_partitioner_put_the_users_events(served: Deployment, port: int) -> None:
    with open_producer(served.settings.kafka) as producer:
        sent = {
            user: producer.send(
                served.topic(Role.INTERACTIONS),
                key=user.encode(),
                value=event(user, item).value,
                partition=number % served.partitions,
            ).get(timeout=30)
            for item in ("i1", "i2", "i3")
            for number, user in enumerate(f"foreign{at}" for at in range(40))
        }
    served.wait_for_lists({user: at.offset for user, at in sent.items()})
    rows = served.changelog().last
    theirs = {key: row for key, row in rows.items() if key.startswith(b"foreign")}
    inputs = [one for one in served.interactions() if (one.key or b"").startswith(b"foreign")]
    assert len(theirs) == 40
    assert wrong_rows(served.settings, inputs, theirs) == []
    assert "fewstep_keys_elsewhere_total 0.0" not in answer(port, "/metrics", token=TOKEN)[1]
    # Row and list lie beside the events, not where murmur2 would put them.
    lists = [one for one in served.records(served.topic(Role.RECOMMENDATIONS)) if one.key in theirs]
    assert all(one.partition == sent[one.key.decode()].partition for one in lists)


def answer(port: int, path: str, *, token: str | None = None) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def seen_of(served: Deployment, port: int, canary: str) -> set[str]:
    """Where a user, an item or a payload shows who looks on: `log`, `letter`, `http`."""
    bad = orjson.dumps({"item_id": f"{canary}-item", "event_type": f"{canary}-type", "value": f"{canary}-value"})
    with open_producer(served.settings.kafka) as producer:
        for value in (bad, f"{{{canary}".encode(), bad.replace(b"item_id", f"{canary}_id".encode())):
            producer.send(served.topic(Role.INTERACTIONS), key=f"{canary}-user".encode(), value=value).get(timeout=30)
    mine = event(f"{canary}-user", "i1")
    served.wait_for_lists(newest([mine], served.send([mine])))
    letters = [one for one in served.records(served.topic(Role.DEAD_LETTERS)) if canary.encode() in one.key]
    assert len(letters) == 3
    found = {"log"} if canary in served.log().read_text() else set()
    found |= {"letter" for one in letters for _, value in one.headers if canary.encode() in value}
    return found | ({"http"} if canary in answer(port, "/metrics", token=TOKEN)[1] else set())


def test_neither_logs_nor_headers_nor_metrics_tell_of_a_user(served: Deployment, port: int) -> None:
    assert seen_of(served, port, CANARY) == set()


def test_a_log_that_tells_is_noticed(broker: Broker, prefix: str, tmp_path: Path) -> None:
    port = free_port()
    environment = {"FEWSTEP_WEB__PORT": str(port), "FEWSTEP_WEB__TOKEN": TOKEN}
    with Deployment(
        broker, prefix, tmp_path, partitions=1, program=altered("without_quiet_logs"), environment=environment
    ) as deployment:
        deployment.start_worker()
        assert "log" in seen_of(deployment, port, CANARY)


def test_a_scan_of_the_port_finds_probes_and_nothing_of_a_known_user(served: Deployment, port: int) -> None:
    known = event("scanned", "i1")
    served.wait_for_lists(newest([known], served.send([known])))
    for path in GUESSES:
        for token in (None, TOKEN):
            status, body = answer(port, path.format(user="scanned"), token=token)
            while status == 429:  # as often as it is let
                status, body = answer(port, path.format(user="scanned"), token=token)
            assert (status, "scanned" in body) == (404, False), path
    assert listening(served.pid()) == {("127.0.0.1", port)}


def listening(pid: int) -> set[tuple[str, int]]:
    """Addresses on which a process accepts connections."""
    sockets = {str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir() if one.is_symlink()}
    found = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
            address, port = fields[1].split(":")
            found.add((socket.inet_ntoa(bytes.fromhex(address)[::-1]), int(port, 16)))
    return found
