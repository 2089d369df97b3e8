"""Writes small bundles that keep the documented contract, without any training: for tests of all that serves."""

import gzip
import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from safetensors.numpy import save

from schemas import (
    FORMAT_VERSION,
    ContentEncoding,
    EventKinds,
    FileEntry,
    Item,
    Latest,
    Manifest,
    TensorEntry,
    UserFeature,
)

KINDS = EventKinds(
    types=["view", "click", "like", "dislike", "purchase", "skip"], edges={"rating": [1.5, 2.5, 3.5, 4.5]}
)
USER_FEATURES = [UserFeature(field="city", values=["Aachen", "Bergen"]), UserFeature(field="age", edges=[30.0])]
DAY_ZERO = 1_700_000_000_000
DAY = 86_400_000
CATEGORIES = ("drama", "comedy", "crime")
DOMAINS = ("movies", "books")
CONTENT = ContentEncoding(columns=[("categories", name) for name in CATEGORIES], edges={})

_FLOAT, _INT = TensorProto.FLOAT, TensorProto.INT64
# A user vector is a start, plus a profile, plus the mean of the support items' vectors, weighted by kind and by age.
_ADAPT = (
    helper.make_node("Gather", ["item_vectors", "support_items"], ["vectors"]),
    helper.make_node("Gather", ["kind_weights", "support_kind"], ["weight_of_kind"]),
    helper.make_node("Mul", ["weight_of_kind", "support_mask"], ["masked"]),
    helper.make_node("Add", ["support_age", "half_life"], ["aged"]),
    helper.make_node("Div", ["masked", "aged"], ["weights"]),
    helper.make_node("ReduceSum", ["support_mask", "events_axis"], ["events"], keepdims=1),
    helper.make_node("Add", ["events", "one"], ["divisor"]),
    helper.make_node("Div", ["weights", "divisor"], ["shares"]),
    helper.make_node("Unsqueeze", ["shares", "last_axis"], ["columns"]),
    helper.make_node("Mul", ["vectors", "columns"], ["support_vectors"]),
    helper.make_node("ReduceSum", ["support_vectors", "events_axis"], ["learned"], keepdims=0),
    helper.make_node("MatMul", ["user_features", "profile_weights"], ["profile"]),
    helper.make_node("Add", ["learned", "profile"], ["personal"]),
    helper.make_node("Add", ["personal", "start"], ["user_vector"]),
)
_SCORE = (
    helper.make_node("Gemm", ["user_vector", "item_vectors"], ["products"], transB=1),
    helper.make_node("Gather", ["prior", "time_index"], ["popular"]),
    helper.make_node("Add", ["products", "popular"], ["scores"]),
)


def write_tiny_bundle(
    store: Path,
    *,
    model: str = "default",
    version: str = "v1",
    n_items: int = 40,
    d: int = 4,
    seed: int = 0,
    extra_input: str | None = None,
    tensors: Mapping[str, np.ndarray] | None = None,
    withdrawn: tuple[int, ...] = (),
    latest: bool = True,
    created_at: str = "2026-01-31T12:00:00Z",
    canary: bool = True,
) -> Manifest:
    """Write `<store>/<model>/<version>/` and `latest.json`; items are `i0`, `i1`, ... in row order.

    Item i has category `CATEGORIES[i % 3]` and domain `DOMAINS[i % 2]`. `tensors` replaces some of the drawn ones;
    `extra_input` declares one more float input (batch, 1) that the adapt graph asks for.
    """
    drawn = _tensors(np.random.default_rng(seed), n_items, d) | dict(tensors or {})
    theta = {name: value for name, value in drawn.items() if name not in ("item_vectors", "prior")}
    items = {name: drawn[name] for name in ("item_vectors", "prior")}
    files = {
        "adapt.onnx": _adapt_graph(extra_input),
        "score.onnx": _score_graph(),
        "theta.safetensors": save(theta),
        "items.safetensors": save(items),
        "items.jsonl.gz": gzip.compress(_item_lines(n_items, withdrawn), mtime=0),
    }
    maps = _newcomers(drawn)
    files["newcomers.safetensors"] = save(maps)
    if canary:
        files["canary.safetensors"] = save(_canary(drawn, n_items))
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        model=model,
        version=version,
        created_at=created_at,
        algorithm="tiny",
        inner_steps=1,
        n_items=n_items,
        d=d,
        files={name: FileEntry(size=len(data), sha256=sha256(data).hexdigest()) for name, data in files.items()},
        tensors={
            name: TensorEntry(file=file, dtype=str(value.dtype), shape=value.shape)
            for file, group in (
                ("theta.safetensors", theta),
                ("items.safetensors", items),
                ("newcomers.safetensors", maps),
            )
            for name, value in group.items()
        },
        kinds=KINDS,
        user_features=USER_FEATURES,
        content=CONTENT,
        prior_times=[DAY_ZERO, DAY_ZERO + 10 * DAY],
    )
    folder = store / model / version
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    write_manifest(store, manifest, latest=latest)
    return manifest


def write_manifest(store: Path, manifest: Manifest, *, latest: bool = True, **changes: Any) -> None:
    """Write a bundle's manifest, with `changes` to its fields unchecked, and a matching `latest.json`."""
    text = json.dumps(json.loads(manifest.model_dump_json()) | changes).encode()
    (store / manifest.model / manifest.version / "manifest.json").write_bytes(text)
    if latest:
        pointer = Latest(model=manifest.model, version=manifest.version, digest=sha256(text).hexdigest())
        (store / manifest.model / "latest.json").write_text(pointer.model_dump_json())


