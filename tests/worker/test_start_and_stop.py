"""Signals at any moment, and what a start finds: a topic made anew, a row of a newer build, half a data directory."""

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployment import Deployment
from test_bad_records import event, last_offset

from schemas import Role
from stream.broker import Broker
from stream.clients.connect import open_admin, open_producer
from stream.clients.provision import create_topics
from stream.shell.preflight import committed_notes
from stream.topics import changelog_topic


@pytest.fixture
def served(broker: Broker, prefix: str, tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(broker, prefix, tmp_path, partitions=1) as deployment:
        yield deployment


def test_sigterm_ends_a_worker_with_0_at_any_moment_and_twice_too(served: Deployment) -> None:
    served.send([event(f"u{number}", "i1") for number in range(2000)])
    rng = random.Random(1)
    for moment in ("serving ", "serving ", "ready"):  # two starts are interrupted somewhere before they are ready
        served.log().write_text("")
        served.start_worker()
        served.wait_for_log(moment)
        for _ in range(rng.randrange(1, 3)):
            served.signal_worker(0, signal.SIGTERM)
        assert served.wait_for_exit() == 0, served.log().read_text()
    served.start_worker()
    served.wait_for_lists(last_offset(served, event("u1", "i2")))
    assert served.stop_worker() == 0


def test_a_row_of_a_newer_build_in_the_changelog_stops_the_worker_naming_it(served: Deployment) -> None:
    with open_producer(served.settings.kafka) as producer:
        topic = changelog_topic(served.settings.worker.app_id)
        producer.send(topic, key=b"ann", value=b"\x63newer", partition=0).get(timeout=20)
    served.start_worker()
    assert served.wait_for_exit() == 1
    said = served.log().read_text()
    assert f"{topic} 0 at offset 0: the row of user sha256:" in said
    assert "start the newer build again" in said
    assert "ann" not in said.replace("cannot", "")


def test_a_source_topic_that_was_made_anew_stops_the_worker_with_the_way_out(
    broker: Broker, served: Deployment
) -> None:
    served.start_worker()
    served.wait_for_lists(last_offset(served, event("ann", "i1")))
    assert served.stop_worker() == 0
    with open_admin(served.settings.kafka) as admin:
        noted = list(committed_notes(admin, served.settings))
        assert noted
        if not broker.name.startswith("Apache Kafka"):
            assert not any(noted)  # it drops what is noted beside an offset; should it keep it one day, the rest holds
            return
        assert all(served.topic(Role.INTERACTIONS) in one for one in noted)
        admin.delete_topics([served.topic(Role.INTERACTIONS)])
    create_topics(served.settings, partitions=1, replication_factor=1)
    last_offset(served, event("ann", "i2"), event("ann", "i3"))  # behind the committed offset again
    served.start_worker()
    assert served.wait_for_exit() == 1
    assert f"topic {served.topic(Role.INTERACTIONS)} was deleted and created again" in served.log().read_text()


def test_a_data_directory_half_gone_is_put_aside_and_rebuilt(broker: Broker, prefix: str, tmp_path: Path) -> None:
    with Deployment(broker, prefix, tmp_path, partitions=1, store="rocksdict") as served:
        served.start_worker()
        served.wait_for_lists(last_offset(served, *(event(f"u{number}", "i1") for number in range(50))))
        assert served.stop_worker() == 0
        tables = [path for path in (tmp_path / "state-0").rglob("*") if path.suffix in (".sst", ".log")]
        for path in tables:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        served.start_worker()
        lists = served.wait_for_lists(last_offset(served, event("u1", "i2"), event("u2", "i2")))
        assert (lists["u1"]["support_size"], lists["u2"]["support_size"]) == (2, 2)
        assert "put aside, and rebuilt from the changelog" in served.log().read_text()


def test_a_changelog_that_was_made_anew_is_not_mixed_with_the_local_state(
    broker: Broker, prefix: str, tmp_path: Path
) -> None:
    with Deployment(broker, prefix, tmp_path, partitions=1, store="rocksdict") as served:
        served.start_worker()
        served.wait_for_lists(last_offset(served, event("ann", "i1"), event("bob", "i1")))
        assert served.stop_worker() == 0
        with open_admin(served.settings.kafka) as admin:
            admin.delete_topics([changelog_topic(served.settings.worker.app_id)])
        create_topics(served.settings, partitions=1, replication_factor=1)
        served.start_worker()
        assert served.wait_for_exit() == 1
        assert "is no copy of changelog" in served.log().read_text()
        (tmp_path / "state-0" / "changelog.json").unlink()  # as of a build that did not note it
        served.start_worker()
        assert served.wait_for_exit() == 1
        assert "ends at offset 0, the local state holds offset" in served.log().read_text()
