"""The kernel of a step alone: adapting a batch and picking the best items, beside one matrix product and a sort.

    python -m stream.bench.kernel STORE MODEL N_ITEMS

The model's item tensors are repeated until there are N_ITEMS of them. Both ways take turns, on one core each.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from stream.bench.apart import ask

BATCH, WINDOW, BEST, TURNS = 256, 32, 10, 7


@dataclass(frozen=True)
class KernelTimes:
    """Milliseconds for one batch, over the turns in order."""

    n_items: int
    batch: int
    inner_rows: int
    """Items that the inner steps range over"""
    adapt_ms: list[float]
    """Inner steps, scores and the exact best of each user."""
    product_ms: list[float]
    """One product (batch, d) x (d, n_items) and `argpartition`."""

    def ratios(self) -> list[float]:
        """Ours divided by the product's, turn by turn."""
        return [ours / theirs for ours, theirs in zip(self.adapt_ms, self.product_ms, strict=True)]


def run_kernel(store: str, model: str, *, n_items: int, home: Path) -> KernelTimes:
    """Measure in a process of its own, where BLAS has one thread. Raises FewstepError with what it said."""
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return KernelTimes(**ask("stream.bench.kernel", store, model, n_items, home=home, **threads))


def measure_kernel(store: str, model: str, *, n_items: int) -> KernelTimes:
    """Time both in turn. Raises BundleError for a bundle that cannot be loaded."""
    from stream.core.ranking import best_rows
    from stream.engine.blocks import in_blocks
    from stream.engine.bundle import load_bundle

    bundle = load_bundle(store, model)
    score_graph = bundle.blocks.graph
    tensors = bundle.adapt_graph.bound | score_graph.bound
    grown = {
        name: np.resize(tensors[name], (n_items, *entry.shape[1:]))
        for name, entry in bundle.manifest.tensors.items()
        if name in tensors and entry.shape[:1] == (bundle.manifest.n_items,)
    } | {"prior": np.resize(tensors["prior"], (len(tensors["prior"]), n_items))}
    large = replace(
        bundle,
        adapt_graph=_bind(bundle.adapt_graph, grown),
        blocks=in_blocks(_bind(score_graph, grown), n_items),
    )
    features = _features(bundle.manifest, n_items)
    users = np.random.default_rng(0).standard_normal((BATCH, bundle.manifest.d)).astype(np.float32)
    items = np.ascontiguousarray(grown["item_vectors"].T)

    def adapt() -> None:
        best_rows(large.score_blocks(large.adapt(features)[0], features["time_index"]), BEST)

    def product() -> None:
        np.argpartition(users @ items, n_items - BEST, axis=1)

    times: dict[Callable[[], None], list[float]] = {adapt: [], product: []}
    for turn in range(TURNS + 1):
        for way, taken in times.items():
            began = perf_counter()
            way()
            if turn:  # the first one warms up
                taken.append((perf_counter() - began) * 1000)
    sample = large.adapt_graph.bound.get("sample_vectors")
    inner_rows = n_items if sample is None else len(sample)
    return KernelTimes(n_items, BATCH, inner_rows, times[adapt], times[product])


def _bind(graph: Any, grown: dict[str, Any]) -> Any:
    return graph._replace(bound=graph.bound | {name: one for name, one in grown.items() if name in graph.bound})


def _features(manifest: Any, n_items: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shape = (BATCH, WINDOW)
    return {
        "support_items": rng.integers(n_items, size=shape),
        "support_mask": np.ones(shape, dtype=np.float32),
        "support_kind": rng.integers(len(manifest.kinds), size=shape),
        "support_age": np.zeros(shape, dtype=np.float32),
        "user_features": np.zeros((BATCH, manifest.n_user_features), dtype=np.float32),
        "time_index": np.full(BATCH, len(manifest.prior_times) - 1),
    }


if __name__ == "__main__":
    print(json.dumps(asdict(measure_kernel(sys.argv[1], sys.argv[2], n_items=int(sys.argv[3])))))  # noqa: T201
