"""F26, F27: what is published can make a worker refuse it, and neither run code nor read outside of the model store."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem
from tiny_bundle import replace_file, write_manifest, write_tiny_bundle

from schemas import Manifest, ModelAnnouncement
from schemas.errors import BundleError
from stream.engine.bundle import load_bundle
from stream.engine.watch import Watch
from stream.settings import Settings

LATER = "2026-02-01T12:00:00Z"


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_the_trap_would_snap(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "snapped")))
    assert (tmp_path / "snapped").exists()


@pytest.mark.parametrize(
    "name",
    ["theta.safetensors", "items.safetensors", "canary.safetensors", "items.jsonl.gz", "adapt.onnx", "score.onnx"],
)
def test_a_pickle_in_the_place_of_a_file_is_refused_unopened(tmp_path: Path, name: str) -> None:
    manifest = write_tiny_bundle(tmp_path)
    replace_file(tmp_path, manifest, name, pickle.dumps(Trap(tmp_path / "snapped")))
    with pytest.raises(BundleError):
        load_bundle(str(tmp_path), "default")
    assert not (tmp_path / "snapped").exists()


def test_a_pickle_beside_the_files_is_not_looked_at(tmp_path: Path) -> None:
    manifest = write_tiny_bundle(tmp_path)
    for name in ("model.pt", "theta.pkl", "theta.npy", "manifest.pkl"):
        replace_file(tmp_path, manifest, name, pickle.dumps(Trap(tmp_path / "snapped")))
    with pytest.raises(BundleError):
        (tmp_path / "default" / "v1" / "manifest.json").write_bytes(pickle.dumps(Trap(tmp_path / "snapped")))
        load_bundle(str(tmp_path), "default", "v1")
    write_manifest(tmp_path, manifest)
    load_bundle(str(tmp_path), "default")
    assert not (tmp_path / "snapped").exists()


def elsewhere(store: Path) -> Manifest:
    """A sound, newer bundle outside of the store."""
    return write_tiny_bundle(store.parent / "elsewhere", version="v2", created_at=LATER, seed=1)


def told_by_url(store: Path, manifest: Manifest) -> str:
    return "v2"


def told_by_pointer(store: Path, manifest: Manifest) -> str:
    pointer = (store.parent / "elsewhere" / "default" / "latest.json").read_text()
    (store / "default" / "latest.json").write_text(pointer.replace('"v2"', '"../../elsewhere/default/v2"'))
    return "../../elsewhere/default/v2"


def told_by_link(store: Path, manifest: Manifest) -> str:
    (store / "default" / "v2").symlink_to(store.parent / "elsewhere" / "default" / "v2")
    (store / "default" / "latest.json").write_bytes(
        (store.parent / "elsewhere" / "default" / "latest.json").read_bytes()
    )
    return "v2"


@pytest.mark.parametrize("told", [told_by_url, told_by_pointer, told_by_link])
@pytest.mark.parametrize("url", ["../elsewhere/default/v2", "file:///etc", "http://127.0.0.1:9/v2", "/etc"])
def test_no_announcement_leads_out_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, told: Callable[[Path, Manifest], str]
) -> None:
    store = tmp_path / "models"
    write_tiny_bundle(store)
    watch = Watch(Settings.load(model={"store": str(store)}), load_bundle(str(store), "default"))
    version = told(store, elsewhere(store))
    read: list[str] = []
    cat_file = LocalFileSystem.cat_file

    def noted(self: LocalFileSystem, path: str, *arguments: object, **options: object) -> bytes:
        read.append(str(Path(path).resolve()))
        return cat_file(self, path, *arguments, **options)

    monkeypatch.setattr(LocalFileSystem, "cat_file", noted)
    fields = {"model": "default", "version": version, "digest": "0" * 64, "url": url, "published_at": LATER}
    announcement = ModelAnnouncement.model_construct(**fields, action="promote")
    watch.hear([(b"default", announcement.model_dump_json().encode()), (b"../../etc", b"{")])
    watch.look()
    assert watch.snapshot().version == "v1"
    assert [path for path in read if not path.startswith(str(store.resolve()))] == []


def test_a_worker_that_reads_a_link_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the check of where a path ends switched off, the bundle from outside is served."""
    store = tmp_path / "models"
    write_tiny_bundle(store)
    watch = Watch(Settings.load(model={"store": str(store)}), load_bundle(str(store), "default"))
    told_by_link(store, elsewhere(store))
    monkeypatch.setattr("stream.engine.store._is_within", lambda path, root: True)
    watch.look()
    assert watch.snapshot().version == "v2"
