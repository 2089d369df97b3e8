"""Which support events speak for an item: exact shares of its score, from the adapter's support vectors."""

import numpy as np
from numpy.typing import NDArray


def reasons_for(
    item_vectors: NDArray[np.float32],
    support_vectors: NDArray[np.float32],
    *,
    support_items: NDArray[np.int64],
    known: NDArray[np.bool_],
    most: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The `most` largest positive contributions to each listed item.

    `item_vectors` (b, n, d) of the listed items, `support_vectors` (b, s, d) of the events, whose items are the rows
    `support_items` (b, s), `known` (b, s) where the event counts. Event s adds item_vectors[i] . support_vectors[s] to
    the score of item i; events on one item are summed. Gives item rows (b, n, most), -1 where there is no further
    positive one, and contributions (b, n, most), largest first; of equal ones the older event's comes first.
    """
    merged, first = _merge_items(support_vectors, support_items, known)
    contributions = np.matmul(item_vectors, merged.transpose(0, 2, 1))
    np.copyto(contributions, 0, where=~(first[:, None, :] & np.isfinite(contributions)))
    users, n, events = contributions.shape
    flat, lines = contributions.reshape(users * n, events), np.arange(users * n)
    owners = lines // n
    rows = np.full((users * n, most), -1, dtype=np.int64)
    values = np.zeros((users * n, most), dtype=np.float32)
    for rank in range(min(most, events)):
        at = flat.argmax(axis=1)
        values[:, rank] = flat[lines, at]
        rows[:, rank] = np.where(values[:, rank] > 0, support_items[owners, at], -1)
        flat[lines, at] = 0
    return rows.reshape(users, n, most), values.reshape(users, n, most)


def _merge_items(
    vectors: NDArray[np.float32], items: NDArray[np.int64], known: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Sum the vectors (b, s, d) of events on one item into its first event; `first` (b, s) marks those."""
    # Most users repeat nothing, and a sort finds that out in a fraction of the time of comparing all pairs.
    distinct = np.where(known, items, -1 - np.arange(items.shape[1]))
    distinct.sort(axis=1)
    repeating = np.flatnonzero((distinct[:, 1:] == distinct[:, :-1]).any(axis=1))
    if not len(repeating):
        return vectors, known
    some, counts = items[repeating], known[repeating]
    same = (some[:, :, None] == some[:, None, :]) & counts[:, :, None] & counts[:, None, :]
    merged, first = vectors.copy(), known.copy()
    merged[repeating] = np.matmul(same.astype(np.float32), vectors[repeating])
    first[repeating] &= same.argmax(axis=2) == np.arange(items.shape[1])
    return merged, first
