"""Items that no training event is about: where a list places them until there are some.

Training cannot tell them from items that nobody wanted, and pushes their free parts away. So they are served with what
is usual for items of their attributes: a regression of the learned vectors and priors on the content. As a group they
keep the mean prior that training gave them: that nobody took to any of them yet is known as well.
"""

import numpy as np
import torch
from torch import Tensor

from meta.content import attribute_map, with_ones
from meta.inner import Tensors


def place_unseen(items: Tensors, content: Tensor, seen: np.ndarray, *, d: int) -> Tensors:
    """The served tensors with the rows of the items that are not `seen` (n_items,) bool regressed on `content`.

    Of the item vectors the first d columns are; behind them stands the content itself.
    """
    known, unknown = torch.from_numpy(seen), torch.from_numpy(~seen)
    if not unknown.any() or not known.any():
        return items
    of_known, of_unknown = content.numpy()[seen], with_ones(content.numpy()[~seen])
    placed = dict(items)
    # One table at a time, and as float64 the known rows only: a prior at many times is what takes the memory.
    for name, of_item in (("item_vectors", True), ("item_keys", True), ("prior", False)):
        if name not in items:
            continue
        table = items[name].clone() if of_item else items[name].T.clone()
        part = table[:, :d] if of_item else table
        usual = torch.from_numpy(of_unknown @ attribute_map(of_known, part[known].numpy()))
        if not of_item:
            usual += (part[unknown].double() - usual).mean(0)
        part[unknown] = usual.to(part.dtype)
        placed[name] = table if of_item else table.T.contiguous()
    return placed
