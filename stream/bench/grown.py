"""Bundles of any size, grown from a trained one: what a large catalog costs, without training on one."""

import gzip
import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from schemas import Item, Latest, Manifest
from stream.engine.canary import CANARY_FILE

_JITTER = 0.3
"""Standard deviation of what is added to a repeated vector, in standard deviations of all, so that none are equal."""


def grow_bundle(store: str, model: str, *, n_items: int, seed: int) -> str:
    """Write a bundle of `n_items` beside the one that is served; gives its model name.

    Vectors and priors of the items are repeated, the vectors with noise, until there are enough. Steps, sample and
    graphs are kept.
    """
    name = f"{model}-{n_items}"
    source, target = Path(store) / model, Path(store) / name
    latest = Latest.model_validate_json((source / "latest.json").read_bytes())
    manifest = Manifest.model_validate_json((source / latest.version / "manifest.json").read_bytes())
    # What a canary batch gave with the items as they were does not hold for these.
    kept = [file for file in manifest.files if file != CANARY_FILE]
    files = {file: (source / latest.version / file).read_bytes() for file in kept}
    rng = np.random.default_rng(seed)
    for file in {entry.file for entry in manifest.tensors.values()}:
        tensors = load(files[file])
        files[file] = save({one: _grown(one, value, manifest.n_items, n_items, rng) for one, value in tensors.items()})
    lines = [Item(item_id=f"grown-{row}", title=f"Item {row}").model_dump_json() for row in range(n_items)]
    files["items.jsonl.gz"] = gzip.compress("\n".join(lines).encode(), compresslevel=1)
    folder = target / manifest.version
    folder.mkdir(parents=True)
    for file, data in files.items():
        (folder / file).write_bytes(data)
    text = json.dumps(_described(manifest, name, n_items, files)).encode()
    (folder / "manifest.json").write_bytes(text)
    pointer = Latest(model=name, version=manifest.version, digest=sha256(text).hexdigest())
    (target / "latest.json").write_text(pointer.model_dump_json())
    return name


def _grown(
    name: str, value: NDArray[np.float32], before: int, n_items: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    if name == "prior":
        return np.ascontiguousarray(value[:, np.arange(n_items) % before])
    if name not in ("item_vectors", "item_keys"):
        return value
    noise = rng.standard_normal((n_items, value.shape[1]), dtype=np.float32)
    return value[np.arange(n_items) % before] + np.float32(_JITTER * value.std()) * noise


def _described(manifest: Manifest, name: str, n_items: int, files: Mapping[str, bytes]) -> dict[str, object]:
    """The manifest's fields for the grown files."""
    fields: dict[str, object] = manifest.model_dump(mode="json")
    tensors = {
        one: {
            "file": entry.file,
            "dtype": entry.dtype,
            "shape": _shape(one, entry.shape, n_items),
        }
        for one, entry in manifest.tensors.items()
    }
    sizes = {file: {"size": len(data), "sha256": sha256(data).hexdigest()} for file, data in files.items()}
    return fields | {"model": name, "n_items": n_items, "files": sizes, "tensors": tensors}


def _shape(name: str, shape: tuple[int, ...], n_items: int) -> list[int]:
    if name == "prior":
        return [shape[0], n_items]
    return [n_items, shape[1]] if name in ("item_vectors", "item_keys") else list(shape)
