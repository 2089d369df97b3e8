"""Turns user states into the adapter's input arrays, as docs/architecture.md defines them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from schemas import Manifest
from stream.core.adapter import Features
from stream.core.catalog import Catalog
from stream.core.columns import END, ESCAPE, actions, plain_actions, unpack_varints
from stream.core.state import UserState

DAY_MS = 86_400_000
BLOCK = 8
"""Batches are padded to a multiple of this. Matrix kernels take other paths for a few left-over rows, and a user's list
must not depend, not even in its last bit, on who shares the batch."""
NARROWEST = 8
"""Support width of users with few events; then twice that, and so on up to the window."""
_UNKNOWN = -1
_CACHED = 16_384


class Batch(NamedTuple):
    """The adapter's features, and what ranking needs of the same states (b = padded batch, s = support width)."""

    features: Features
    support_rows: NDArray[np.int64]
    """(b, s): item rows, -1 for padding and for items that the bundle does not know."""
    known: NDArray[np.bool_]
    """(b, s): the event counts in adaptation."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How one bundle sees states; `window` is the greatest support width of a batch."""

    manifest: Manifest
    catalog: Catalog
    window: int
    kind_by_code: NDArray[np.int64]
    kind_by_escape: Callable[[bytes], int]
    profile_columns: Callable[[bytes], list[int]]


def encoding_for(manifest: Manifest, catalog: Catalog, *, window: int) -> Encoding:
    """Prepare the lookups of a bundle."""

    def kind(event_type: str, value: float | None) -> int:
        found = manifest.kinds.kind(event_type, value)
        return _UNKNOWN if found is None else found

    table = np.full(256, _UNKNOWN, dtype=np.int64)
    for code, event_type, value in plain_actions():
        table[code] = kind(event_type, value)
    return Encoding(
        manifest,
        catalog,
        window,
        table,
        lru_cache(_CACHED)(lambda entry: kind(*next(actions(bytes((ESCAPE,)), entry)))),
        lru_cache(_CACHED)(lambda features: manifest.user_columns(orjson.loads(features))),
    )


def support_width(events: int, window: int) -> int:
    """The width at which a user with so many events is adapted: what is not filled is computed all the same.

    It is told by the user's own state. Sums may be taken in another order at another width, and a list must not depend,
    not even in its last bit, on who shares the batch.
    """
    width = NARROWEST
    while width < events:
        width *= 2
    return min(width, window)


def encode_batch(encoding: Encoding, states: Sequence[UserState], now_ms: Sequence[int]) -> Batch:
    """Encode users with the moments for which their lists are wanted; `now_ms` is never before a support event.

    The batch is as wide as the user with the most events needs. Every window must fit into `encoding.window`.
    """
    size = -(-len(states) // BLOCK) * BLOCK
    sizes = np.zeros(size, dtype=np.int64)
    sizes[: len(states)] = [len(state.codes) for state in states]
    width = support_width(int(sizes.max(initial=0)), encoding.window)
    inside = np.arange(width) < sizes[:, None]
    rows = np.full((size, width), -1, dtype=np.int64)
    rows[inside] = _item_rows(encoding, states)
    kinds = np.zeros((size, width), dtype=np.int64)
    kinds[inside] = _kinds(encoding, states)
    known = (rows >= 0) & (kinds >= 0) & inside
    moments = np.zeros(size, dtype=np.int64)
    moments[: len(states)] = now_ms
    prior_times = np.array(encoding.manifest.prior_times, dtype=np.int64)
    features = {
        "support_items": np.maximum(rows, 0),
        "support_mask": known.astype(np.float32),
        "support_kind": np.where(known, kinds, 0),
        "support_age": (_ages_ms(states, moments, sizes, inside) / DAY_MS).astype(np.float32),
        "user_features": _user_features(encoding, states, size),
        "time_index": np.maximum(np.searchsorted(prior_times, moments, side="right") - 1, 0),
    }
    return Batch(features, rows, known)


def _item_rows(encoding: Encoding, states: Sequence[UserState]) -> NDArray[np.int64]:
    items = b"".join([state.items for state in states]).split(END)
    items.pop()
    return np.fromiter(map(encoding.catalog.rows.get, items, repeat(-1)), dtype=np.int64, count=len(items))


def _kinds(encoding: Encoding, states: Sequence[UserState]) -> NDArray[np.int64]:
    codes = np.frombuffer(b"".join([state.codes for state in states]), dtype=np.uint8)
    kinds = encoding.kind_by_code[codes]
    escapes = b"".join([state.escapes for state in states]).split(END)
    escapes.pop()
    kinds[codes == ESCAPE] = [encoding.kind_by_escape(entry) for entry in escapes]
    return kinds


def _ages_ms(
    states: Sequence[UserState], moments: NDArray[np.int64], sizes: NDArray[np.int64], inside: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Milliseconds (b, s) from each event to now: the sum of the gaps after it."""
    until_next = np.zeros(inside.shape, dtype=np.int64)
    before_last = np.arange(inside.shape[1]) < sizes[:, None] - 1
    until_next[before_last] = unpack_varints(b"".join([state.gaps for state in states]))
    with_events = np.flatnonzero(sizes)
    newest = np.array([state.last_ms for state in states], dtype=np.int64)
    until_next[with_events, sizes[with_events] - 1] = moments[with_events] - newest[with_events]
    return until_next[:, ::-1].cumsum(axis=1)[:, ::-1] * inside


def _user_features(encoding: Encoding, states: Sequence[UserState], size: int) -> NDArray[np.float32]:
    features = np.zeros((size, encoding.manifest.n_user_features), dtype=np.float32)
    for user, state in enumerate(states):
        if state.features:
            features[user, encoding.profile_columns(state.features)] = 1
    return features
