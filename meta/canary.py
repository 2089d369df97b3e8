"""Records what a bundle gives for a batch of made-up users, so that whoever loads it can see that it still does.

The numbers come from torch, not from the exported graphs: a worker that finds them again has checked the export too.
"""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import torch
from safetensors.numpy import save

from meta.inner import Support, adapt
from meta.training import Trained

CANARY_FILE = "canary.safetensors"
_USERS, _EVENTS = 8, 8
_MOST_ROWS = 16_384
"""Item rows whose scores are recorded, half a megabyte for all users; of a larger catalog a sample."""


def record_canary(trained: Trained, item_ids: Sequence[str], *, n_kinds: int) -> bytes:
    """The safetensors file of the graphs' inputs and outputs for users with no event, one event, up to seven.

    It holds the inputs by name, `user_vector` (b, d), `scores` (b, m) at the item rows `score_rows` (m,), and
    `item_ids_sha256` (4,): the digest of the ids in row order, each ended by a zero byte, as int64.
    """
    rng = np.random.default_rng(0)
    filled = np.arange(_EVENTS) < np.arange(_USERS)[:, None]
    n_items, n_features = (
        len(item_ids),
        trained.theta["user_weights"].shape[0] if "user_weights" in trained.theta else 0,
    )
    features: dict[str, np.ndarray] = {
        "support_items": rng.integers(0, n_items, filled.shape) * filled,
        "support_mask": filled.astype(np.float32),
        "support_kind": rng.integers(0, n_kinds, filled.shape) * filled,
        "support_age": (rng.random(filled.shape) * filled * 30).astype(np.float32),
        "user_features": (rng.random((_USERS, n_features)) < 0.3).astype(np.float32),
        "time_index": rng.integers(0, len(trained.prior_times), _USERS),
    }
    rows = np.sort(rng.permutation(n_items)[:_MOST_ROWS])
    user_vector, scores = _run(trained, features)
    digest = sha256("".join(f"{one}\0" for one in item_ids).encode()).digest()
    recorded = {
        "user_vector": user_vector,
        "scores": np.ascontiguousarray(scores[:, rows]),
        "score_rows": rows,
        "item_ids_sha256": np.frombuffer(digest, dtype="<i8"),
    }
    content: bytes = save(features | recorded)
    return content


def _run(trained: Trained, features: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """`user_vector` (b, d) and scores (b, n_items)."""
    given = {name: torch.from_numpy(feature) for name, feature in features.items()}
    support = Support(
        given["support_items"],
        given["support_mask"],
        given["support_kind"],
        given["user_features"] if features["user_features"].shape[1] else None,
    )
    with torch.no_grad():
        prior = trained.items["prior"][given["time_index"]]
        inside = trained.items.get("sample_prior", trained.items["prior"])[given["time_index"]]
        user_vector = adapt(support, inside, theta=trained.theta, items=trained.items).user_vector
        return user_vector.numpy(), (user_vector @ trained.items["item_vectors"].T + prior).numpy()
