"""Prequential measures: what the served bundle would have shown a user just before what the user then chose.

Test, then learn (Dawid, J. R. Statist. Soc. A 147, 1984; for streams Gama et al., Machine Learning 90, 2013). Only a
share of the users is measured, always the same ones, and per event they cost about what two lists do.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from schemas import Role
from stream.core.adapter import Adapter, Floats
from stream.core.codec import decode_row
from stream.core.decode import Forget, Profile, decode
from stream.core.events import Event
from stream.core.features import Encoding, encode_batch
from stream.core.fold import Origin, UserKey, Wanted
from stream.core.lists import MOST_USERS, hide
from stream.core.records import ReadRow, Record
from stream.core.state import EMPTY, Change, UserState, apply_event, apply_profile, shrink
from stream.settings import Settings

CUTOFF = 10
_MOST_CELLS = 4_000_000
"""Scores at a time: users times items, which all are looked at here."""
NEGATIVE_TYPES = frozenset({"dislike", "skip"})
"""Types that say no: the user did not choose the item."""


class Choice(NamedTuple):
    """An item that a user chose, and the state before; `item` is UTF-8."""

    user: UserKey
    before: UserState
    item: bytes
    time_ms: int


class Observation(NamedTuple):
    """How one bundle foresaw a choice. Losses are -log softmax of the item's score over the whole catalog."""

    user: UserKey
    time_ms: int
    rank: int
    """Among all that a list could hold, from 1 on."""
    start_loss: float
    """Of the initialization, which knows the profile alone."""
    loss: float
    """After adaptation to the user's events before this one."""


def choices(records: Sequence[Record], read_row: ReadRow, *, settings: Settings) -> list[Choice]:
    """What users chose: events of a type that is not negative, applied for the first time. `records` are all of a poll
    that bear the key of one of these users.

    A record whose value names another user than its key does not count, as the sample is drawn by key.
    """
    states: dict[UserKey, UserState] = {}
    found = []
    for record in records:
        if record.role is Role.REQUESTS:
            continue
        decoded = decode(record, settings.limits)
        if not isinstance(decoded, Event | Profile | Forget) or decoded.key != record.key:
            continue
        user = record.partition, decoded.key
        if user not in states:
            row = read_row(*user)
            states[user] = EMPTY if row is None else shrink(decode_row(row, decoded.key), settings.state)
        before = states[user]
        if isinstance(decoded, Event):
            states[user], change = apply_event(before, decoded, record.offset, settings.state)
            if change in (Change.APPLIED, Change.LATE) and decoded.event_type not in NEGATIVE_TYPES:
                found.append(Choice(user, before, decoded.item_id.encode(), decoded.timestamp_ms))
        elif isinstance(decoded, Profile):
            states[user], _ = apply_profile(before, orjson.dumps(decoded.features), record.offset)
        else:
            states[user] = EMPTY
    return found


def observe(made: Sequence[Choice], adapter: Adapter, encoding: Encoding) -> list[Observation]:
    """Measure one bundle on choices; those of items that it does not know or would not list then are left out.

    Left out are also repetitions: a list never holds what the user has had.
    """
    known = [one for one in made if one.item in adapter.catalog.rows]
    found: list[Observation] = []
    most = max(1, min(MOST_USERS, _MOST_CELLS // len(adapter.catalog)))
    for start in range(0, len(known), most):
        found += _observe_chunk(known[start : start + most], adapter, encoding)
    return found


def _observe_chunk(made: Sequence[Choice], adapter: Adapter, encoding: Encoding) -> list[Observation]:
    nows = [max(one.before.last_ms, one.time_ms) for one in made]
    batch = encode_batch(encoding, [one.before for one in made], nows)
    features, time_index = batch.features, batch.features["time_index"].astype(np.int64, copy=False)
    nothing = {name: np.zeros_like(feature) for name, feature in features.items() if name.startswith("support_")}
    targets = np.array([adapter.catalog.rows[one.item] for one in made], dtype=np.int64)
    # All in one go: of a large catalog it costs about the same for a few users as for one.
    vectors = [adapter.adapt(given)[0][: len(made)] for given in ({**features, **nothing}, features)]
    start, scores = np.split(adapter.score(np.concatenate(vectors), np.tile(time_index[: len(made)], 2)), 2)
    start_losses, losses = _losses(start, targets), _losses(scores, targets)
    wanted = [
        Wanted(one.user, one.before, CUTOFF, None, now, Origin("", one.user[0], 0, now))
        for one, now in zip(made, nows, strict=True)
    ]
    hide(scores, wanted, support_rows=batch.support_rows[: len(made)], catalog=adapter.catalog)
    own = scores[np.arange(len(made)), targets]
    # As in a list, the lower row wins a tie.
    tied = (scores == own[:, None]) & (np.arange(scores.shape[1]) < targets[:, None])
    ranks = 1 + (scores > own[:, None]).sum(axis=1) + tied.sum(axis=1)
    listed = np.isfinite(own) & np.isfinite(losses) & np.isfinite(start_losses)
    return [
        Observation(one.user, one.time_ms, int(ranks[at]), float(start_losses[at]), float(losses[at]))
        for at, one in enumerate(made)
        if listed[at]
    ]


def _losses(scores: Floats, targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """-log softmax (b,) of the targets (b,) over scores (b, n_items)."""
    top = scores.max(axis=1, keepdims=True)
    total = np.exp(scores - top).sum(axis=1, dtype=np.float64)
    losses: NDArray[np.float64] = np.log(total) + top[:, 0] - scores[np.arange(len(targets)), targets]
    return losses
