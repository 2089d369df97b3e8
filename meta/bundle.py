"""Writes a trained model as a bundle: all that a worker needs, checksummed, with `latest.json` last."""

import gzip
import platform
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version as installed
from typing import Any, NamedTuple

import numpy as np
from safetensors.torch import save

from meta import ledger
from meta.canary import CANARY_FILE, record_canary
from meta.card import model_card
from meta.config import TrainingConfig
from meta.content import learn_content
from meta.dataset import Dataset
from meta.export import export_adapt, export_score
from meta.newcomers import NEWCOMERS_FILE, newcomers
from meta.store import Store, open_store, read_file, write_file
from meta.training import Trained
from schemas import FORMAT_VERSION, FileEntry, Item, Manifest, TensorEntry
from schemas.errors import ConfigurationError, RefusedError

THETA_FILE, ITEMS_FILE = "theta.safetensors", "items.safetensors"
PARAMETERS_FILE = "parameters.safetensors"
"""What a later training starts from; no worker reads it."""
_LIBRARIES = ("fewstep", "torch", "onnx", "onnxscript", "numpy", "safetensors")


class Built(NamedTuple):
    """A bundle that is not written yet: its manifest, and its files but for those that follow from it."""

    manifest: Manifest
    files: dict[str, bytes]


def build_bundle(
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
    parent: str | None = None,
) -> Built:
    """Export; nothing is written. `data` and `measures` go into the manifest as they are.

    Without `version` it is the UTC time `created` and eight digits of the content's hash.
    Raises BundleError where the export fails.
    """
    width = trained.items["item_vectors"].shape[1]
    content = learn_content(dataset.items)
    tensors = {
        THETA_FILE: trained.theta,
        ITEMS_FILE: trained.items,
        NEWCOMERS_FILE: newcomers(trained.items, dataset, content),
    }
    files = {
        "adapt.onnx": export_adapt(trained.theta, trained.items),
        "score.onnx": export_score(width),
        **{name: save(dict(sorted(group.items()))) for name, group in tensors.items()},
        "items.jsonl.gz": _compressed(dataset.items),
        PARAMETERS_FILE: save(dict(sorted(trained.parameters.items()))),
        CANARY_FILE: record_canary(trained, [item.item_id for item in dataset.items], n_kinds=len(dataset.kinds)),
    }
    version = version or f"{created:%Y%m%dT%H%M%SZ}-{_content_hash(files)[:8]}"
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        model=model,
        version=version,
        created_at=f"{created:%Y-%m-%dT%H:%M:%SZ}",
        parent_version=parent,
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
        content=content,
        prior_times=[int(time) for time in trained.prior_times],
        hyper_parameters=config.model_dump(mode="json"),
        measures=dict(measures),
        data=dict(data),
        seeds={"training": seed},
        libraries={"python": platform.python_version()} | {name: installed(name) for name in _LIBRARIES},
    )
    return Built(manifest, files)


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
    """Export, write `<store>/<model>/<version>/` and publish it, whatever is served now; gives the manifest.

    Raises RefusedError for a version that exists, BundleError where the store cannot be written to or the export
    fails, ConfigurationError for names that are none.
    """
    store = open_store(store_url)
    served = ledger.settle(store, model)
    built = build_bundle(
        model,
        trained=trained,
        dataset=dataset,
        config=config,
        seed=seed,
        measures=measures,
        data=data,
        created=created,
        version=version,
        parent=served.version if served else None,
    )
    write_version(store, built, after=ledger.number_of(served))
    ledger.publish(store, model, built.manifest.version, now=created)
    return built.manifest


def write_version(store: Store, built: Built, *, after: int) -> None:
    """Write all files of a version, `manifest.json` last; it is not served yet. `after`: see `meta.ledger.claim`.

    Raises RefusedError for a version that exists, BundleError where the store cannot be written to.
    """
    manifest = built.manifest
    model, version = manifest.model, manifest.version
    if version in (ledger.FOLDER, "latest.json"):
        raise ConfigurationError(f"{version!r} cannot be the name of a version: choose another one")
    if read_file(store, model, version, "manifest.json") is not None:
        raise RefusedError(f"version {version} of {model} is in model store {store.url} already; name another one")
    ledger.claim(store, model, version, after=after)
    for name, content in built.files.items():
        write_file(store, content, model, version, name)
    write_file(store, model_card(manifest).encode(), model, version, "README.md")
    write_file(store, manifest.model_dump_json(indent=1).encode() + b"\n", model, version, "manifest.json")


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
