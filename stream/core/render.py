"""Writes lists as JSON: the objects of schemas.Recommendation.

A poll holds thousands of lists with dozens of small objects each. Making those objects first costs twice as
much as joining their texts, so ids are escaped once per catalog and numbers are written in bulk.
"""

from collections.abc import Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from schemas import SCHEMA_VERSION, Manifest
from stream.core.fold import Wanted
from stream.core.ranking import round_scores


def render(
    wanted: Sequence[Wanted],
    rows: NDArray[np.int64],
    *,
    scores: NDArray[np.float32],
    reason_rows: NDArray[np.int64],
    contributions: NDArray[np.float32],
    json_ids: Sequence[str],
    manifest: Manifest,
    generated_at: str,
) -> list[bytes]:
    """One JSON text per user. `rows` and `scores` (b, n), `reason_rows` and `contributions` (b, n, reasons).

    A row of -1 is no item or no reason. `json_ids` are the item ids as JSON texts, by row.
    """
    reasons = _groups(_reasons(reason_rows, contributions, json_ids), rows.size, reason_rows.shape[2])
    items = _groups(_items(rows, scores, reasons, json_ids), len(wanted), rows.shape[1])
    model = f'"model":{_json(manifest.model)},"model_version":{_json(manifest.version)}'
    return [
        (
            f'{{"schema_version":{SCHEMA_VERSION},"user_id":{_json(one.user[1].decode())},{model},'
            f'"items":[{listed}],"support_size":{len(one.state.codes)},"source":{{"topic":{_json(one.origin.topic)},'
            f'"partition":{one.origin.partition},"offset":{one.origin.offset}}},"generated_at":"{generated_at}"}}'
        ).encode()
        for one, listed in zip(wanted, items, strict=True)
    ]


def _reasons(rows: NDArray[np.int64], contributions: NDArray[np.float32], json_ids: Sequence[str]) -> list[str]:
    return [
        f'{{"item_id":{json_ids[row]},"contribution":{contribution}}}' if row >= 0 else ""
        for row, contribution in zip(rows.ravel().tolist(), _numbers(rows, contributions), strict=True)
    ]


def _items(
    rows: NDArray[np.int64], scores: NDArray[np.float32], reasons: Sequence[str], json_ids: Sequence[str]
) -> list[str]:
    return [
        f'{{"item_id":{json_ids[row]},"score":{score},"reasons":[{because}]}}' if row >= 0 else ""
        for row, score, because in zip(rows.ravel().tolist(), _numbers(rows, scores), reasons, strict=True)
    ]


def _groups(texts: Sequence[str], groups: int, size: int) -> list[str]:
    """Join every `size` texts with commas, leaving out the empty ones."""
    if not size:
        return [""] * groups
    one = iter(texts)
    return [",".join(filter(None, group)) for group in zip(*[one] * size, strict=True)]


def _numbers(rows: NDArray[np.int64], values: NDArray[np.float32]) -> list[str]:
    if not values.size:
        return []
    rounded = round_scores(np.where(rows >= 0, values, 0)).ravel()
    return orjson.dumps(rounded, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].decode().split(",")


def _json(text: str) -> str:
    return orjson.dumps(text).decode()
