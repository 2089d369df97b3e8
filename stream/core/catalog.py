"""The items of a bundle, indexed for what a step asks of them. All indexes are rows of `item_vectors`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from schemas import Filters, Item
from stream.core.state import ITEM_HASH_BYTES, item_hash


@dataclass(frozen=True, slots=True)
class Catalog:
    """Items in row order; `openings` (n_items + 1,) are how their JSON objects begin, as bytes; row -1 has none.

    `sorted_hashes` (n_items,) with `hashed_rows` (n_items,) finds the rows of an item hash.
    """

    item_ids: list[str]
    openings: NDArray[np.object_]
    rows: dict[bytes, int]
    vectors: NDArray[np.float32]
    withdrawn: NDArray[np.int64]
    categories: dict[str, NDArray[np.int64]]
    domains: dict[str, NDArray[np.int64]]
    sorted_hashes: NDArray[np.int32]
    hashed_rows: NDArray[np.int64]
    listings: str = ""
    """Digest of what the items topic said that was laid over it; empty where it is the bundle's own."""

    def __len__(self) -> int:
        return len(self.item_ids)


def index_items(items: Iterable[Item], vectors: NDArray[np.float32]) -> Catalog:
    """Index items given in row order with their vectors (n_items, d).

    Each item is looked at once and let go. A list of all would be thousands of objects for the garbage collector to
    walk through, hundreds of milliseconds in which no other thread runs.
    """
    categories: dict[str, list[int]] = {}
    domains: dict[str, list[int]] = {}
    item_ids, withdrawn = [], []
    for row, item in enumerate(items):
        item_ids.append(item.item_id)
        for category in item.categories:
            categories.setdefault(category, []).append(row)
        domains.setdefault(item.domain, []).append(row)
        if not item.available:
            withdrawn.append(row)
    ids = [item_id.encode() for item_id in item_ids]
    hashes = unpack_hashes(b"".join(item_hash(item_id) for item_id in ids))
    order = np.argsort(hashes, kind="stable")
    return Catalog(
        item_ids=item_ids,
        openings=openings_of(item_ids),
        rows={item_id: row for row, item_id in enumerate(ids)},
        vectors=vectors,
        withdrawn=np.array(withdrawn, dtype=np.int64),
        categories=_arrays(categories),
        domains=_arrays(domains),
        sorted_hashes=hashes[order],
        hashed_rows=order.astype(np.int64),
    )


def openings_of(item_ids: Sequence[str]) -> NDArray[np.object_]:
    """How the JSON objects of items begin, and the nothing that row -1 has: (n_items + 1,)."""
    return np.array([b'{"item_id":%b,' % orjson.dumps(item_id) for item_id in item_ids] + [b""], dtype=object)


def unpack_hashes(rings: bytes) -> NDArray[np.int32]:
    """The item hashes of one or more rings `seen`, joined, as numbers (n,)."""
    padded = np.zeros((len(rings) // ITEM_HASH_BYTES, 4), dtype=np.uint8)
    padded[:, :ITEM_HASH_BYTES] = np.frombuffer(rings, dtype=np.uint8).reshape(-1, ITEM_HASH_BYTES)
    return padded.view("<i4")[:, 0]


def find_hashed(catalog: Catalog, hashes: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All (position in `hashes`, row) pairs whose item has that hash; hashes of unknown items give none."""
    at = np.searchsorted(catalog.sorted_hashes, hashes)
    left = np.arange(len(hashes))
    positions, rows = [], []
    # Items that share a hash lie side by side: the loop ends after the longest such run, nearly always one item.
    while True:
        inside = at < len(catalog)
        left, at, hashes = left[inside], at[inside], hashes[inside]
        match = catalog.sorted_hashes[at] == hashes
        left, at, hashes = left[match], at[match], hashes[match]
        if not len(left):
            break
        positions.append(left)
        rows.append(catalog.hashed_rows[at])
        at = at + 1
    nothing = np.empty(0, dtype=np.int64)
    return np.concatenate([nothing, *positions]), np.concatenate([nothing, *rows])


def forbidden_rows(catalog: Catalog, filters: Filters) -> NDArray[np.int64]:
    """Rows (m,) that the filters keep out of a list; an unknown category or domain matches no item."""
    forbidden = np.zeros(len(catalog), dtype=bool)
    for wanted, index in ((filters.categories, catalog.categories), (filters.domains, catalog.domains)):
        if wanted:
            outside = np.ones(len(catalog), dtype=bool)
            for name in wanted:
                outside[index.get(name, [])] = False
            forbidden |= outside
    excluded = [row for item in filters.exclude_items if (row := catalog.rows.get(item.encode())) is not None]
    forbidden[excluded] = True
    return np.flatnonzero(forbidden)


def _arrays(index: dict[str, list[int]]) -> dict[str, NDArray[np.int64]]:
    return {name: np.array(rows, dtype=np.int64) for name, rows in index.items()}
