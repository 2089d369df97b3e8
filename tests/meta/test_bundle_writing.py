import gzip
import json
import shutil
from datetime import UTC, datetime
from hashlib import sha256

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors

from meta import bundle
from meta.config import TrainingConfig
from meta.dataset import load, subset
from meta.served import load_served
from meta.supports import first_events
from meta.training import as_scorer, refit, train
from schemas import Item, Latest, Manifest
from schemas.errors import BundleError, ConfigurationError, RefusedError
from stream.engine.bundle import load_bundle

CREATED = datetime(2026, 1, 31, 12, tzinfo=UTC)
CONFIG = TrainingConfig(d=8, epochs=2, validate_every=1)


@pytest.fixture(scope="session")
def trained(world):
    return train(world, CONFIG, seed=0)


@pytest.fixture
def copied(model_store, tmp_path):
    """A store that a test may damage."""
    return shutil.copytree(model_store, tmp_path / "store")


@pytest.fixture
def one_graph(monkeypatch):
    """No export, which takes seconds: a graph holds no weights."""
    monkeypatch.setattr(bundle, "export_adapt", lambda *_: b"graph")


def write(store, world, trained, **changed):
    arguments = {
        "trained": trained,
        "dataset": world,
        "config": CONFIG,
        "seed": 0,
        "measures": {},
        "data": bundle.describe_data(world),
        "created": CREATED,
    }
    return bundle.write_bundle(str(store), "small", **(arguments | changed))


def test_what_is_served_scores_as_what_was_trained(model_store, made_up, trained):
    served = load_served(str(model_store), "small")
    held_out = load(
        made_up / "held-out.jsonl",
        made_up / "items.jsonl",
        made_up / "users.jsonl",
        like=served.manifest,
        item_ids=served.item_ids,
    )
    users = np.arange(held_out.n_users)
    for k in (0, 1, 20):
        supports = first_events(held_out, users, k)
        np.testing.assert_allclose(served.score(supports), as_scorer(trained).score(supports), atol=1e-5, rtol=0)


def test_more_users_than_one_run_takes_are_scored_in_order(model_store, world):
    served = load_served(str(model_store), "small")
    users = np.arange(700) % world.n_users
    scores = served.score(first_events(world, users, 5))
    at = [0, 255, 256, 699]
    np.testing.assert_allclose(scores[at], served.score(first_events(world, users[at], 5)), atol=1e-5, rtol=0)


def test_the_worker_loads_it_and_explains_its_scores(model_store, world):
    served, loaded = load_served(str(model_store), "small"), load_bundle(str(model_store), "small")
    supports = first_events(world, np.arange(16), 6)
    times = np.array([served.manifest.time_index(int(now)) for now in supports.now_ms])
    features = {**supports._asdict(), "time_index": times}
    user_vector, support_vectors = loaded.adapt(features)
    scores = loaded.score(user_vector, times)
    np.testing.assert_allclose(scores, served.score(supports), atol=1e-6)
    vectors, prior = served.tensors["item_vectors"], served.tensors["prior"]
    common = user_vector - support_vectors.sum(1)
    added = np.einsum("id,bsd->bi", vectors, support_vectors)
    np.testing.assert_allclose(scores, common @ vectors.T + added + prior[times], atol=1e-5)


def test_the_manifest_describes_every_file_and_tensor(model_store, world, trained):
    folder = model_store / "small" / "v1"
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    assert {path.name for path in folder.iterdir()} == {*manifest.files, "manifest.json", "README.md"}
    for name, entry in manifest.files.items():
        content = (folder / name).read_bytes()
        assert (entry.size, entry.sha256) == (len(content), sha256(content).hexdigest())
    for name, entry in manifest.tensors.items():
        tensor = load_tensors((folder / entry.file).read_bytes())[name]
        assert (tensor.dtype, tensor.shape) == (entry.dtype, entry.shape)
    assert manifest.kinds == world.kinds
    assert manifest.user_features == world.user_features
    assert manifest.prior_times == trained.prior_times.tolist()
    assert manifest.hyper_parameters["d"] == manifest.d == 8
    assert manifest.seeds == {"training": 0}
    assert manifest.data["n_events"] == len(world.item)
    latest = Latest.model_validate_json((model_store / "small" / "latest.json").read_bytes())
    assert (latest.version, latest.digest) == ("v1", sha256((folder / "manifest.json").read_bytes()).hexdigest())


def test_the_items_stand_in_row_order(model_store, world):
    lines = gzip.decompress((model_store / "small" / "v1" / "items.jsonl.gz").read_bytes()).splitlines()
    assert [Item.model_validate_json(line) for line in lines] == world.items


