"""Loads a bundle from the model store and checks all of it before it serves anyone."""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

import numpy as np
import orjson
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load

from schemas import FORMAT_VERSION, Item, Latest, Manifest
from schemas.errors import BundleError
from stream.core.adapter import Features, Floats, Ints
from stream.core.catalog import Catalog, index_items
from stream.engine.canary import CANARY_FILE, check_canary
from stream.engine.runtime import Array, Graph, open_graph, run_graph
from stream.engine.store import Store, open_store, read_file

ADAPT_FEATURES = (
    "support_items",
    "support_mask",
    "support_kind",
    "support_age",
    "user_features",
    "time_index",
)
SCORE_FEATURES = ("user_vector", "time_index")
_PROBE = 8
BLOCK_ITEMS = 4096
"""Items of one scoring run: with 256 users, its scores are as much as a core's cache holds."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A loaded bundle; it is the core's Adapter. `digest` is the sha256 of its manifest.json.

    `score_graphs` are the graph bound to one block of the catalog each, in row order.
    """

    manifest: Manifest
    digest: str
    catalog: Catalog
    tensors: Mapping[str, Array]
    adapt_graph: Graph
    score_graphs: tuple[Graph, ...]

    def adapt(self, features: Features) -> tuple[Floats, Floats]:
        """User vectors (b, d) and the part of each support event in them (b, s, d)."""
        user_vector, support_vectors = run_graph(self.adapt_graph, features)
        return user_vector, support_vectors

    def score(self, user_vector: Floats, time_index: Ints) -> Floats:
        """Scores (b, n_items) of users (b, d) at rows (b,) of the prior."""
        return np.concatenate(list(self.score_blocks(user_vector, time_index)), axis=1)

    def score_blocks(self, user_vector: Floats, time_index: Ints) -> Iterator[Floats]:
        """The same, a block of the catalog at a time."""
        features: Mapping[str, Array] = {"user_vector": user_vector, "time_index": time_index}
        for graph in self.score_graphs:
            yield run_graph(graph, features)[0]


def read_latest(store_url: str, model: str) -> Latest:
    """Which version of a model is to be served. Raises BundleError where that cannot be read."""
    latest = _parse(Latest, read_file(open_store(store_url), model, "latest.json"), f"{model}/latest.json")
    if latest.model != model:
        raise BundleError(f"{model}/latest.json names model {latest.model}: publish the model again")
    return latest


def load_bundle(
    store_url: str, model: str, version: str | None = None, *, digest: str | None = None, threads: int = 1
) -> Bundle:
    """Load a version of a model, the one that `latest.json` names if None; `threads` serve one graph run.

    `digest` is the sha256 that the manifest of the given version must have. Raises BundleError, before any part is
    used, for whatever is missing, damaged, of another format, inconsistent, gives numbers that are not finite, or
    other numbers than were recorded when it was made.
    """
    store = open_store(store_url)
    if version is None:
        latest = read_latest(store_url, model)
        version, digest = latest.version, latest.digest
    where = f"bundle {model}/{version}"
    manifest, digest = _read_manifest(store, model, version, expected=digest)
    tensors = _read_tensors(store, manifest, where)
    catalog = _read_catalog(store, manifest, where, vectors=tensors["item_vectors"])
    adapt_graph, score_graph = (
        open_graph(
            _read_checked(store, manifest, name),
            f"{name} of {where}",
            tensors=tensors,
            offered=offered,
            outputs=outputs,
            threads=threads,
        )
        for name, offered, outputs in (
            ("adapt.onnx", ADAPT_FEATURES, ("user_vector", "support_vectors")),
            ("score.onnx", SCORE_FEATURES, ("scores",)),
        )
    )
    bundle = Bundle(manifest, digest, catalog, tensors, adapt_graph, in_blocks(score_graph, manifest.n_items))
    _probe(bundle, where)
    if CANARY_FILE in manifest.files:  # a bundle that was made by other tools may have none
        check_canary(_read_checked(store, manifest, CANARY_FILE), bundle, where)
    return bundle


def in_blocks(graph: Graph, n_items: int) -> tuple[Graph, ...]:
    """The score graph, bound to BLOCK_ITEMS items at a time; to all where it reads more than vectors and prior."""
    if n_items <= BLOCK_ITEMS or not graph.bound.keys() <= {"item_vectors", "prior"}:
        return (graph,)
    blocks = [slice(begin, begin + BLOCK_ITEMS) for begin in range(0, n_items, BLOCK_ITEMS)]
    return tuple(
        graph._replace(bound={name: _part(name, tensor, block) for name, tensor in graph.bound.items()})
        for block in blocks
    )


def _part(name: str, tensor: Array, block: slice) -> Array:
    """Of `item_vectors` (n_items, d) or `prior` (times, n_items); onnxruntime reads only what lies together."""
    return np.ascontiguousarray(tensor[:, block] if name == "prior" else tensor[block])


