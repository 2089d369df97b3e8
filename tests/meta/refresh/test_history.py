"""The archive: what the topics say, each event once, and nothing of who wants to be forgotten."""

import json
import os
from datetime import UTC, datetime
from itertools import count

import polars as pl
import pytest
from faulty_store import FaultyFileSystem, KilledError
from interactions import interaction
from kafka import KafkaProducer

from meta.refresh.archive import Archive, State, open_archive
from meta.refresh.history import update
from meta.store import Store
from schemas import Role, topic_name
from schemas.errors import DataError, RefusedError

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def archive(tmp_path):
    return open_archive(str(tmp_path / "archive"))


def events(archive):
    parts = [archive.read(part) for part in archive.state().of("interactions")]
    return pl.concat(parts) if parts else pl.DataFrame(schema={"event_id": pl.String, "user_id": pl.String})


def ids(archive):
    return sorted(events(archive)["event_id"].to_list())


def on_disk(archive):
    """All bytes that lie below the archive."""
    filesystem = archive.store.filesystem
    return b"".join(filesystem.cat_file(path) for path in filesystem.find(archive.store.root))


def test_events_of_all_partitions_are_archived_once_and_only_new_ones_are_read_again(kafka, send, archive):
    send(Role.INTERACTIONS, [interaction(f"u{n % 5}", n) for n in range(40)])
    first = update(archive, kafka, NOW)
    assert first.events == first.rows == len(ids(archive)) == 40
    assert sum(first.positions[topic_name(Role.INTERACTIONS, kafka.topic_prefix)].values()) == 40
    send(Role.INTERACTIONS, [interaction(f"u{n % 5}", n) for n in range(40, 47)])
    second = update(archive, kafka, NOW)
    assert (second.events, second.rows, len(second.of("interactions"))) == (47, 47, 1)
    assert update(archive, kafka, NOW) == second


@pytest.mark.skipif(not os.environ.get("KAFKA_HOME"), reason="the embedded broker delivers what was aborted")
def test_what_a_producer_aborted_is_no_event(kafka, archive):
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id=kafka.topic_prefix)
    producer.init_transactions()
    for number, end in enumerate((producer.abort_transaction, producer.commit_transaction, producer.abort_transaction)):
        producer.begin_transaction()
        key, value = interaction("ann", number)
        topic = topic_name(Role.INTERACTIONS, kafka.topic_prefix)
        producer.send(topic, key=key.encode(), value=json.dumps(value).encode())
        producer.flush()
        end()
    producer.close()
    update(archive, kafka, NOW)
    assert ids(archive) == ["ann-1"]


def test_an_event_that_was_sent_twice_is_kept_once(kafka, send, archive):
    send(Role.INTERACTIONS, [interaction("ann", n) for n in (1, 2, 2, 3)])
    update(archive, kafka, NOW)
    send(Role.INTERACTIONS, [interaction("ann", 3), interaction("bob", 3), interaction("ann", 4)])
    state = update(archive, kafka, NOW)
    assert ids(archive) == ["ann-1", "ann-2", "ann-3", "ann-4", "bob-3"]
    assert (state.events, state.duplicates) == (5, 2)


def test_what_the_producer_leaves_out_comes_from_the_record(kafka, send, archive):
    send(Role.INTERACTIONS, [("ann", {"item_id": 7, "event_type": "view"})], timestamp_ms=round(NOW.timestamp() * 1000))
    update(archive, kafka, NOW)
    row = events(archive).row(0, named=True)
    assert (row["user_id"], row["item_id"], row["timestamp"]) == ("ann", "7", round(NOW.timestamp() * 1000))
    assert row["event_id"] == f"{topic_name(Role.INTERACTIONS, kafka.topic_prefix)}-{row['partition']}-{row['offset']}"


def test_cloud_events_are_opened(kafka, send, archive):
    wrapped = {"specversion": "1.0", "id": "ce-1", "data": {"item_id": "i1", "event_type": "view"}}
    headers = [("content-type", b"application/cloudevents+json")]
    send(Role.INTERACTIONS, [("ann", wrapped)], headers=headers)
    update(archive, kafka, NOW)
    assert ids(archive) == ["ce-1"]


def test_what_cannot_be_read_is_counted_and_does_not_stop_the_rest(kafka, send, archive):
    bad = [b"{", {"item_id": "i"}, {"schema_version": 99, "item_id": "i", "event_type": "view"}]
    records = [*(("ann", value) for value in bad), (None, {"item_id": "i", "event_type": "view"})]
    send(Role.INTERACTIONS, [*records, interaction("ann", 1)])
    state = update(archive, kafka, NOW)
    assert (ids(archive), state.refused) == (["ann-1"], 4)


