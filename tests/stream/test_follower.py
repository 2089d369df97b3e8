"""A new bundle is taken over when it is sound and newer; whatever else the store names leaves the old one serving."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save
from tiny_bundle import replace_file, write_manifest, write_tiny_bundle

from schemas import Manifest, ModelAnnouncement
from stream.engine.bundle import load_bundle
from stream.engine.follower import Follower

LATER = "2026-02-01T12:00:00Z"


@pytest.fixture
def follower(tmp_path: Path) -> Follower:
    """One that serves v1."""
    write_tiny_bundle(tmp_path)
    return Follower(str(tmp_path), "default", bundle=load_bundle(str(tmp_path), "default"))


def version(follower: Follower) -> str:
    assert follower.bundle is not None
    return follower.bundle.manifest.version


def announced(store: Path, version: str, action: str) -> ModelAnnouncement:
    digest = load_bundle(str(store), "default", version).digest
    return ModelAnnouncement(
        model="default", version=version, digest=digest, url=f"default/{version}", published_at=LATER, action=action
    )


def point_at(store: Path, version: str) -> None:
    folder = store / "default" / version
    write_manifest(store, Manifest.model_validate_json((folder / "manifest.json").read_bytes()))


def test_nothing_new_is_nothing_to_do(follower: Follower) -> None:
    assert not follower.look()
    assert (version(follower), follower.problem) == ("v1", None)


def test_a_newer_bundle_is_taken_over(follower: Follower, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path, version="v2", created_at=LATER, n_items=50)
    assert follower.look()
    assert (version(follower), follower.problem) == ("v2", None)
    assert not follower.look()


def truncated(store: Path, manifest: Manifest) -> None:
    path = store / "default" / "v2" / "items.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def flipped(store: Path, manifest: Manifest) -> None:
    path = store / "default" / "v2" / "theta.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")


def swapped(store: Path, manifest: Manifest) -> None:
    tensors = load((store / "default" / "v2" / "items.safetensors").read_bytes())
    tensors["item_vectors"] = np.roll(tensors["item_vectors"], 1, axis=0)
    replace_file(store, manifest, "items.safetensors", save(tensors))


def not_finite(store: Path, manifest: Manifest) -> None:
    tensors = load((store / "default" / "v2" / "items.safetensors").read_bytes())
    tensors["item_vectors"][7, 1] = np.nan
    replace_file(store, manifest, "items.safetensors", save(tensors))


def misshapen(store: Path, manifest: Manifest) -> None:
    tensors = load((store / "default" / "v2" / "items.safetensors").read_bytes())
    tensors["item_vectors"] = tensors["item_vectors"][:-1]
    replace_file(store, manifest, "items.safetensors", save(tensors))


def of_another_format(store: Path, manifest: Manifest) -> None:
    write_manifest(store, manifest, format_version=0)


def no_manifest(store: Path, manifest: Manifest) -> None:
    (store / "default" / "v2" / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (truncated, "its manifest says"),
        (flipped, "sha256 differs"),
        (swapped, "differ from those recorded at its training"),
        (not_finite, "holds NaN"),
        (misshapen, "the manifest says float32"),
        (of_another_format, "another format, 0"),
        (no_manifest, "does not exist: publish the model, or correct model.store, model.name or model.challenger"),
    ],
)
def test_a_bundle_that_is_not_sound_leaves_the_old_one_with_the_reason_said_once(
    follower: Follower,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path, Manifest], None],
    reason: str,
) -> None:
    spoil(tmp_path, write_tiny_bundle(tmp_path, version="v2", created_at=LATER))
    for _ in range(9):
        assert not follower.look()
    assert version(follower) == "v1"
    assert reason in (follower.problem or "")
    assert [reason in line.getMessage() and "v1 stays in service" in line.getMessage() for line in caplog.records] == [
        True
    ]
    assert follower.refused == 1


def test_a_bundle_that_was_mended_is_taken_over_after_all(follower: Follower, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path, version="v2", created_at=LATER)
    path = tmp_path / "default" / "v2" / "score.onnx"
    whole = path.read_bytes()
    path.write_bytes(b"")
    assert not follower.look()
    path.write_bytes(whole)
    assert any(follower.look() for _ in range(3))
    assert (version(follower), follower.problem) == ("v2", None)


def test_another_bundle_is_tried_at_once_after_a_refused_one(follower: Follower, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path, version="v2", created_at=LATER, extra_input="mood")
    assert not follower.look()
    write_tiny_bundle(tmp_path, version="v3", created_at=LATER)
    assert follower.look()


@pytest.mark.parametrize("action", ["promote", "rollback"])
def test_an_older_version_is_served_again_only_if_that_is_announced(
    follower: Follower, tmp_path: Path, action: str
) -> None:
    write_tiny_bundle(tmp_path, version="v2", created_at=LATER)
    assert follower.look()
    point_at(tmp_path, "v1")
    follower.announce(announced(tmp_path, "v1", "publish"))
    assert not follower.look()
    assert "older than what is served" in (follower.problem or "")
    follower.announce(announced(tmp_path, "v1", action))
    assert follower.look()
    assert (version(follower), follower.problem) == ("v1", None)


def test_a_bundle_replaced_under_its_version_is_refused(follower: Follower, tmp_path: Path) -> None:
    manifest = Manifest.model_validate_json((tmp_path / "default" / "v1" / "manifest.json").read_bytes())
    write_manifest(tmp_path, manifest, algorithm="other")
    assert not follower.look()
    assert "replaced by another of the same version" in (follower.problem or "")


def test_a_store_that_went_away_changes_nothing_and_is_looked_into_again(follower: Follower, tmp_path: Path) -> None:
    pointer = tmp_path / "default" / "latest.json"
    pointer.rename(tmp_path / "away")
    assert not follower.look()
    assert "does not exist" in (follower.problem or "")
    (tmp_path / "away").rename(pointer)
    assert not follower.look()
    assert follower.problem is None
