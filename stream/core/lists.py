"""Makes recommendation lists for states: adapts, scores, hides, ranks and explains, a chunk of users at a time."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import orjson

from stream.core.adapter import Adapter, Block, Floats, Ints
from stream.core.catalog import Catalog, find_hashed, forbidden_rows, unpack_hashes
from stream.core.explain import reasons_for
from stream.core.features import Batch, Encoding, encode_batch, support_width
from stream.core.fold import Wanted
from stream.core.ranking import HIDDEN, Best, best_rows
from stream.core.render import render
from stream.core.state import ITEM_HASH_BYTES

MOST_BYTES = 900_000
"""Of one list: below what brokers take by default, with room for key and headers."""
MOST_USERS = 256
"""Users of one graph run: what it works on should stay in the cache of a core."""


def make_lists(
    wanted: Sequence[Wanted], adapter: Adapter, *, encoding: Encoding, reasons: int, generated_at: str
) -> tuple[list[bytes], int]:
    """The lists (schemas.Recommendation as JSON) in the order wanted, and how many users had a non-finite result.

    A list depends on its user's state, `now` and the request alone, to the last bit, and not on the other lists made:
    so lists of one length and support width are made together, in batches of whole blocks.
    """
    chunks = _chunks(wanted, encoding.window)
    lists = [b""] * len(wanted)
    non_finite = 0
    groups = [[wanted[index] for index in indexes] for indexes in chunks]
    computing = _computed_ahead(groups, adapter, encoding)
    for indexes, some, computed in zip(chunks, groups, computing, strict=True):
        made = _write(some, computed, adapter, reasons=reasons, generated_at=generated_at)
        non_finite += int(np.logical_not(computed.best.finite).sum())
        for index, one_list in zip(indexes, made, strict=True):
            lists[index] = one_list
    return lists, non_finite


class _Computed(NamedTuple):
    """What the graphs gave for a batch of users: the support vectors (b, s, d) and the items to list, b less padding.

    Users whose result was not finite have the items of the initialization, which was when the bundle was loaded.
    """

    batch: Batch
    support_vectors: Floats
    best: Best


def _chunks(wanted: Sequence[Wanted], window: int) -> list[list[int]]:
    """Indexes of lists of one length and support width each, as many as one graph run takes."""
    widths = [support_width(events, window) for events in range(window + 1)]
    alike: dict[tuple[int, int], list[int]] = {}
    for index, one in enumerate(wanted):
        alike.setdefault((one.n, widths[len(one.state.codes)]), []).append(index)
    return [indexes[at : at + MOST_USERS] for indexes in alike.values() for at in range(0, len(indexes), MOST_USERS)]


def _computed_ahead(chunks: Sequence[Sequence[Wanted]], adapter: Adapter, encoding: Encoding) -> Iterator[_Computed]:
    """Run the graphs for each chunk; while one is written by the caller, the next is computed in a thread.

    The graphs hold no lock of the interpreter, and writing holds it nearly always: two cores are busy then.
    """

    def compute(chunk: Sequence[Wanted]) -> _Computed:
        batch = encode_batch(encoding, [one.state for one in chunk], [one.now_ms for one in chunk])
        return rank(adapter, batch, chunk)

    if len(chunks) < 2:  # a thread would cost more than it gains
        yield from map(compute, chunks)
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="graphs") as ahead:
        # Two are asked for at a time: between them the thread need not wait for a caller who holds the interpreter.
        following = deque(ahead.submit(compute, chunk) for chunk in chunks[:2])
        for chunk in chunks[2:]:
            computed = following.popleft().result()
            following.append(ahead.submit(compute, chunk))
            yield computed
        while following:
            yield following.popleft().result()


def _write(
    wanted: Sequence[Wanted], computed: _Computed, adapter: Adapter, *, reasons: int, generated_at: str
) -> list[bytes]:
    """Explain and render the lists of one chunk."""
    users, catalog = len(wanted), adapter.catalog
    best = computed.best
    rows, scores, finite = best
    reason_rows, contributions = reasons_for(
        catalog.vectors[np.maximum(rows, 0)],
        computed.support_vectors[:users],
        support_items=computed.batch.support_rows[:users],
        known=computed.batch.known[:users] & finite[:, None],
        most=reasons,
    )
    lists = render(
        wanted,
        rows,
        scores=scores,
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


def rank(adapter: Adapter, batch: Batch, wanted: Sequence[Wanted]) -> _Computed:
    """Adapt, score, hide and pick the best items of all lists of one chunk."""
    user_vectors, support_vectors = adapter.adapt(batch.features)
    users = len(wanted)  # the batch is padded, and nobody waits for the lists of those behind
    time_index = batch.features["time_index"][:users].astype(np.int64, copy=False)
    hidden = _hidden(wanted, support_rows=batch.support_rows[:users], catalog=adapter.catalog)
    n = min(wanted[0].n, len(adapter.catalog))

    def best(vectors: Floats) -> Best:
        return best_rows(_hiding(adapter.score_blocks(vectors[:users], time_index), adapter, *hidden), n)

    found = best(user_vectors)
    if not found.finite.all():
        start = {name: np.zeros_like(feature) for name, feature in batch.features.items()}
        replaced, broken = best(adapter.adapt(start)[0]), ~found.finite
        found.rows[broken], found.scores[broken] = replaced.rows[broken], replaced.scores[broken]
    return _Computed(batch, support_vectors, found)


def _hidden(wanted: Sequence[Wanted], *, support_rows: Ints, catalog: Catalog) -> tuple[Ints, Ints]:
    """Users and rows (m,) of what a user has interacted with and what a filter forbids."""
    users, places = np.nonzero(support_rows >= 0)
    owners = np.repeat(np.arange(len(wanted)), [len(one.state.seen) // ITEM_HASH_BYTES for one in wanted])
    found, seen = find_hashed(catalog, unpack_hashes(b"".join([one.state.seen for one in wanted])))
    all_users, all_rows = [users, owners[found]], [support_rows[users, places], seen]
    for user, one in enumerate(wanted):
        if one.filters is not None:
            forbidden = forbidden_rows(catalog, one.filters)
            all_users.append(np.full(len(forbidden), user))
            all_rows.append(forbidden)
    return np.concatenate(all_users), np.concatenate(all_rows)


def hide(scores: Floats, wanted: Sequence[Wanted], *, support_rows: Ints, catalog: Catalog) -> None:
    """Hide, in `scores` (b, n_items), what a user has interacted with, what a filter forbids and what is withdrawn."""
    scores[_hidden(wanted, support_rows=support_rows, catalog=catalog)] = HIDDEN
    scores[:, catalog.withdrawn] = HIDDEN


class _Hidden(NamedTuple):
    """What is hidden, where it comes in the blocks put together: owners and places (m,) by place, withdrawn (k,)."""

    owners: Ints
    places: Ints
    withdrawn: Ints


def _hiding(blocks: Iterable[Block], adapter: Adapter, users: Ints, rows: Ints) -> Iterator[Block]:
    """The blocks, with HIDDEN for scores of what is hidden from a user, pair by pair, and of what is withdrawn."""
    places = adapter.places[rows]
    order = np.argsort(places)
    hidden = _Hidden(users[order], places[order], np.sort(adapter.places[adapter.catalog.withdrawn]))
    begin = 0
    for block in blocks:
        yield block._replace(score=partial(_hide, block, begin, hidden))
        begin += len(block.rows)


def _hide(block: Block, begin: int, hidden: _Hidden, users: Ints) -> Floats:
    """Scores (u, m) of the users (u,), ascending, for the block whose first place is `begin`."""
    scores, bounds = block.score(users), (begin, begin + len(block.rows))
    some = slice(*np.searchsorted(hidden.places, bounds))
    owners, columns = hidden.owners[some], hidden.places[some] - begin
    at = np.minimum(np.searchsorted(users, owners), len(users) - 1)
    asked = users[at] == owners
    scores[at[asked], columns[asked]] = HIDDEN
    scores[:, hidden.withdrawn[slice(*np.searchsorted(hidden.withdrawn, bounds))] - begin] = HIDDEN
    return scores
