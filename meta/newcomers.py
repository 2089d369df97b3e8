"""Lets a worker score items that came after the training: a map from their attributes to what the training learned.

The map is a regression of each item tensor on the items' attributes, so it holds whatever the tensors are made of.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from meta.content import attribute_map, content_matrix
from meta.dataset import Dataset
from meta.prior import popularity
from schemas import ContentEncoding

NEWCOMERS_FILE = "newcomers.safetensors"
_RARE_SHARE = 0.1
"""A new item is given the prior that this share of the items has, those with the fewest events, on average."""


def newcomers(items: Mapping[str, Tensor], dataset: Dataset, content: ContentEncoding) -> dict[str, Tensor]:
    """`content_to_<name>` (n_columns + 1, width) for each tensor with a row per item, and `new_item_prior` (T,).

    The last row of a map is what an item without attributes is given.
    """
    n_items = dataset.n_items
    matrix = content_matrix(dataset.items, content)
    maps = {
        f"content_to_{name}": _float32(attribute_map(matrix, tensor.numpy()))
        for name, tensor in items.items()
        if name != "prior" and not name.startswith("sample_") and len(tensor) == n_items
    }
    rare = np.argsort(popularity(dataset), kind="stable")[: max(1, round(_RARE_SHARE * n_items))]
    return maps | {"new_item_prior": _float32(items["prior"].numpy()[:, rare].mean(axis=1))}


def _float32(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
