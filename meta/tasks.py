"""Tasks whose learner is an item: given the first few users who had it, who comes next.

The same outer and inner loop learns them, from a data set in which users and items have changed places: an item has a
history of users, content in the place of a user's features, and the users' features in that of an item's attributes.
"""

from dataclasses import replace

import numpy as np

from meta.content import content_matrix
from meta.dataset import Dataset
from schemas import Item


def item_tasks(dataset: Dataset) -> Dataset:
    """The same events sorted by (item, time): "users" are the items, those without events too, "items" are the users.

    It is for training and measuring; encodings of the new features are not written down, so a bundle cannot be made.
    """
    order = np.lexsort((dataset.time_ms, dataset.item))
    counts = np.bincount(dataset.item, minlength=dataset.n_items)
    return replace(
        dataset,
        item=dataset.user[order],
        kind=dataset.kind[order],
        time_ms=dataset.time_ms[order],
        rating=dataset.rating[order],
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        user_ids=dataset.item_ids,
        item_ids=list(dataset.user_ids),
        items=[_as_item(name, row) for name, row in zip(dataset.user_ids, dataset.user_matrix, strict=True)],
        user_features=[],
        user_matrix=content_matrix(dataset.items),
    )


def _as_item(user_id: str, features: np.ndarray) -> Item:
    return Item(item_id=user_id, categories=[f"feature {column}" for column in np.flatnonzero(features)])
