"""Compares what a bundle gives here with what it gave where it was trained, on a recorded batch of users.

Checksums find what was damaged on the way; this finds what was already wrong when it was written: item rows in another
order than their ids, tensors of another training, an export that computes something else.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from schemas.errors import BundleError
from stream.core.adapter import Adapter

CANARY_FILE = "canary.safetensors"
TOLERANCE = 1e-3
"""Absolute, and relative to the recorded number: fifty times what other kernels and processors were seen to change,
and far below what one item's row in another's place does."""

_FEATURES = ("support_items", "support_mask", "support_kind", "support_age", "user_features", "time_index")
_NEEDED = (*_FEATURES, "user_vector", "scores", "score_rows", "item_ids_sha256")


def check_canary(data: bytes, adapter: Adapter, where: str) -> None:
    """Run the recorded batch; `data` is the file. Raises BundleError where it cannot be read or a number differs.

    The file holds the adapter's features of b users, `user_vector` (b, d), `scores` (b, m) at the item rows
    `score_rows` (m,), and `item_ids_sha256` (4,), the digest of the item ids in row order as int64.
    """
    try:
        recorded = load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise BundleError(f"{CANARY_FILE} of {where} is no safetensors file: export the model again") from error
    missing = [name for name in _NEEDED if name not in recorded]
    if missing:
        raise BundleError(f"{CANARY_FILE} of {where} has no tensor {missing[0]}: export the model again")
    if not np.array_equal(recorded["item_ids_sha256"], item_ids_digest(adapter.catalog.item_ids)):
        raise BundleError(f"items.jsonl.gz of {where} has its items in another order than its tensors: export it again")
    user_vector, _ = adapter.adapt({name: recorded[name] for name in _FEATURES})
    _compare("user_vector", user_vector, recorded["user_vector"], where)
    scores = adapter.score(user_vector, recorded["time_index"])
    _compare("scores", scores[:, recorded["score_rows"]], recorded["scores"], where)


def item_ids_digest(item_ids: Sequence[str]) -> NDArray[np.int64]:
    """The sha256 of ids, each ended by a zero byte, as four numbers (4,): a safetensors file holds numbers only."""
    return np.frombuffer(sha256("".join(f"{one}\0" for one in item_ids).encode()).digest(), dtype="<i8")


def _compare(name: str, found: NDArray[Any], recorded: NDArray[Any], where: str) -> None:
    if found.shape != recorded.shape:
        raise BundleError(f"{where} gives {name} {found.shape} for its canary, recorded are {recorded.shape}")
    off = np.abs(found - recorded) - TOLERANCE * (1 + np.abs(recorded))
    if not off.max() <= 0:  # a NaN is no match either
        user = int(np.nanargmax(off.max(axis=1)))
        raise BundleError(
            f"{where} gives {name} that differ from those recorded at its training (canary user {user}, by "
            f"{np.nanmax(np.abs(found - recorded)):.3g}): its rows or tensors are mixed up, export the model again"
        )
