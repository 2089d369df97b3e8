"""The further measurements of `fewstep bench`, each small: whether they run and their figures agree."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import write_tiny_bundle

from stream.bench import polls
from stream.bench.grown import grow_bundle
from stream.broker import Broker
from stream.engine.blocks import BLOCK_ITEMS, ONE_BLOCK_ITEMS
from stream.engine.bundle import load_bundle


def bench(broker: Broker, folder: Path, *options: str) -> dict:
    write_tiny_bundle(folder / "models")
    done = subprocess.run(
        [
            sys.executable, "-m", "stream", "bench", "--bootstrap-servers", broker.bootstrap_servers, "--json",
            "--events", "300", "--users", "40", "--model-store", str(folder / "models"), *options,
        ],
        capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["runs"] == []  # they take the place of the throughput
    return found["sections"]


def test_a_changelog_is_recovered_by_each_store_and_by_stock_faust(broker: Broker, tmp_path: Path) -> None:
    memory, disk, again, stock = bench(broker, tmp_path, "--recovery", "300")["recovery"]
    assert [one["users"] for one in (memory, disk, again, stock)] == [300] * 4
    assert min(one["seconds"] for one in (memory, disk, stock)) > 0
    assert disk["disk_bytes"] > 300 * 500 > memory["disk_bytes"]
    assert again["ready_s"] > again["seconds"]


def test_workers_and_a_backlog_answer_all_events(broker: Broker, tmp_path: Path) -> None:
    found = bench(broker, tmp_path, "--workers", "2", "--backlog", "300")
    assert [(one["workers"], one["events"]) for one in found["workers"]] == [(1, 300), (2, 300)]
    assert [one["store"] for one in found["backlog"]] == ["memory", "rocksdict"]
    for drained in found["backlog"]:
        assert drained["users"] <= drained["lists"] <= drained["events"] == 300
        assert len(drained["mib"]) == 3
        assert 0 < max(drained["mib"]) <= drained["peak_mib"]


@pytest.mark.parametrize("n_items", [ONE_BLOCK_ITEMS, ONE_BLOCK_ITEMS + 5])
def test_a_grown_bundle_serves_in_blocks_what_it_would_serve_at_once(tmp_path: Path, n_items: int) -> None:
    manifest = write_tiny_bundle(tmp_path, model="m")
    name = grow_bundle(str(tmp_path), "m", n_items=n_items, seed=0)
    grown = load_bundle(str(tmp_path), name)
    assert (grown.manifest.n_items, grown.manifest.d) == (n_items, manifest.d)
    assert len(grown.blocks.rows) == (1 if n_items <= ONE_BLOCK_ITEMS else -(-n_items // BLOCK_ITEMS))
    users = np.random.default_rng(0).standard_normal((8, manifest.d)).astype(np.float32)
    expected = users @ grown.catalog.vectors.T + grown.tensors["prior"][0]
    np.testing.assert_allclose(grown.score(users, np.zeros(8, np.int64)), expected, atol=1e-5)


def test_steps_are_timed_for_polls_of_each_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_bundle(tmp_path)
    monkeypatch.setattr(polls, "_BEFORE", 100)
    monkeypatch.setattr(polls, "_POLLS", 3)
    found = polls.measure_polls(str(tmp_path), "default", sizes=(1, 20))
    assert [(one.events, len(one.ms)) for one in found] == [(1, 3), (20, 3)]
    assert min(min(one.ms) for one in found) > 0