def test_a_forgotten_user_is_erased_from_files_and_profiles_but_may_come_back(kafka, send, archive):
    send(Role.USERS, [(user, {"user_id": user, "features": {"city": user}}) for user in ("ann-secret", "bob")])
    send(Role.INTERACTIONS, [interaction(user, n) for user in ("ann-secret", "bob") for n in (1, 2)])
    update(archive, kafka, NOW)
    assert b"ann-secret" in on_disk(archive)
    send(Role.INTERACTIONS, [("ann-secret", None), interaction("bob", 3)])
    state = update(archive, kafka, NOW)
    assert ids(archive) == ["bob-1", "bob-2", "bob-3"]
    assert state.erased == 2
    assert b"ann-secret" not in on_disk(archive)
    assert "ann-secret" not in archive.read(state.of("profiles")[0])["user_id"].to_list()
    send(Role.INTERACTIONS, [interaction("ann-secret", 9)])
    update(archive, kafka, NOW)
    assert ids(archive) == ["ann-secret-9", "bob-1", "bob-2", "bob-3"]


def test_who_is_forgotten_on_the_users_topic_is_forgotten_too(kafka, send, archive):
    send(Role.INTERACTIONS, [interaction("ann", 1), interaction("bob", 1)])
    update(archive, kafka, NOW)
    send(Role.USERS, [("ann", None)])
    update(archive, kafka, NOW)
    assert ids(archive) == ["bob-1"]


def test_events_before_a_tombstone_of_the_same_run_are_never_kept(kafka, send, archive):
    records = [interaction("ann", 1), ("ann", None), interaction("ann", 2)]
    send(Role.INTERACTIONS, records)
    update(archive, kafka, NOW, chunk=1)
    assert ids(archive) == ["ann-2"]


def test_items_are_the_last_of_each_without_the_withdrawn_ones(kafka, send, archive):
    send(Role.ITEMS, [("i1", {"item_id": "i1"}), ("i2", {"item_id": "i2"}), ("i1", {"item_id": "i1", "title": "new"})])
    update(archive, kafka, NOW)
    send(Role.ITEMS, [("i2", None), ("i3", {"item_id": "i3"})])
    state = update(archive, kafka, NOW)
    found = archive.read(state.of("items")[0])
    assert found["item_id"].to_list() == ["i1", "i3"]
    assert '"title":"new"' in found["message"][0]


def test_killed_at_any_change_no_event_is_lost_or_doubled_and_nobody_escapes_erasure(kafka, send, tmp_path):
    """Read in chunks and die at the n-th change to the archive, then run again to the end, for every n there is."""
    send(Role.INTERACTIONS, [interaction("ann" if n % 3 else "gone", n) for n in range(12)])
    send(Role.INTERACTIONS, [("gone", None), interaction("bob", 1)])
    wanted = sorted([f"ann-{n}" for n in range(12) if n % 3] + ["bob-1"])
    for dies_at in count(1):
        root = str(tmp_path / f"archive-{dies_at}")
        try:
            update(Archive(Store(FaultyFileSystem(dies_at), root, root, "archive")), kafka, NOW, chunk=5)
            finished = True
        except KilledError:
            finished = False
        archive = open_archive(root)
        update(archive, kafka, datetime.now(UTC), chunk=5)
        assert ids(archive) == wanted, f"killed at change {dies_at}"
        live = {(part.kind, part.name) for part in archive.state().parts}
        lying = {
            tuple(path.rsplit("/", 2)[1:]) for path in archive.store.filesystem.find(root) if path.endswith(".parquet")
        }
        assert lying == live, f"killed at change {dies_at}"
        if finished:
            break
    assert dies_at > 12


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_of_two_writers_one_is_refused_and_the_archive_stays_whole(where, request, tmp_path):
    root = str(tmp_path) if where == "folder" else f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
    archive = open_archive(f"{root}/archive")
    state = archive.state()
    after = archive.commit(state, State(events=1), NOW)
    with pytest.raises(RefusedError, match="another refresh writes"):
        archive.commit(state, State(events=2), NOW)
    assert archive.state() == after
    part = archive.write(after, "interactions", pl.DataFrame({"timestamp": [3]}))
    assert archive.read(part)["timestamp"].to_list() == [part.first_ms]


def test_a_topic_that_ends_before_the_archive_was_recreated(kafka, send, archive):
    topic = topic_name(Role.INTERACTIONS, kafka.topic_prefix)
    send(Role.INTERACTIONS, [interaction("ann", 1)])
    archive.commit(State(), State(positions={topic: {0: 1000, 1: 1000}}), NOW)
    with pytest.raises(DataError, match="was recreated"):
        update(archive, kafka, NOW)


def test_an_archive_of_other_topics_is_refused(kafka, archive):
    archive.commit(State(), State(positions={"shop-interactions": {0: 3}}), NOW)
    with pytest.raises(DataError, match="that of topic shop-interactions"):
        update(archive, kafka, NOW)
