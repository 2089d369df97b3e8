"""Planted bad candidates: each is refused, with its reason. A good one passes."""

import gzip
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from meta import baselines, corpus, synthetic
from meta.config import TrainingConfig
from meta.dataset import load
from meta.ledger import Publication
from meta.refresh import gate
from meta.refresh.candidate import Lesson, stage
from meta.refresh.incumbent import Incumbent
from meta.refresh.judging import supports_at
from meta.refresh.settings import RefreshSettings
from meta.served import load_served
from meta.training import as_scorer, train
from schemas import KafkaSettings

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
RECIPE = TrainingConfig(d=8, epochs=24, validate_every=6, learning_rate=0.01, dropout=0.2, apart_share=0.0)
NOWHERE = KafkaSettings(bootstrap_servers="127.0.0.1:1")
SETTINGS = RefreshSettings(min_judged=20)


class World(NamedTuple):
    folder: object
    before: object
    cut_ms: int


def trained_store(folder, dataset, recipe=RECIPE, seed=0):
    lesson = Lesson(dataset, train(dataset, recipe, seed=seed), None)
    stage(str(folder), "m", lesson, recipe, seed=seed, measures={}, data={}, parent=None, created=NOW)
    return lesson


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Half a year of a small shop, cut so that the last quarter is judged on."""
    folder = tmp_path_factory.mktemp("world")
    made = synthetic.generate(synthetic.Sizes(users=400, items=300, events_per_user=20), seed=3)
    events = list(made.events())
    cut_ms = events[len(events) * 3 // 4].timestamp
    corpus.write(made._replace(events=lambda: iter([e for e in events if e.timestamp < cut_ms])), folder / "before")
    corpus.write(made, folder / "all")
    before = load(*(folder / "before" / f"{name}.jsonl" for name in ("interactions", "items", "users")))
    return World(folder, before, cut_ms)


@pytest.fixture(scope="module")
def good(world, tmp_path_factory):
    """A store with a sound candidate, and its training."""
    store = tmp_path_factory.mktemp("good")
    return store, trained_store(store, world.before)


@pytest.fixture
def planted(good, tmp_path):
    """A copy of the sound candidate, to be damaged: the store, and the folder of its version."""
    store = shutil.copytree(good[0], tmp_path / "planted")
    (folder,) = [path for path in (store / "m").iterdir() if path.is_dir() and path.name != "publications"]
    return store, folder


def users_of(world, store):
    served = load_served(str(store), "m")
    files = (world.folder / "all" / f"{name}.jsonl" for name in ("interactions", "items", "users"))
    return served, load(*files, like=served.manifest, item_ids=served.item_ids)


def rewrite(store, folder, **contents):
    """Replace files and make manifest and latest.json fit, as a trainer with that fault would have written them."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, content in contents.items():
        name = name.replace("__", ".")
        (folder / name).write_bytes(content)
        manifest["files"][name] = {"size": len(content), "sha256": sha256(content).hexdigest()}
    seal(store, folder, manifest)


def seal(store, folder, manifest):
    content = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(content)
    latest = {"model": "m", "version": folder.name, "digest": sha256(content).hexdigest()}
    (store / "m" / "latest.json").write_text(json.dumps(latest))


def examined(world, good, store):
    _, judged = users_of(world, good[0])
    checks, _ = gate.check_candidate(str(store), "m", as_scorer(good[1].trained), judged, NOWHERE)
    return [f"{check.name}: {check.detail}" for check in checks if not check.passed]


def verdict(world, store, *, incumbent=None):
    candidate, judged = users_of(world, store)
    as_incumbent = None
    if incumbent is not None:
        files = (world.folder / "all" / f"{name}.jsonl" for name in ("interactions", "items", "users"))
        as_incumbent = load(*files, like=incumbent.served.manifest, item_ids=candidate.item_ids)
    return gate.judge(
        candidate,
        judged,
        incumbent=incumbent,
        as_incumbent=as_incumbent,
        baselines=baselines.fit_all(world.before),
        cut_ms=world.cut_ms,
        settings=SETTINGS,
        seed=0,
    )


def incumbent_of(store):
    served = load_served(str(store), "m")
    publication = Publication(number=1, version=served.manifest.version, digest="0" * 64, published_at="")
    return Incumbent(publication, served, {}, {}, 0)