def test_the_model_card_tells_data_measures_and_limits(copied, world, trained):
    measure = {"ndcg": {"0": {"mean": 0.25}, "5": {"mean": None}}}
    found = {"cutoff": 10, "n_users": 7, "scorers": {"fewstep": measure}}
    write(copied, world, trained, version="v2", measures={"rest": found})
    card = (copied / "small" / "v2" / "README.md").read_text()
    assert "| fewstep | 0.250 | - |" in card
    assert "7 validation users, mode `rest`" in card
    assert f"{len(world.item)} events of {world.n_users} users" in card
    assert "No validation user" in (copied / "small" / "v1" / "README.md").read_text()


@pytest.mark.parametrize(
    "recipe",
    [{}, {"objective": "rating"}, {"exact_items": 20, "sampled_items": 30}],
    ids=["default", "rating", "sampled"],
)
def test_two_runs_with_one_seed_give_one_digest(recipe, made_up, rated, tmp_path, request):
    if recipe:
        request.getfixturevalue("one_graph")
    folder = rated if recipe.get("objective") == "rating" else made_up
    found = []
    for name in ("one", "two"):
        data = load(folder / "interactions.jsonl", folder / "items.jsonl", folder / "users.jsonl")
        config = TrainingConfig(d=4, epochs=2, validate_every=1, **recipe)
        learned = refit(train(data, config, seed=0), data, config, seed=0)
        write(tmp_path / name, data, learned, config=config)
        found.append(Latest.model_validate_json((tmp_path / name / "small" / "latest.json").read_bytes()))
    assert found[0].digest == found[1].digest
    assert found[0].version.startswith("20260131T120000Z-")


@pytest.mark.usefixtures("one_graph")
def test_another_seed_is_another_version(tmp_path, world, trained):
    first = write(tmp_path, world, trained)
    other = write(tmp_path, world, train(world, CONFIG, seed=1), seed=1)
    assert other.version[:17] == first.version[:17]
    assert other.version != first.version
    assert other.parent_version == first.version


def test_a_version_is_never_overwritten(copied, world, trained):
    before = (copied / "small" / "v1" / "manifest.json").read_bytes()
    with pytest.raises(RefusedError, match="v1 of small is in model store"):
        write(copied, world, trained, version="v1", created=datetime(2027, 1, 1, tzinfo=UTC))
    assert (copied / "small" / "v1" / "manifest.json").read_bytes() == before


def test_latest_moves_only_after_all_else_is_written(copied, world, trained, monkeypatch):
    def fail(manifest):
        raise BundleError("the disk is full")

    monkeypatch.setattr(bundle, "model_card", fail)
    with pytest.raises(BundleError):
        write(copied, world, trained, version="v2")
    assert load_served(str(copied), "small").manifest.version == "v1"


@pytest.mark.parametrize(
    "name", ["adapt.onnx", "score.onnx", "theta.safetensors", "items.safetensors", "items.jsonl.gz"]
)
def test_a_damaged_file_is_refused(copied, name):
    path = copied / "small" / "v1" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} of bundle small/v1 is damaged"):
        load_served(str(copied), "small")


def test_a_manifest_that_latest_does_not_name_is_refused(copied):
    path = copied / "small" / "v1" / "manifest.json"
    path.write_text(path.read_text().replace('"v1"', '"v1" '))
    with pytest.raises(BundleError, match=r"not the one that latest\.json names"):
        load_served(str(copied), "small")


def test_another_format_is_refused(copied):
    path = copied / "small" / "v1" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 99}))
    with pytest.raises(BundleError, match="has format 99"):
        load_served(str(copied), "small", "v1")


@pytest.mark.parametrize(
    ("model", "version", "complaint"),
    [("other", None, "has no model other"), ("small", "v9", "small/v9/manifest.json of model store")],
)
def test_what_is_missing_is_named(model_store, model, version, complaint):
    with pytest.raises(BundleError, match=complaint):
        load_served(str(model_store), model, version)


@pytest.mark.parametrize("name", ["../small", "", ".hidden", "a/b"])
def test_a_name_never_leaves_the_store(model_store, name):
    with pytest.raises(ConfigurationError, match="is no name in a model store"):
        load_served(str(model_store), name)


def test_a_damaged_latest_is_refused(copied):
    (copied / "small" / "latest.json").write_text("{")
    with pytest.raises(BundleError, match=r"small/latest.json .* is damaged"):
        load_served(str(copied), "small")


def test_any_fsspec_store_will_do(world, trained):
    manifest = write("memory://models", world, trained)
    assert load_served("memory://models", "small").manifest == manifest


def test_a_store_that_nothing_serves_is_a_wrong_setting(world, trained):
    with pytest.raises(ConfigurationError, match="model store nowhere://x cannot be opened"):
        write("nowhere://x", world, trained)


def test_a_store_that_cannot_be_written_is_told(tmp_path, world, trained):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot be"):
        write(tmp_path / "file", world, trained)


def test_items_without_events_are_counted(world):
    some = subset(world, np.array([0]))
    found = bundle.describe_data(some)
    assert found["n_items_without_events"] == world.n_items - len(set(some.item.tolist()))
