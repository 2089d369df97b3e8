"""What a refresh learns from: the newest events, cut in time; its size follows what is new, not what there is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import big_archive
import polars as pl
import pytest

from meta.refresh.archive import open_archive
from meta.refresh.window import LEAST_EVENTS, cut_window

N_EVENTS = int(os.environ.get("FEWSTEP_TEST_EVENTS", "1000000"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("big")
    big_archive.make_up(folder, N_EVENTS)
    return open_archive(str(folder))


def cut(archive, folder, **changed):
    state = archive.state()
    options = {"trained": {}, "n_new": state.events, "max_events": N_EVENTS, "incremental": False, "fallback_items": []}
    return cut_window(archive, state, folder, **(options | changed))


def test_the_newest_half_of_what_is_new_is_kept_from_the_training(archive, tmp_path):
    ends = archive.state().positions[big_archive.TOPIC]
    trained = {partition: end - 1000 for partition, end in ends.items()}
    window = cut(archive, tmp_path, trained=trained, n_new=12_000, incremental=True)
    assert window.n_events == LEAST_EVENTS
    assert window.n_new == pytest.approx(12_000, rel=0.05)
    before = pl.read_parquet(window.before / "*.parquet")
    everything = pl.read_parquet(window.everything / "*.parquet")
    assert before["timestamp"].max() < window.cut_ms
    after = everything.filter(pl.col("timestamp") >= window.cut_ms)
    assert len(after) == pytest.approx(6000, rel=0.05)
    assert len(before) + len(after) == len(everything) == window.n_events
    judged = pl.read_parquet(window.judged / "*.parquet")
    assert set(judged["user_id"]) <= set(after["user_id"])
    assert judged["user_id"].n_unique() <= 2000


def test_memory_of_an_incremental_refresh_does_not_grow_with_the_archive(archive):
    """In processes of their own: the peak of a small window is well below that of the whole archive."""
    program = Path(big_archive.__file__)

    def peak(*arguments):
        command = [sys.executable, str(program), archive.store.root, str(N_EVENTS), str(N_EVENTS), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=True)
        return json.loads(done.stdout)

    whole, small = peak(), peak("6000")
    assert (whole["events"], small["events"]) == (N_EVENTS, LEAST_EVENTS)
    assert small["peak_mb"] < 0.8 * whole["peak_mb"]
