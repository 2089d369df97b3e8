"""An exported bundle, run by onnxruntime: what is evaluated is what a worker serves."""

import gzip
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import onnxruntime as ort
from pydantic import ValidationError
from safetensors.numpy import load

from meta.store import Store, open_store, read_file, read_latest
from meta.supports import Supports
from schemas import FORMAT_VERSION, Item, Manifest
from schemas.errors import BundleError

_BATCH = 256


@dataclass(frozen=True)
class ServedBundle:
    """A loaded bundle; it is a Scorer."""

    manifest: Manifest
    items: list[Item]
    tensors: dict[str, np.ndarray]
    adapt_session: Any
    score_session: Any
    name: str = "fewstep"

    @property
    def item_ids(self) -> list[str]:
        """Ids of the item rows."""
        return [item.item_id for item in self.items]

    def adapt(self, supports: Supports) -> tuple[np.ndarray, np.ndarray]:
        """`user_vector` (b, d) and `support_vectors` (b, s, d)."""
        user_vector, support_vectors = self._run(self.adapt_session, self._features(supports))
        return user_vector, support_vectors

    def score(self, supports: Supports) -> np.ndarray:
        """Scores (b, n_items) float32."""
        scores = np.empty((len(supports.users), self.manifest.n_items), dtype=np.float32)
        for begin in range(0, len(scores), _BATCH):
            batch = slice(begin, begin + _BATCH)
            features = self._features(Supports(*(column[batch] for column in supports)))
            features["user_vector"] = self._run(self.adapt_session, features)[0]
            scores[batch] = self._run(self.score_session, features)[0]
        return scores

    def _features(self, supports: Supports) -> dict[str, np.ndarray]:
        now = np.searchsorted(self.manifest.prior_times, supports.now_ms, side="right") - 1
        return supports._asdict() | {"time_index": np.maximum(now, 0).astype(np.int64)}

    def _run(self, session: Any, features: dict[str, np.ndarray]) -> list[np.ndarray]:
        offered = self.tensors | features
        found: list[np.ndarray] = session.run(None, {node.name: offered[node.name] for node in session.get_inputs()})
        return found


def load_served(store_url: str, model: str, version: str | None = None) -> ServedBundle:
    """Load a version of a model, without `version` the latest.

    Raises BundleError for whatever is missing, does not match its checksum, or is of another format.
    """
    store = open_store(store_url)
    digest = None
    if version is None:
        latest = read_latest(store, model)
        if latest is None:
            raise BundleError(f"model store {store_url} has no model {model}: train it, or correct store and name")
        version, digest = latest.version, latest.digest
    manifest = _manifest(store, model, version, digest)
    contents = {name: _checked(store, manifest, name) for name in manifest.files}
    tensors = {
        name: load(contents[entry.file])[name].astype(entry.dtype, copy=False)
        for name, entry in manifest.tensors.items()
    }
    items = [Item.model_validate_json(line) for line in gzip.decompress(contents["items.jsonl.gz"]).splitlines()]
    return ServedBundle(manifest, items, tensors, *(_session(contents[name]) for name in ("adapt.onnx", "score.onnx")))


def _manifest(store: Store, model: str, version: str, digest: str | None) -> Manifest:
    content = _read(store, model, version, "manifest.json")
    if digest is not None and sha256(content).hexdigest() != digest:
        raise BundleError(f"manifest of {model}/{version} is not the one that latest.json names: publish it again")
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise BundleError(f"manifest of {model}/{version} cannot be read by this build: export it again") from error
    if manifest.format_version != FORMAT_VERSION:
        raise BundleError(
            f"bundle {model}/{version} has format {manifest.format_version}, this build reads {FORMAT_VERSION}:"
            " export it again"
        )
    return manifest


def _checked(store: Store, manifest: Manifest, name: str) -> bytes:
    content = _read(store, manifest.model, manifest.version, name)
    if sha256(content).hexdigest() != manifest.files[name].sha256:
        raise BundleError(f"{name} of bundle {manifest.model}/{manifest.version} is damaged: publish it again")
    return content


def _read(store: Store, *names: str) -> bytes:
    content = read_file(store, *names)
    if content is None:
        raise BundleError(
            f"{'/'.join(names)} of model store {store.url} does not exist: check the store, the model and its version"
        )
    return content


def _session(graph: bytes) -> Any:
    return ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
