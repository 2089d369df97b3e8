"""Starts a training from the parameters of an earlier one, over another catalog."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from meta.content import content_matrix
from meta.inner import Tensors
from meta.model import Initialization
from schemas import Item

_BY_ITEM = ("free_vectors", "free_keys", "bias")
"""Parameters with a row per item."""
_BY_ATTRIBUTE = ("content_vectors", "content_keys")
"""Parameters with a row per attribute; attributes are those that tell something in a catalog."""
_RIDGE = 1.0


class MisfitError(Exception):
    """The earlier parameters mean something else in this model, or have other shapes or names: start from scratch."""


def take_up(model: Initialization, parameters: Tensors, *, old_items: Sequence[Item], new_ids: Sequence[str]) -> None:
    """Set the model's parameters to those of an earlier training with items `old_items`.

    What attributes there are changes with the catalog, so their weights are fitted anew to the old item vectors (ridge
    regression), and each old item keeps the rest of its vector as its free part: its vector is what it was. A new item
    starts where its attributes put it, a withdrawn one is gone. Raises MisfitError, before anything is set; so for what
    cannot be carried over: coordinates of a user that stand for attributes, and vectors on top of factors of ratings.
    """
    _require_portable(model)
    content = torch.from_numpy(content_matrix(old_items))
    _require_fit(model, parameters, content.shape)
    position = {item.item_id: row for row, item in enumerate(old_items)}
    pairs = [(row, position[item_id]) for row, item_id in enumerate(new_ids) if item_id in position]
    rows, old_rows = (torch.tensor([pair[side] for pair in pairs], dtype=torch.int64) for side in (0, 1))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name not in _BY_ITEM and name not in _BY_ATTRIBUTE:
                parameter.copy_(parameters[name])
        model.bias.zero_()
        model.bias[rows] = parameters["bias"][old_rows]
        for free, weights, of in (
            (model.free_vectors, model.content_vectors, "vectors"),
            (model.free_keys, model.content_keys, "keys"),
        ):
            old = (parameters[f"free_{of}"] + content @ parameters[f"content_{of}"])[old_rows]
            weights.copy_(_ridge(model.content[rows], old))
            free.zero_()
            free[rows] = old - model.content[rows] @ weights


def _require_portable(model: Initialization) -> None:
    # As many attributes may be others than before, and no shape would tell.
    if model.traits.adapts_content:
        raise MisfitError("this algorithm adapts a coordinate per attribute, and attributes change with the catalog")
    if model.rating:
        raise MisfitError(
            "vectors of ratings are learned on top of factors, and those are of each window's own ratings"
        )


def _require_fit(model: Initialization, parameters: Tensors, content: torch.Size) -> None:
    for name, parameter in model.named_parameters():
        old = parameters.get(name)
        wanted = tuple(parameter.shape)
        if name in _BY_ITEM + _BY_ATTRIBUTE:
            wanted = (content[0] if name in _BY_ITEM else content[1], *wanted[1:])
        if old is None or tuple(old.shape) != wanted:
            raise MisfitError(f"{name} is {None if old is None else tuple(old.shape)}, not {wanted}")


def _ridge(features: Tensor, wanted: Tensor) -> Tensor:
    """Weights (n_columns, d) with features @ weights near wanted (n, d)."""
    x, y = features.double().numpy(), wanted.double().numpy()
    weights = np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ y)
    return torch.from_numpy(weights).to(wanted.dtype)
