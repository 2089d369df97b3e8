"""A bundle is served whole and sound, or refused in one line that says what to do."""

import gc
import gzip
import json
from hashlib import sha256

import fsspec
import numpy as np
import pytest
from safetensors.numpy import load, save
from tiny_bundle import replace_file, write_manifest, write_tiny_bundle

from schemas import Manifest
from schemas.errors import BundleError
from stream.engine.bundle import load_bundle


def manifest_of(store):
    return Manifest.model_validate_json((store / "default" / "v1" / "manifest.json").read_bytes())


def refusal(store, *, model="default", version=None):
    with pytest.raises(BundleError) as caught:
        load_bundle(str(store), model, version)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_latest_version_is_loaded(damaged_store):
    write_tiny_bundle(damaged_store, version="v2", n_items=7, d=3)
    bundle = load_bundle(str(damaged_store), "default")
    assert (bundle.manifest.version, len(bundle.catalog), bundle.catalog.vectors.shape) == ("v2", 7, (7, 3))
    data = (damaged_store / "default" / "v2" / "manifest.json").read_bytes()
    assert bundle.digest == sha256(data).hexdigest()


def test_a_given_version_is_loaded_without_the_pointer(damaged_store):
    write_tiny_bundle(damaged_store, version="v2")
    (damaged_store / "default" / "latest.json").unlink()
    assert load_bundle(str(damaged_store), "default", "v1").manifest.version == "v1"


def test_a_large_catalog_is_read_without_a_collection_of_garbage(tmp_path):
    """One that walks through all items holds the other threads up for longer than a swap may take."""
    write_tiny_bundle(tmp_path, n_items=5000)
    load_bundle(str(tmp_path), "default")
    gc.collect()
    collections = []
    gc.callbacks.append(lambda phase, _: collections.append(phase))
    try:
        load_bundle(str(tmp_path), "default")
    finally:
        gc.callbacks.pop()
    assert len(collections) < 10


def test_a_store_may_be_any_fsspec_url(damaged_store):
    memory = fsspec.filesystem("memory")
    memory.put(str(damaged_store), "/bundles", recursive=True)
    assert load_bundle("memory://bundles", "default").manifest == manifest_of(damaged_store)
    assert load_bundle(damaged_store.as_uri(), "default").manifest == manifest_of(damaged_store)


def test_graphs_keep_the_contract_on_the_sum_of_support_vectors(damaged_store):
    bundle = load_bundle(str(damaged_store), "default")
    rng = np.random.default_rng(0)
    features = {
        "support_items": rng.integers(0, 40, (3, 5)),
        "support_mask": np.ones((3, 5), np.float32),
        "support_kind": np.zeros((3, 5), np.int64),
        "support_age": rng.random((3, 5)).astype(np.float32),
        "user_features": np.zeros((3, 4), np.float32),
        "time_index": np.zeros(3, np.int64),
    }
    vectors, parts = bundle.adapt(features)
    start, _ = bundle.adapt(features | {"support_mask": np.zeros((3, 5), np.float32)})
    np.testing.assert_allclose(vectors, start + parts.sum(axis=1), rtol=1e-5)


def test_another_format_is_named_with_both_versions(damaged_store):
    write_manifest(damaged_store, manifest_of(damaged_store), format_version=2, anything="new")
    assert "another format, 2, and this build reads 1: export the model" in refusal(damaged_store)


def test_a_missing_model_or_version_is_named(damaged_store):
    assert "other/latest.json" in refusal(damaged_store, model="other")
    assert "default/v9/manifest.json" in refusal(damaged_store, version="v9")


@pytest.mark.parametrize("name", ["..", "a/b", "/etc", "", ".hidden", "a\\b"])
def test_names_cannot_leave_the_store(damaged_store, name):
    assert "is no name within model store" in refusal(damaged_store, model=name)
    assert "is no name within model store" in refusal(damaged_store, version=name)


def test_a_link_out_of_the_store_is_refused(damaged_store, tmp_path_factory):
    target = damaged_store / "default" / "v1" / "theta.safetensors"
    outside = tmp_path_factory.mktemp("outside") / "theta.safetensors"
    target.rename(outside)
    target.symlink_to(outside)
    assert "is a link out of the store" in refusal(damaged_store)


def test_a_manifest_that_latest_does_not_name_is_refused(damaged_store):
    write_manifest(damaged_store, manifest_of(damaged_store), latest=False, algorithm="other")
    assert "sha256 differs" in refusal(damaged_store)
    assert load_bundle(str(damaged_store), "default", "v1").manifest.algorithm == "other"


