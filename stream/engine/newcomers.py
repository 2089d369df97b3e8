"""Adds items to a loaded bundle that came after its training, scored from their attributes."""

from collections.abc import Mapping
from dataclasses import replace
from operator import itemgetter

import numpy as np

from stream.core.adapter import Floats
from stream.core.listing import Listing, extend
from stream.engine.blocks import in_blocks
from stream.engine.bundle import Bundle
from stream.engine.runtime import Array, Graph

MOST_NEWCOMERS = 50_000
"""Of one bundle, the first that were heard of; a catalog that grows by more wants a training."""


def with_newcomers(bundle: Bundle, listings: Mapping[bytes, Listing | None]) -> Bundle:
    """The bundle with rows for listed items that it does not know, behind its own; attributes are not indexed yet.

    The rows are [content, 1] times the bundle's maps `content_to_<name>`; every new item has the same prior. A bundle
    without maps for all of its item tensors is given back as it is.
    """
    maps = _maps(bundle)
    encoding = bundle.manifest.content
    if encoding is None or maps is None:
        return bundle
    new = [(key, one) for key, one in listings.items() if one is not None and key not in bundle.catalog.rows]
    # In an order that does not depend on who was heard of first, which no two readers of a topic agree on.
    new = sorted(new[:MOST_NEWCOMERS], key=itemgetter(0))
    if not new:
        return bundle
    rows = np.zeros((len(new), len(encoding.columns) + 1), dtype=np.float32)
    rows[:, -1] = 1
    for at, (_, one) in enumerate(new):
        held = encoding.row(one.categories, one.domain, one.features)
        rows[at, list(held)] = list(held.values())
    grown: dict[str, Array] = {
        name: np.concatenate([bundle.tensors[name], (rows @ weights).astype(np.float32)])
        for name, weights in maps.items()
    }
    prior = np.repeat(bundle.tensors["new_item_prior"][:, None], len(new), axis=1)
    grown["prior"] = np.concatenate([bundle.tensors["prior"], prior], axis=1)
    vectors: Floats = grown["item_vectors"][-len(new) :]
    return replace(
        bundle,
        catalog=extend(bundle.catalog, [key for key, _ in new], vectors),
        adapt_graph=_rebound(bundle.adapt_graph, grown),
        blocks=in_blocks(_rebound(bundle.blocks.graph, grown), grown["prior"].shape[1]),
    )


def _maps(bundle: Bundle) -> dict[str, Array] | None:
    """The map of every tensor that has a row per item, by the tensor's name; None where one is missing."""
    maps: dict[str, Array] = {}
    n_items, tensors = bundle.manifest.n_items, bundle.tensors
    width = len(bundle.manifest.content.columns) + 1 if bundle.manifest.content else 0
    for name, entry in bundle.manifest.tensors.items():
        if entry.file != "items.safetensors" or name == "prior" or name.startswith("sample_"):
            continue  # the sample stands for the catalog as it was trained on
        if entry.shape[0] != n_items:
            return None
        found = tensors.get(f"content_to_{name}")
        if found is None or found.shape != (width, *entry.shape[1:]):
            return None
        maps[name] = found
    prior = tensors.get("new_item_prior")
    return maps if prior is not None and prior.shape == (len(bundle.manifest.prior_times),) else None


def _rebound(graph: Graph, tensors: Mapping[str, Array]) -> Graph:
    return graph._replace(bound={name: tensors.get(name, value) for name, value in graph.bound.items()})
