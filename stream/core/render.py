"""Writes lists as JSON: the objects of schemas.Recommendation.

A poll holds thousands of lists with dozens of small objects each, and a Python format per object would cost more than
adapting the user. So a list is a row of slots: ids and marks are looked up for the whole batch at once, numbers are
written in bulk, and one join per list does the rest.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import orjson
from numpy.typing import NDArray

from schemas import SCHEMA_VERSION, Manifest
from stream.core.fold import Wanted
from stream.core.ranking import round_scores

Texts = NDArray[np.object_]
"""Parts of JSON texts, as bytes."""

_COMMAS: Texts = np.array([b"", b","], dtype=object)
_NEXT_ITEMS: Texts = np.array([b"", b"]},"], dtype=object)


def render(
    wanted: Sequence[Wanted],
    rows: NDArray[np.int64],
    *,
    scores: NDArray[np.float32],
    reason_rows: NDArray[np.int64],
    contributions: NDArray[np.float32],
    opened: Texts,
    manifest: Manifest,
    generated_at: str,
) -> list[bytes]:
    """One JSON text per user. `rows` and `scores` (b, n), `reason_rows` and `contributions` (b, n, reasons).

    A row of -1 is no item or no reason, and none comes after it; reasons of no item are ignored. `opened` are the
    catalog's `openings`.
    """
    start = b'{"schema_version":%d,"user_id":' % SCHEMA_VERSION
    model = b',"model":%b,"model_version":%b,"items":[' % (orjson.dumps(manifest.model), orjson.dumps(manifest.version))
    end = b'},"generated_at":"%b"}' % generated_at.encode()
    items = _items(rows, scores, reason_rows, contributions, opened).tolist()
    return [
        b"".join(
            [
                start,
                orjson.dumps(one.user[1].decode()),
                model,
                *slots,
                b'],"support_size":%d,"source":{"topic":%b,"partition":%d,"offset":%d'
                % (len(one.state.codes), _json(one.origin.topic), one.origin.partition, one.origin.offset),
                end,
            ]
        )
        for one, slots in zip(wanted, items, strict=True)
    ]


def _items(
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    reason_rows: NDArray[np.int64],
    contributions: NDArray[np.float32],
    opened: Texts,
) -> Texts:
    """Slots (b, ...) that make up the items of each list when joined."""
    users, n = rows.shape
    most = reason_rows.shape[2]
    there = rows >= 0
    reason_rows = np.where(there[:, :, None], reason_rows, -1)
    reasoned = reason_rows >= 0
    slots = np.empty((users, n, 3 + 3 * most), dtype=object)
    slots[:, 0, 0] = b""
    slots[:, 1:, 0] = _NEXT_ITEMS[there[:, 1:].view(np.int8)]
    slots[:, :, 1] = opened[rows]
    slots[:, :, 2] = _numbers(b'"score":', scores, there, b',"reasons":[')
    slots[:, :, 3:4] = b""
    slots[:, :, 6::3] = _COMMAS[reasoned[:, :, 1:].view(np.int8)]
    slots[:, :, 4::3] = opened[reason_rows]
    slots[:, :, 5::3] = _numbers(b'"contribution":', contributions, reasoned, b"}")
    ends = np.where(there.any(axis=1), b"]}", b"").astype(object)
    return np.concatenate([slots.reshape(users, -1), ends[:, None]], axis=1)


def _numbers(before: bytes, values: NDArray[np.float32], there: NDArray[np.bool_], after: bytes) -> Texts:
    """Each number that is there, rounded, with what stands before and after it; the others are empty."""
    texts = np.full(values.shape, b"", dtype=object)
    rounded = round_scores(values[there])
    if len(rounded):
        joined = orjson.dumps(rounded, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
        texts[there] = (before + joined.replace(b",", after + b"\n" + before) + after).split(b"\n")
    return texts


@lru_cache(16)
def _json(text: str) -> bytes:
    return orjson.dumps(text)