def replace_file(store: Path, manifest: Manifest, name: str, data: bytes) -> None:
    """Replace a file together with its entry in the manifest and the pointer, so that only its content is wrong."""
    (store / manifest.model / manifest.version / name).write_bytes(data)
    files = json.loads(manifest.model_dump_json())["files"]
    files[name] = {"size": len(data), "sha256": sha256(data).hexdigest()}
    write_manifest(store, manifest, files=files)


def _newcomers(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The mean vector of each category, and nothing for an item without one."""
    vectors = tensors["item_vectors"]
    means = [vectors[at :: len(CATEGORIES)].mean(axis=0) for at in range(len(CATEGORIES))]
    return {
        "content_to_item_vectors": np.stack([*means, np.zeros_like(means[0])]).astype(np.float32),
        "new_item_prior": tensors["prior"].mean(axis=1),
    }


def _canary(tensors: Mapping[str, np.ndarray], n_items: int) -> dict[str, np.ndarray]:
    """What the graphs below compute, in numpy, for users with no event up to three."""
    rng = np.random.default_rng(1)
    mask = (np.arange(3) < np.arange(4)[:, None]).astype(np.float32)
    features = {
        "support_items": rng.integers(0, n_items, (4, 3)) * mask.astype(np.int64),
        "support_mask": mask,
        "support_kind": rng.integers(0, len(KINDS), (4, 3)) * mask.astype(np.int64),
        "support_age": mask * 2,
        "user_features": np.eye(4, len(tensors["profile_weights"]), dtype=np.float32),
        "time_index": np.arange(4) % 2,
    }
    weights = tensors["kind_weights"][features["support_kind"]] * mask / (mask * 2 + tensors["half_life"])
    shares = weights / (mask.sum(axis=1, keepdims=True) + 1)
    learned = np.einsum("bsd,bs->bd", tensors["item_vectors"][features["support_items"]], shares)
    user_vector = learned + features["user_features"] @ tensors["profile_weights"] + tensors["start"]
    scores = user_vector @ tensors["item_vectors"].T + tensors["prior"][features["time_index"]]
    ids = "".join(f"i{row}\0" for row in range(n_items)).encode()
    return features | {
        "user_vector": user_vector,
        "scores": scores,
        "score_rows": np.arange(n_items),
        "item_ids_sha256": np.frombuffer(sha256(ids).digest(), dtype="<i8"),
    }


def _item_lines(n_items: int, withdrawn: tuple[int, ...]) -> bytes:
    items = (
        Item(
            item_id=f"i{row}",
            title=f"Item {row}",
            categories=[CATEGORIES[row % 3]],
            domain=DOMAINS[row % 2],
            available=row not in withdrawn,
        )
        for row in range(n_items)
    )
    return "".join(item.model_dump_json() + "\n" for item in items).encode()


def _tensors(rng: np.random.Generator, n_items: int, d: int) -> dict[str, np.ndarray]:
    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    return {
        "item_vectors": normal(n_items, d),
        "prior": normal(2, n_items),
        "start": normal(d),
        "kind_weights": np.abs(normal(len(KINDS))),
        "half_life": np.array([3.0], dtype=np.float32),
        "profile_weights": normal(sum(len(feature) for feature in USER_FEATURES), d),
    }


def _adapt_graph(extra_input: str | None) -> bytes:
    inputs = [
        _value("support_items", _INT, "batch", "support"),
        _value("support_mask", _FLOAT, "batch", "support"),
        _value("support_kind", _INT, "batch", "support"),
        _value("support_age", _FLOAT, "batch", "support"),
        _value("user_features", _FLOAT, "batch", "columns"),
        *(_value(name, _FLOAT, *shape) for name, *shape in _WEIGHTS),
    ]
    if extra_input is not None:
        inputs.append(_value(extra_input, _FLOAT, "batch", 1))
    outputs = [
        _value("user_vector", _FLOAT, "batch", "d"),
        _value("support_vectors", _FLOAT, "batch", "support", "d"),
    ]
    constants = [
        helper.make_tensor("events_axis", _INT, [1], [1]),
        helper.make_tensor("last_axis", _INT, [1], [-1]),
        helper.make_tensor("one", _FLOAT, [1], [1.0]),
    ]
    return _model(helper.make_graph(list(_ADAPT), "adapt", inputs, outputs, constants))


_WEIGHTS = (
    ("item_vectors", "items", "d"),
    ("kind_weights", "kinds"),
    ("half_life", 1),
    ("profile_weights", "columns", "d"),
    ("start", "d"),
)


def _score_graph() -> bytes:
    inputs = [
        _value("user_vector", _FLOAT, "batch", "d"),
        _value("time_index", _INT, "batch"),
        _value("item_vectors", _FLOAT, "items", "d"),
        _value("prior", _FLOAT, "times", "items"),
    ]
    return _model(helper.make_graph(list(_SCORE), "score", inputs, [_value("scores", _FLOAT, "batch", "items")]))


def _value(name: str, dtype: int, *shape: str | int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def _model(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
