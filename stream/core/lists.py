"""Makes recommendation lists for states: adapts, scores, hides, ranks and explains, a chunk of users at a time."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain
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
    for indexes, some, ran in zip(chunks, groups, _run_ahead(groups, adapter, encoding), strict=True):
        best = rank(adapter, ran, some)
        made = _write(some, ran, best, adapter, reasons=reasons, generated_at=generated_at)
        non_finite += int(np.logical_not(best.finite).sum())
        for index, one_list in zip(indexes, made, strict=True):
            lists[index] = one_list
    return lists, non_finite


class _Ran(NamedTuple):
    """What the graphs gave for a batch of users: their support vectors (b, s, d), and the catalog to score for them."""

    batch: Batch
    support_vectors: Floats
    blocks: Iterable[Block]


def _chunks(wanted: Sequence[Wanted], window: int) -> list[list[int]]:
    """Indexes of lists of one length and support width each, as many as one graph run takes."""
    widths = [support_width(events, window) for events in range(window + 1)]
    alike: dict[tuple[int, int], list[int]] = {}
    for index, one in enumerate(wanted):
        alike.setdefault((one.n, widths[len(one.state.codes)]), []).append(index)
    return [indexes[at : at + MOST_USERS] for indexes in alike.values() for at in range(0, len(indexes), MOST_USERS)]


def _run_ahead(chunks: Sequence[Sequence[Wanted]], adapter: Adapter, encoding: Encoding) -> Iterator[_Ran]:
    """Run the graphs for each chunk in a thread; while the caller makes lists of one, the next is in the graphs.

    The graphs hold no lock of the interpreter, and all else holds it nearly always: two cores are busy as long as the
    thread does nothing but run graphs, of which one more is always asked for.
    """
    batches = (encode_batch(encoding, [one.state for one in chunk], [one.now_ms for one in chunk]) for chunk in chunks)
    if len(chunks) < 2:  # a thread would cost more than it gains
        yield from (run_graphs(adapter, batch, users=len(chunk)) for batch, chunk in zip(batches, chunks, strict=True))
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="graphs") as graphs:
        asked: deque[Future[_Ran]] = deque()
        for batch, chunk in zip(batches, chunks, strict=True):
            asked.append(graphs.submit(run_graphs, adapter, batch, users=len(chunk)))
            if len(asked) > 2:
                yield asked.popleft().result()
        while asked:
            yield asked.popleft().result()


def run_graphs(adapter: Adapter, batch: Batch, *, users: int) -> _Ran:
    """Adapt a batch and score the first block of the catalog, which is wanted for every list of it."""
    user_vectors, support_vectors = adapter.adapt(batch.features)
    return _Ran(batch, support_vectors[:users], _scored(adapter, user_vectors[:users], batch))


def _scored(adapter: Adapter, user_vectors: Floats, batch: Batch) -> Iterable[Block]:
    users = len(user_vectors)  # the batch is padded, and nobody waits for the lists of those behind
    time_index = batch.features["time_index"][:users].astype(np.int64, copy=False)
    blocks = iter(adapter.score_blocks(user_vectors, time_index))
    first = next(blocks)
    scores = first.score(np.arange(users))
    return chain([first._replace(score=lambda some: scores if len(some) == users else scores[some])], blocks)


def _write(
    wanted: Sequence[Wanted], ran: _Ran, best: Best, adapter: Adapter, *, reasons: int, generated_at: str
) -> list[bytes]:
    """Explain and render the lists of one chunk."""
    users, catalog = len(wanted), adapter.catalog
    rows, scores, finite = best
    reason_rows, contributions = reasons_for(
        catalog.vectors[np.maximum(rows, 0)],
        ran.support_vectors,
        support_items=ran.batch.support_rows[:users],
        known=ran.batch.known[:users] & finite[:, None],
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


def rank(adapter: Adapter, ran: _Ran, wanted: Sequence[Wanted]) -> Best:
    """Hide, and pick the best items of all lists of one chunk.

    Users whose result was not finite get the items of the initialization, which was when the bundle was loaded.
    """
    users, batch = len(wanted), ran.batch
    hidden = _hidden(wanted, support_rows=batch.support_rows[:users], catalog=adapter.catalog)
    n = min(wanted[0].n, len(adapter.catalog))
    found = best_rows(_hiding(ran.blocks, adapter, *hidden), n)
    if not found.finite.all():
        start = {name: np.zeros_like(feature) for name, feature in batch.features.items()}
        again = _scored(adapter, adapter.adapt(start)[0][:users], batch)
        replaced, broken = best_rows(_hiding(again, adapter, *hidden), n), ~found.finite
        found.rows[broken], found.scores[broken] = replaced.rows[broken], replaced.scores[broken]
    return found


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
