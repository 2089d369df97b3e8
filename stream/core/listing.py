"""The catalog as the items topic has it by now: what a bundle brought, with availability and attributes of today."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas import Flat
from stream.core.catalog import Catalog, openings_of, unpack_hashes
from stream.core.state import item_hash


class Listing(NamedTuple):
    """What the newest record of an item says, less what no list depends on."""

    available: bool
    categories: tuple[str, ...]
    domain: str
    features: Flat


def relist(catalog: Catalog, listings: Mapping[bytes, Listing | None]) -> Catalog:
    """The catalog with availability, categories and domains as listed; None withdraws an item.

    Rows and vectors stay. Items that the catalog does not know are left out.
    """
    rows: list[int] = []
    withdrawn: list[int] = []
    categories: dict[str, list[int]] = {}
    domains: dict[str, list[int]] = {}
    for item_id, listing in listings.items():
        row = catalog.rows.get(item_id)
        if row is None:
            continue
        if listing is None or not listing.available:
            withdrawn.append(row)
        if listing is None:
            continue  # it keeps its attributes: no list will show them
        rows.append(row)
        for category in listing.categories:
            categories.setdefault(category, []).append(row)
        domains.setdefault(listing.domain, []).append(row)
    moved = np.zeros(len(catalog), dtype=bool)
    moved[rows] = True
    hidden = np.zeros(len(catalog), dtype=bool)
    hidden[catalog.withdrawn] = True
    hidden[rows] = False
    hidden[withdrawn] = True
    return replace(
        catalog,
        withdrawn=np.flatnonzero(hidden),
        categories=_reindexed(catalog.categories, moved, categories),
        domains=_reindexed(catalog.domains, moved, domains),
    )


def extend(catalog: Catalog, item_ids: Sequence[bytes], vectors: NDArray[np.float32]) -> Catalog:
    """The catalog with rows for more items behind its own, without attributes yet; `vectors` (m, d) are theirs."""
    texts = [item_id.decode() for item_id in item_ids]
    hashes = unpack_hashes(b"".join(map(item_hash, item_ids)))
    rows = np.arange(len(catalog), len(catalog) + len(item_ids))
    all_hashes = np.concatenate([catalog.sorted_hashes, hashes])
    order = np.argsort(all_hashes, kind="stable")
    return replace(
        catalog,
        item_ids=catalog.item_ids + texts,
        openings=np.concatenate([catalog.openings[:-1], openings_of(texts)]),
        rows=catalog.rows | dict(zip(item_ids, rows.tolist(), strict=True)),
        vectors=np.concatenate([catalog.vectors, vectors]),
        sorted_hashes=all_hashes[order],
        hashed_rows=np.concatenate([catalog.hashed_rows, rows])[order],
    )


def _reindexed(
    index: Mapping[str, NDArray[np.int64]], moved: NDArray[np.bool_], added: Mapping[str, Iterable[int]]
) -> dict[str, NDArray[np.int64]]:
    """An index of rows by name without the rows that moved, and with those that were added."""
    kept = {name: rows[~moved[rows]] for name, rows in index.items()}
    for name, rows in added.items():
        merged = np.concatenate([kept.get(name, np.empty(0, dtype=np.int64)), np.array(list(rows), dtype=np.int64)])
        kept[name] = np.unique(merged)
    return {name: rows for name, rows in kept.items() if len(rows)}
