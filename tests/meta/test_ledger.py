import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from threading import Barrier, Thread

import pytest
from faulty_store import FaultyFileSystem, KilledError

from meta import ledger
from meta.store import Store, open_store, read_latest, write_file
from schemas.errors import BundleError, RefusedError

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
FILES = ("theta.safetensors", "items.safetensors", "manifest.json")


@pytest.fixture(params=["folder", "s3"])
def store(request, tmp_path):
    if request.param == "folder":
        return open_store(str(tmp_path / "models"))
    return open_store(f"{request.getfixturevalue('bucket')}/{tmp_path.name}")


def put(store, version, *, after=None):
    """A version without a model: the ledger asks for its manifest alone."""
    if after is not None:
        ledger.claim(store, "films", version, after=after)
    for name in FILES:
        write_file(store, f"{version} {name}".encode(), "films", version, name)


def serve(store, version, **options):
    put(store, version)
    return ledger.publish(store, "films", version, now=NOW, **options)


def served(store):
    latest = read_latest(store, "films")
    return None if latest is None else latest.version


def test_latest_names_the_newest_publication_and_its_manifest(store):
    assert ledger.head(store, "films") is None
    first, second = serve(store, "v1"), serve(store, "v2")
    assert (first.number, second.number) == (1, 2)
    latest = read_latest(store, "films")
    assert (latest.version, latest.digest) == ("v2", sha256(b"v2 manifest.json").hexdigest())
    assert [entry.version for entry in ledger.history(store, "films")] == ["v1", "v2"]


def test_nobody_publishes_over_what_he_has_not_seen(store):
    serve(store, "v1")
    put(store, "v2")
    put(store, "v3")
    ledger.publish(store, "films", "v2", now=NOW, after=1)
    with pytest.raises(RefusedError, match="meanwhile"):
        ledger.publish(store, "films", "v3", now=NOW, after=1)
    assert served(store) == "v2"


def test_of_many_trainers_at_once_one_publishes_and_the_store_is_whole(store):
    serve(store, "v0")
    names = [f"c{number}" for number in range(8)]
    barrier, outcomes = Barrier(len(names)), {}

    def race(name):
        put(store, name, after=1)
        barrier.wait()
        try:
            outcomes[name] = ledger.publish(store, "films", name, now=NOW, after=1)
        except RefusedError:
            outcomes[name] = None

    threads = [Thread(target=race, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [name for name, entry in outcomes.items() if entry is not None]
    assert len(winners) == 1
    assert served(store) == winners[0]
    ledger.tidy(store, "films", keep=5, now=NOW)
    assert set(ledger.versions(store, "films")) == {"v0", *winners}


def test_a_slow_trainer_that_wakes_up_does_not_take_latest_back(store):
    serve(store, "v1")
    latest_of_v1 = store.filesystem.cat_file(f"{store.root}/films/latest.json")
    serve(store, "v2")
    # It was stopped before its last write, which it now makes, and then looks again.
    write_file(store, latest_of_v1, "films", "latest.json")
    ledger.settle(store, "films")
    assert served(store) == "v2"


def test_a_store_without_a_ledger_is_taken_as_it_is(store):
    put(store, "hand-made")
    digest = sha256(b"hand-made manifest.json").hexdigest()
    latest = {"model": "films", "version": "hand-made", "digest": digest}
    write_file(store, json.dumps(latest).encode(), "films", "latest.json")
    assert ledger.settle(store, "films").number == 0
    assert serve(store, "v1", after=0).number == 1
    ledger.tidy(store, "films", keep=2, now=NOW)
    assert ledger.versions(store, "films") == ["hand-made", "v1"]


def test_a_version_that_is_not_there_is_not_published(store):
    serve(store, "v1")
    with pytest.raises(BundleError, match="no version v9"):
        ledger.publish(store, "films", "v9", now=NOW)
    assert served(store) == "v1"


def test_old_versions_go_and_the_served_one_stays(store):
    for number in range(1, 6):
        serve(store, f"v{number}")
    ledger.publish(store, "films", "v1", action="rollback", now=NOW)
    assert ledger.tidy(store, "films", keep=2, now=NOW) == ["v2", "v3", "v4"]
    assert ledger.versions(store, "films") == ["v1", "v5"]
    assert served(store) == "v1"


def test_what_another_trainer_is_writing_is_left_alone_until_its_number_is_taken(store):
    serve(store, "v1")
    ledger.claim(store, "films", "half", after=1)
    write_file(store, b"x", "films", "half", "theta.safetensors")
    assert ledger.tidy(store, "films", keep=5, now=NOW) == []
    serve(store, "v2")
    assert ledger.tidy(store, "films", keep=5, now=NOW) == ["half"]


def test_the_version_before_is_that_of_the_first_publications(store):
    for version in ("a", "b", "c"):
        serve(store, version)
    ledger.publish(store, "films", "b", action="rollback", now=NOW)
    entries = ledger.history(store, "films")
    assert [ledger.before_current(entries, version) for version in "abc"] == [None, "a", "b"]


def test_killed_at_any_change_the_next_run_finishes_and_nothing_half_is_left(tmp_path):
    """Publish v2 over v1 and tidy up, die at the n-th change to the store, then run again, for every n there is."""
    for dies_at in count(1):
        root = str(tmp_path / f"store-{dies_at}")
        serve(open_store(root), "v1")
        faulty = Store(FaultyFileSystem(dies_at), root, root)
        try:
            put(faulty, "v2", after=1)
            ledger.publish(faulty, "films", "v2", now=NOW, after=1)
            ledger.tidy(faulty, "films", keep=5, now=NOW)
            finished = True
        except KilledError:
            finished = False
        store = open_store(root)
        # Whatever is served, at any moment, is whole.
        version = served(store)
        assert store.filesystem.cat_file(f"{root}/films/{version}/manifest.json") == f"{version} manifest.json".encode()
        later = NOW + timedelta(days=1)
        if ledger.settle(store, "films").version == "v1":
            put(store, "v2b", after=1)
            ledger.publish(store, "films", "v2b", now=later, after=1)
        # Unfinished files are as young as this test: the clock goes ahead instead.
        ledger.tidy(store, "films", keep=5, now=datetime.now(UTC) + timedelta(hours=2))
        found = {path.rpartition("/films/")[2] for path in store.filesystem.find(root)}
        newest = served(store)
        wanted = {f"{version}/{name}" for version in ("v1", newest) for name in FILES}
        wanted |= {"latest.json", "publications/00000001.json", "publications/00000002.json"}
        assert found == wanted, f"killed at change {dies_at}"
        if finished:
            break
    assert dies_at > 12


def test_a_store_that_is_a_file_is_told_with_the_flag_to_correct(tmp_path):
    (tmp_path / "store").touch()
    with pytest.raises(BundleError, match="cannot be listed: Not a directory; correct --model-store"):
        ledger.versions(open_store(str(tmp_path / "store")), "films")
