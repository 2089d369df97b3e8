"""Writes a trained model as a bundle: all that a worker needs, checksummed, with `latest.json` last."""

import gzip
import platform
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version as installed
from typing import Any

import numpy as np
from safetensors.torch import save

from meta.card import model_card
from meta.config import TrainingConfig
from meta.dataset import Dataset
from meta.export import export_adapt, export_score
from meta.store import Store, open_store, read_file, read_latest, write_file
from meta.training import Trained
from schemas import FORMAT_VERSION, FileEntry, Item, Latest, Manifest, TensorEntry
from schemas.errors import RefusedError

THETA_FILE, ITEMS_FILE = "theta.safetensors", "items.safetensors"
_LIBRARIES = ("fewstep", "torch", "onnx", "onnxscript", "numpy", "safetensors")


def write_bundle(
    store_url: str,
    model: str,
    *,
    trained: Trained,
    dataset: Dataset,
    config: TrainingConfig,
    seed: int,
    measures: Mapping[str, Any],
    data: Mapping[str, Any],
    created: datetime,
    version: str | None = None,
) -> Manifest:
    """Export and write `<store>/<model>/<version>/`, then point `latest.json` at it; gives the manifest.

    Without `version` it is the UTC time `created` and eight digits of the content's hash. `data` and `measures` go
    into the manifest as they are.
    Raises RefusedError for a version that exists, BundleError where the store cannot be written to or the export
    fails, ConfigurationError for names that are none.
    """
    store = open_store(store_url)
    parent = read_latest(store, model)
    tensors = {THETA_FILE: trained.theta, ITEMS_FILE: trained.items}
    width = trained.items["item_vectors"].shape[1]
    files = {
        "adapt.onnx": export_adapt(trained.theta, trained.items),
        "score.onnx": export_score(width),
        **{name: save(dict(sorted(group.items()))) for name, group in tensors.items()},
        "items.jsonl.gz": _compressed(dataset.items),
    }
    version = version or f"{created:%Y%m%dT%H%M%SZ}-{_content_hash(files)[:8]}"
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        model=model,
        version=version,
        created_at=f"{created:%Y-%m-%dT%H:%M:%SZ}",
        parent_version=parent.version if parent else None,
        algorithm=config.algorithm.value,
        objective=config.objective.value,
        inner_steps=config.inner_steps,
        n_items=dataset.n_items,
        d=width,
        files={
            name: FileEntry(size=len(content), sha256=sha256(content).hexdigest()) for name, content in files.items()
        },
        tensors={
            name: TensorEntry(file=file, dtype="float32", shape=tuple(tensor.shape))
            for file, group in tensors.items()
            for name, tensor in group.items()
        },
        kinds=dataset.kinds,
        user_features=dataset.user_features,
        prior_times=[int(time) for time in trained.prior_times],
        hyper_parameters=config.model_dump(mode="json"),
        measures=dict(measures),
        data=dict(data),
        seeds={"training": seed},
        libraries={"python": platform.python_version()} | {name: installed(name) for name in _LIBRARIES},
    )
    if read_file(store, model, version, "manifest.json") is not None:
        raise RefusedError(f"version {version} of {model} is in model store {store_url} already; name another one")
    _write(store, manifest, files)
    return manifest


def _write(store: Store, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    folder = (manifest.model, manifest.version)
    for name, content in files.items():
        write_file(store, content, *folder, name)
    write_file(store, model_card(manifest).encode(), *folder, "README.md")
    content = manifest.model_dump_json(indent=1).encode() + b"\n"
    write_file(store, content, *folder, "manifest.json")
    latest = Latest(model=manifest.model, version=manifest.version, digest=sha256(content).hexdigest())
    write_file(store, latest.model_dump_json().encode() + b"\n", manifest.model, "latest.json")


def describe_data(dataset: Dataset) -> dict[str, Any]:
    """Counts of the training data, and its span in epoch milliseconds."""
    return {
        "n_events": len(dataset.item),
        "n_users": dataset.n_users,
        "n_items": dataset.n_items,
        "n_items_without_events": int((np.bincount(dataset.item, minlength=dataset.n_items) == 0).sum()),
        "dropped_events": dataset.dropped,
        "first_ms": int(dataset.time_ms.min()),
        "last_ms": int(dataset.time_ms.max()),
    }


def _compressed(items: list[Item]) -> bytes:
    lines = "".join(item.model_dump_json(exclude_defaults=True) + "\n" for item in items)
    # A time stamp would give equal content another checksum.
    return gzip.compress(lines.encode(), mtime=0)


def _content_hash(files: Mapping[str, bytes]) -> str:
    return sha256(b"".join(sha256(content).digest() for _, content in sorted(files.items()))).hexdigest()