@pytest.mark.parametrize(
    "name", ["adapt.onnx", "score.onnx", "theta.safetensors", "items.safetensors", "items.jsonl.gz"]
)
def test_a_damaged_cut_or_missing_file_is_named(damaged_store, name):
    path = damaged_store / "default" / "v1" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert f"{name} of bundle default/v1 is damaged" in refusal(damaged_store)
    path.write_bytes(data[:-1])
    assert f"bytes, its manifest says {len(data)}" in refusal(damaged_store)
    path.unlink()
    assert f"{name} of model store" in refusal(damaged_store)


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("adapt.onnx", b"junk", "is no graph that runs here"),
        ("items.safetensors", b"junk", "is no safetensors file"),
        ("items.jsonl.gz", b"junk", "is no gzip file"),
        ("items.jsonl.gz", gzip.compress(b'{"item_id":"i0"}\n{"title":"?"}\n'), "line 2 of items.jsonl.gz"),
        ("items.jsonl.gz", gzip.compress(b'{"item_id":"i0"}\n'), "has 1 items, the manifest says 40"),
        ("items.jsonl.gz", gzip.compress(b'{"item_id":"i0"}\n' * 40), "names an item twice"),
    ],
)
def test_a_file_of_another_content_is_refused(damaged_store, name, data, expected):
    replace_file(damaged_store, manifest_of(damaged_store), name, data)
    assert expected in refusal(damaged_store)


def test_a_tensor_that_the_manifest_describes_otherwise_is_refused(damaged_store):
    manifest = manifest_of(damaged_store)
    tensors = json.loads(manifest.model_dump_json())["tensors"]
    tensors["start"]["shape"] = [5]
    write_manifest(damaged_store, manifest, tensors=tensors)
    assert "tensor start in theta.safetensors of bundle default/v1 is float32 (4,)" in refusal(damaged_store)
    tensors["start"] = tensors["start"] | {"shape": [4], "dtype": "int64"}
    write_manifest(damaged_store, manifest, tensors=tensors)
    assert "the manifest says int64 (4,)" in refusal(damaged_store)


def test_a_prior_of_another_length_than_its_times_is_refused(damaged_store):
    write_manifest(damaged_store, manifest_of(damaged_store), prior_times=[0, 1, 2])
    assert "tensor prior of bundle default/v1 has to be float32 (3, 40)" in refusal(damaged_store)


def test_a_graph_input_that_nobody_feeds_is_named(tmp_path):
    write_tiny_bundle(tmp_path, extra_input="mood")
    assert "asks for input mood" in refusal(tmp_path)


def test_a_tensor_that_is_not_finite_is_named(tmp_path):
    write_tiny_bundle(tmp_path, tensors={"start": np.array([0, np.nan, 0, 0], dtype=np.float32)})
    assert "tensor start in theta.safetensors of bundle default/v1 holds NaN" in refusal(tmp_path)


def test_finite_weights_that_overflow_are_found_by_the_probe(tmp_path):
    write_tiny_bundle(tmp_path, tensors={"start": np.full(4, 3e38, dtype=np.float32)}, canary=False)
    assert "gives scores that are not finite on a probe batch" in refusal(tmp_path)


def test_tensors_that_do_not_fit_their_graph_fail_the_probe(tmp_path):
    write_tiny_bundle(tmp_path, tensors={"start": np.zeros((2, 4), dtype=np.float32)}, canary=False)
    assert "adapt.onnx of bundle default/v1 failed on a batch" in refusal(tmp_path)


def test_a_graph_without_a_needed_output_is_refused(damaged_store):
    replace_file(
        damaged_store,
        manifest_of(damaged_store),
        "adapt.onnx",
        (damaged_store / "default" / "v1" / "score.onnx").read_bytes(),
    )
    assert "user_vector" in refusal(damaged_store)


def swapped_rows(store, file, *names):
    """Swap item rows 3 and 4 of tensors, with checksums that fit."""
    tensors = load((store / "default" / "v1" / file).read_bytes())
    for name in names:
        axis = 1 if name == "prior" else 0
        order = np.arange(tensors[name].shape[axis])
        order[[3, 4]] = 4, 3
        tensors[name] = np.ascontiguousarray(np.take(tensors[name], order, axis=axis))
    replace_file(store, manifest_of(store), file, save(tensors))


@pytest.mark.parametrize("names", [("item_vectors",), ("prior",), ("item_vectors", "prior")])
def test_swapped_item_rows_are_found_by_the_canary(damaged_store, names):
    swapped_rows(damaged_store, "items.safetensors", *names)
    assert "differ from those recorded at its training" in refusal(damaged_store)


def test_items_listed_in_another_order_than_their_rows_are_found_by_the_canary(damaged_store):
    path = damaged_store / "default" / "v1" / "items.jsonl.gz"
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    lines[3], lines[4] = lines[4], lines[3]
    replace_file(damaged_store, manifest_of(damaged_store), "items.jsonl.gz", gzip.compress(b"".join(lines)))
    assert "in another order than its tensors" in refusal(damaged_store)


def test_a_canary_that_lacks_a_part_is_refused_and_a_bundle_without_one_is_served(damaged_store):
    replace_file(damaged_store, manifest_of(damaged_store), "canary.safetensors", save({"scores": np.zeros(1)}))
    assert "canary.safetensors of bundle default/v1 has no tensor" in refusal(damaged_store)
    write_tiny_bundle(damaged_store, version="v2", canary=False)
    assert load_bundle(str(damaged_store), "default").manifest.version == "v2"


def test_a_store_that_nobody_serves_is_refused():
    assert "cannot be opened" in refusal("nosuchprotocol://bundles")