def test_a_sound_candidate_passes_and_its_measures_stand_beside_the_baselines(world, good):
    assert examined(world, good, good[0]) == []
    found = verdict(world, good[0], incumbent=incumbent_of(good[0]))
    assert found.reasons == []
    assert {"newest", "cold"} == set(found.measures["levels"])
    assert {"fewstep", "incumbent", "popularity with recency"} <= set(found.measures["levels"]["cold"]["scorers"])
    # Against itself nothing differs: the served version is asked in another encoding, and answers the same.
    assert found.measures["differences"]["incumbent"]["newest"]["mean"] == pytest.approx(0.0, abs=1e-9)


def test_nan_is_refused(world, good, planted):
    store, folder = planted
    tensors = load_tensors((folder / "theta.safetensors").read_bytes())
    tensors["start"] = np.full_like(tensors["start"], np.nan)
    rewrite(store, folder, theta__safetensors=save_tensors(tensors))
    assert "worker: tensor start" in examined(world, good, store)[0]
    assert "NaN" in examined(world, good, store)[0]


def test_swapped_item_rows_are_refused(world, good, planted):
    store, folder = planted
    lines = gzip.decompress((folder / "items.jsonl.gz").read_bytes()).splitlines(keepends=True)
    lines[3], lines[4] = lines[4], lines[3]
    rewrite(store, folder, items__jsonl__gz=gzip.compress(b"".join(lines)))
    (reason,) = examined(world, good, store)
    assert "rows" in reason or "items" in reason


def test_swapped_vectors_are_not_at_parity(world, good, planted):
    store, folder = planted
    tensors = load_tensors((folder / "items.safetensors").read_bytes())
    tensors["item_vectors"] = tensors["item_vectors"][[1, 0, *range(2, len(tensors["item_vectors"]))]]
    rewrite(store, folder, items__safetensors=save_tensors(tensors))
    (reason,) = examined(world, good, store)
    assert "parity" in reason or "canary" in reason


def test_a_truncated_file_is_refused(world, good, planted):
    store, folder = planted
    content = (folder / "score.onnx").read_bytes()
    (folder / "score.onnx").write_bytes(content[: len(content) // 2])
    (reason,) = examined(world, good, store)
    assert "score.onnx" in reason
    assert f"has {len(content) // 2} bytes" in reason


def test_a_wrong_checksum_is_refused(world, good, planted):
    store, folder = planted
    content = bytearray((folder / "items.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "items.safetensors").write_bytes(bytes(content))
    (reason,) = examined(world, good, store)
    assert "sha256" in reason


def test_an_older_format_is_refused(world, good, planted):
    store, folder = planted
    seal(store, folder, json.loads((folder / "manifest.json").read_text()) | {"format_version": 0})
    (reason,) = examined(world, good, store)
    assert "another format, 0" in reason


def test_shuffled_labels_are_worse_than_what_is_served_and_than_baselines(world, good, tmp_path):
    rng = np.random.default_rng(0)
    trained_store(tmp_path, replace(world.before, item=rng.permutation(world.before.item)))
    reasons = verdict(world, tmp_path, incumbent=incumbent_of(good[0])).reasons
    assert any(reason.startswith("newest users against the served version: nDCG@10 -") for reason in reasons)
    assert any(reason.startswith("all users against item-kNN: nDCG@10 -") for reason in reasons)


def test_the_catalog_of_another_shop_is_refused(good):
    check = gate.check_catalog([f"other-{n}" for n in range(300)], incumbent_of(good[0]), SETTINGS)
    assert (check.passed, check.detail) == (False, "300 items, 0% of the 300 that are served")
    assert gate.check_catalog(incumbent_of(good[0]).served.item_ids, incumbent_of(good[0]), SETTINGS).passed


def test_trained_or_judged_on_too_little_is_refused(world, good):
    assert not gate.check_data(999, SETTINGS).passed
    candidate, judged = users_of(world, good[0])
    found = gate.judge(
        candidate, judged, incumbent=None, as_incumbent=None, baselines=[], cut_ms=world.cut_ms,
        settings=RefreshSettings(min_judged=10_000), seed=0,
    )  # fmt: skip
    assert "10000 with a history are the least" in found.reasons[0]


def test_nothing_after_the_cut_is_shown_to_the_scorer(world, good):
    """The newest events of a user with a history are replaced: scores must not move."""
    _, judged = users_of(world, good[0])
    after = judged.time_ms >= world.cut_ms
    changed = replace(judged, item=np.where(after, (judged.item + 7) % judged.n_items, judged.item))
    before = judged.lengths - np.add.reduceat(after.astype(np.int64), judged.starts[:-1])
    users = np.flatnonzero(before > 0)
    first, second = (supports_at(each, users, before[users]) for each in (judged, changed))
    np.testing.assert_array_equal(first.support_items, second.support_items)
    assert (first.now_ms < world.cut_ms).all()
