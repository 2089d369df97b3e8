"""Makes recommendation lists for states: adapts, scores, hides, ranks and explains, a chunk of users at a time."""

from collections.abc import Sequence

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
MOST_USERS = 512
"""Users of one graph run."""
_MOST_SCORES = 2**22
"""Scores of one graph run (16 MiB): with more, a run takes memory and gains no time."""


def make_lists(
    wanted: Sequence[Wanted], adapter: Adapter, *, encoding: Encoding, reasons: int, generated_at: str
) -> tuple[list[bytes], int]:
    """The lists (schemas.Recommendation as JSON) in the order wanted, and how many users had a non-finite result.

    A list depends on its user's state, `now` and the request alone, to the last bit, and not on the other lists made:
    so lists of one length are made together, in batches of whole blocks.
    """
    most = max(BLOCK, min(MOST_USERS, _MOST_SCORES // len(adapter.catalog)) // BLOCK * BLOCK)
    by_length: dict[int, list[int]] = {}
    for index, one in enumerate(wanted):
        by_length.setdefault(one.n, []).append(index)
    lists = [b""] * len(wanted)
    non_finite = 0
    for n, indexes in by_length.items():
        for start in range(0, len(indexes), most):
            chunk = indexes[start : start + most]
            made, broken = _make_chunk(
                [wanted[index] for index in chunk],
                adapter,
                encoding=encoding,
                n=min(n, len(adapter.catalog)),
                reasons=reasons,
                generated_at=generated_at,
            )
            non_finite += broken
            for index, one_list in zip(chunk, made, strict=True):
                lists[index] = one_list
    return lists, non_finite


def _make_chunk(
    wanted: Sequence[Wanted], adapter: Adapter, *, encoding: Encoding, n: int, reasons: int, generated_at: str
) -> tuple[list[bytes], int]:
    batch = encode_batch(encoding, [one.state for one in wanted], [one.now_ms for one in wanted])
    support_vectors, scores, broken = _score(adapter, batch)
    users = len(wanted)
    scores = scores[:users]
    _hide(scores, wanted, support_rows=batch.support_rows[:users], catalog=adapter.catalog)
    rows = best_rows(scores, n)
    listed = np.maximum(rows, 0)
    reason_rows, contributions = reasons_for(
        adapter.catalog.vectors[listed],
        support_vectors[:users],
        support_items=batch.support_rows[:users],
        known=batch.known[:users] & ~broken[:users, None],
        most=reasons,
    )
    lists = render(
        wanted,
        rows,
        scores=np.take_along_axis(scores, listed, axis=1),
        reason_rows=reason_rows,
        contributions=contributions,
        opened=adapter.catalog.openings,
        manifest=adapter.manifest,
        generated_at=generated_at,
    )
    return [fitted(one) for one in lists], int(broken.sum())


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


def _hide(scores: Floats, wanted: Sequence[Wanted], *, support_rows: NDArray[np.int64], catalog: Catalog) -> None:
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