def _read_manifest(store: Store, model: str, version: str, *, expected: str | None) -> tuple[Manifest, str]:
    where = f"{model}/{version}/manifest.json"
    data = read_file(store, model, version, "manifest.json")
    digest = sha256(data).hexdigest()
    if expected is not None and digest != expected:
        raise BundleError(f"{where} is not the one that was published (sha256 differs): publish the model again")
    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BundleError(f"{where} is not JSON: publish the model again") from error
    found = fields.get("format_version") if isinstance(fields, dict) else None
    if found != FORMAT_VERSION:
        raise BundleError(
            f"bundle {model}/{version} has another format, {found!r:.20}, and this build reads {FORMAT_VERSION}: "
            "export the model with this version of fewstep, or run the worker with the one that wrote it"
        )
    manifest = _parse(Manifest, data, where)
    if (manifest.model, manifest.version) != (model, version):
        raise BundleError(f"{where} is that of {manifest.model}/{manifest.version}: publish the model again")
    return manifest, digest


def _read_checked(store: Store, manifest: Manifest, name: str) -> bytes:
    where = f"{name} of bundle {manifest.model}/{manifest.version}"
    entry = manifest.files.get(name)
    if entry is None:
        raise BundleError(f"{where} is not listed in its manifest: publish the model again")
    data = read_file(store, manifest.model, manifest.version, name, size=entry.size)
    if len(data) != entry.size or sha256(data).hexdigest() != entry.sha256:
        raise BundleError(f"{where} is damaged (sha256 differs from its manifest): publish the model again")
    return data


def _read_tensors(store: Store, manifest: Manifest, where: str) -> dict[str, Array]:
    """All tensors of the manifest by name, of the dtype and shape it says, and finite."""
    loaded: dict[str, Mapping[str, Array]] = {}
    for file in {entry.file for entry in manifest.tensors.values()}:
        try:
            loaded[file] = load(_read_checked(store, manifest, file))
        except (SafetensorError, KeyError, ValueError) as error:
            raise BundleError(f"{file} of {where} is no safetensors file: export the model again") from error
    tensors: dict[str, Array] = {}
    for name, entry in manifest.tensors.items():
        tensor = loaded[entry.file].get(name)
        if tensor is None or tensor.dtype != entry.dtype or tensor.shape != entry.shape:
            found = "missing" if tensor is None else f"{tensor.dtype} {tensor.shape}"
            raise BundleError(
                f"tensor {name} in {entry.file} of {where} is {found}, the manifest says {entry.dtype} {entry.shape}: "
                "export the model again"
            )
        if not np.isfinite(tensor).all():
            raise BundleError(f"tensor {name} in {entry.file} of {where} holds NaN or infinity: train again")
        tensors[name] = tensor
    needed = {
        "item_vectors": (manifest.n_items, manifest.d),
        "prior": (len(manifest.prior_times), manifest.n_items),
    }
    for name, shape in needed.items():
        if name not in tensors or tensors[name].shape != shape or tensors[name].dtype != np.float32:
            raise BundleError(f"tensor {name} of {where} has to be float32 {shape}: export the model again")
    return tensors


def _read_catalog(store: Store, manifest: Manifest, where: str, *, vectors: Floats) -> Catalog:
    name = "items.jsonl.gz"
    data = _read_checked(store, manifest, name)
    try:
        lines = gzip.decompress(data).splitlines()
    except (OSError, EOFError, zlib.error) as error:
        raise BundleError(f"{name} of {where} is no gzip file: export the model again") from error
    items = (_parse(Item, line, f"line {number} of {name} of {where}") for number, line in enumerate(lines, 1))
    catalog = index_items(items, vectors)
    if len(lines) != manifest.n_items:
        raise BundleError(f"{name} of {where} has {len(lines)} items, the manifest says {manifest.n_items}")
    if len(catalog.rows) != len(lines):
        raise BundleError(f"{name} of {where} names an item twice: correct the items file and train again")
    return catalog


def _probe(bundle: Bundle, where: str) -> None:
    """Run a batch of users without and with events through both graphs."""
    manifest = bundle.manifest
    rows = np.arange(_PROBE, dtype=np.int64)
    for events in (0, 1):
        shape = (_PROBE, 2)
        features: Features = {
            "support_items": np.broadcast_to(rows[:, None] % manifest.n_items, shape) * events,
            "support_mask": np.full(shape, events, dtype=np.float32),
            "support_kind": np.zeros(shape, dtype=np.int64),
            "support_age": np.full(shape, events, dtype=np.float32),
            "user_features": np.zeros((_PROBE, manifest.n_user_features), dtype=np.float32),
            "time_index": rows % len(manifest.prior_times),
        }
        user_vector, support_vectors = bundle.adapt(features)
        scores = bundle.score(user_vector, rows % len(manifest.prior_times))
        for name, found, expected in (
            ("user_vector", user_vector, (_PROBE, manifest.d)),
            ("support_vectors", support_vectors, (*shape, manifest.d)),
            ("scores", scores, (_PROBE, manifest.n_items)),
        ):
            if found.shape != expected or found.dtype != np.float32:
                raise BundleError(
                    f"{where} gives {name} {found.dtype} {found.shape}, expected float32 {expected}: export it again"
                )
            if not np.isfinite(found).all():
                raise BundleError(f"{where} gives {name} that are not finite on a probe batch: train again")


_M = TypeVar("_M", bound=BaseModel)


def _parse(model: type[_M], data: bytes, where: str) -> _M:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{where} cannot be read: {field} {first['msg']}; publish the model again") from error
