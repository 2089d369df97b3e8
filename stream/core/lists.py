"""Makes recommendation lists for states: adapts, scores, hides, ranks and explains, a chunk of users at a time."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from stream.core.adapter import Adapter, Floats
from stream.core.catalog import Catalog, find_hashed, forbidden_rows, unpack_hashes
from stream.core.explain import reasons_for
from stream.core.features import BLOCK, Batch, Encoding, encode_batch
from stream.core.fold import Wanted
from stream.core.ranking import HIDDEN, best_rows
from stream.core.render import render
from stream.core.state import ITEM_HASH_BYTES

MOST_BYTES = 900_000
"""Of one list: below what brokers take by default, with room for key and headers."""
MOST_USERS = 256
"""Users of one graph run: what it works on should stay in the cache of a core."""
_MOST_SCORES = 2**22
"""Scores of one graph run (16 MiB): with more, a run takes memory and gains no time."""


def make_lists(
    wanted: Sequence[Wanted], adapter: Adapter, *, encoding: Encoding, reasons: int, generated_at: str
) -> tuple[list[bytes], int]:
    """The lists (schemas.Recommendation as JSON) in the order wanted, and how many users had a non-finite result.

    A list depends on its user's state, `now` and the request alone, to the last bit, and not on the other lists made:
    so lists of one length are made together, in batches of whole blocks.
    """
    chunks = _chunks(wanted, len(adapter.catalog))
    lists = [b""] * len(wanted)
    non_finite = 0
    groups = [[wanted[index] for index in indexes] for indexes in chunks]
    computing = _computed_ahead(groups, adapter, encoding)
    for indexes, some, computed in zip(chunks, groups, computing, strict=True):
        made = _write(some, computed, adapter, reasons=reasons, generated_at=generated_at)
        non_finite += int(computed.broken.sum())
        for index, one_list in zip(indexes, made, strict=True):
            lists[index] = one_list
    return lists, non_finite


class _Computed(NamedTuple):
    """What the graphs gave for a batch of users; see `_score`."""

    batch: Batch
    support_vectors: Floats
    scores: Floats
    broken: NDArray[np.bool_]


def _chunks(wanted: Sequence[Wanted], n_items: int) -> list[list[int]]:
    """Indexes of lists of one length each, as many as one graph run takes."""
    most = max(BLOCK, min(MOST_USERS, _MOST_SCORES // n_items) // BLOCK * BLOCK)
    by_length: dict[int, list[int]] = {}
    for index, one in enumerate(wanted):
        by_length.setdefault(one.n, []).append(index)
    return [indexes[at : at + most] for indexes in by_length.values() for at in range(0, len(indexes), most)]


def _computed_ahead(chunks: Sequence[Sequence[Wanted]], adapter: Adapter, encoding: Encoding) -> Iterator[_Computed]:
    """Run the graphs for each chunk; while one is written by the caller, the next is computed in a thread.

    The graphs hold no lock of the interpreter, and writing holds it nearly always: two cores are busy then.
    """

    def compute(chunk: Sequence[Wanted]) -> _Computed:
        batch = encode_batch(encoding, [one.state for one in chunk], [one.now_ms for one in chunk])
        return _Computed(batch, *_score(adapter, batch))

    if len(chunks) < 2:  # a thread would cost more than it gains
        yield from map(compute, chunks)
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="graphs") as ahead:
        following = ahead.submit(compute, chunks[0])
        for chunk in chunks[1:]:
            computed = following.result()
            following = ahead.submit(compute, chunk)
            yield computed
        yield following.result()


def _write(
    wanted: Sequence[Wanted], computed: _Computed, adapter: Adapter, *, reasons: int, generated_at: str
) -> list[bytes]:
    """Hide, rank, explain and render the lists of one chunk."""
    users, catalog = len(wanted), adapter.catalog
    scores, support_rows = computed.scores[:users], computed.batch.support_rows[:users]
    hide(scores, wanted, support_rows=support_rows, catalog=catalog)
    rows = best_rows(scores, min(wanted[0].n, len(catalog)))
    listed = np.maximum(rows, 0)
    reason_rows, contributions = reasons_for(
        catalog.vectors[listed],
        computed.support_vectors[:users],
        support_items=support_rows,
        known=computed.batch.known[:users] & ~computed.broken[:users, None],
        most=reasons,
    )
    lists = render(
        wanted,
        rows,
        scores=np.take_along_axis(scores, listed, axis=1),
        reason_rows=reason_rows,
        contributions=contributions,
        opened=catalog.openings,
        manifest=adapter.manifest,
        generated_at=generated_at,
    )
    return [fitted(one) for one in lists]


def fitted(value: bytes, most_bytes: int = MOST_BYTES) -> bytes:
    """The list as it is if it fits into a Kafka message; else without reasons, if need be without its last items."""
    if len(value) <= most_bytes:
        return value
    found = orjson.loads(value)
    for item in found["items"]:
        item["reasons"] = []
    while len(shortened := orjson.dumps(found)) > most_bytes:
        found["items"] = found["items"][: len(found["items"]) * 9 // 10]
    return shortened


def _score(adapter: Adapter, batch: Batch) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Support vectors (b, s, d), scores (b, n_items), and whose result was not finite (b,).

    Those users get the scores of the initialization, which was finite when the bundle was loaded.
    """
    time_index = batch.features["time_index"].astype(np.int64, copy=False)
    user_vectors, support_vectors = adapter.adapt(batch.features)
    scores = adapter.score(user_vectors, time_index)
    broken: NDArray[np.bool_] = np.logical_not(np.isfinite(scores).all(axis=1))
    if broken.any():
        start = {name: np.zeros_like(feature) for name, feature in batch.features.items()}
        scores[broken] = adapter.score(adapter.adapt(start)[0], time_index)[broken]
    return support_vectors, scores, broken


def hide(scores: Floats, wanted: Sequence[Wanted], *, support_rows: NDArray[np.int64], catalog: Catalog) -> None:
    """Hide, in `scores` (b, n_items), what a user has interacted with, what a filter forbids and what is withdrawn."""
    users, places = np.nonzero(support_rows >= 0)
    scores[users, support_rows[users, places]] = HIDDEN
    owners = np.repeat(np.arange(len(wanted)), [len(one.state.seen) // ITEM_HASH_BYTES for one in wanted])
    found, rows = find_hashed(catalog, unpack_hashes(b"".join([one.state.seen for one in wanted])))
    scores[owners[found], rows] = HIDDEN
    scores[:, catalog.withdrawn] = HIDDEN
    for user, one in enumerate(wanted):
        if one.filters is not None:
            scores[user, forbidden_rows(catalog, one.filters)] = HIDDEN
