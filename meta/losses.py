"""The outer losses, each per query item: every query item of a batch weighs the same.

A mean per user first would let users with one item dominate.
"""

import torch
from torch import Tensor
from torch.nn import functional

from meta.sampling import Columns

_NO_CANDIDATE = -1e9
"""Score of an excluded item; infinity would give NaN for a user who had the whole catalog."""

_TRIPLETS = 16


def softmax_loss(scores: Tensor, columns: Columns, *, apart_share: float) -> Tensor:
    """Negative log-likelihood: softmax over the catalog less what the user had before.

    In a share of the loss the user's other query items are left out of the softmax too: a list may hold them all.
    `scores` (b, m) of the items of `columns`.
    """
    wanted = columns.targets.to(scores.dtype)
    weighted = scores + columns.log_weights
    everything = torch.logsumexp(weighted.masked_fill(columns.excluded, _NO_CANDIDATE), dim=1)
    together = (wanted.sum(1) * everything).sum() - (wanted * scores).sum()
    absent = columns.excluded | columns.targets
    others = torch.logsumexp(weighted.masked_fill(absent, _NO_CANDIDATE), dim=1, keepdim=True)
    apart = (wanted * functional.softplus(others - scores)).sum()
    return torch.lerp(together, apart, apart_share) / wanted.sum().clamp(min=1.0)


def bce_loss(scores: Tensor, columns: Columns) -> Tensor:
    """Binary cross-entropy of the query items and of as many negatives, in weight, among the sampled rest."""
    wanted = columns.targets.to(scores.dtype)
    others = (~columns.excluded & ~columns.targets).to(scores.dtype)
    said_no = (others * functional.softplus(scores)).sum(1) / others.sum(1).clamp(min=1.0)
    lost = (wanted * functional.softplus(-scores)).sum() + (wanted.sum(1) * said_no).sum()
    return lost / wanted.sum().clamp(min=1.0)


def siamese_loss(distances: Tensor, columns: Columns, *, margin: float) -> Tensor:
    """Contrastive loss on squared distances (b, m) between users and items: d for a wanted item, what is missing to the
    margin for another, both sides with equal weight.

    Source: Hadsell, Chopra and LeCun, Dimensionality reduction by learning an invariant mapping, CVPR 2006.
    """
    wanted = columns.targets.to(distances.dtype)
    others = (~columns.excluded & ~columns.targets).to(distances.dtype)
    pushed = (others * functional.relu(margin - distances)).sum(1) / others.sum(1).clamp(min=1.0)
    return ((wanted * distances).sum() + (wanted.sum(1) * pushed).sum()) / wanted.sum().clamp(min=1.0)


def triplet_loss(distances: Tensor, columns: Columns, *, margin: float) -> Tensor:
    """Hinge on squared distances (b, m): user to wanted item, plus margin, less user to another item; mean over
    triplets, of which each wanted item has at most 16, with the others in turn.

    Source: Schroff et al., FaceNet, CVPR 2015 (arXiv:1503.03832).
    """
    task, at = columns.targets.nonzero(as_tuple=True)
    others = ~columns.excluded & ~columns.targets
    # A column that is some task's query item is nobody's negative.
    used = others.any(0).nonzero()[:, 0]
    if not len(used) or not len(task):
        return distances.sum() * 0.0
    turn = torch.arange(len(task))[:, None] * _TRIPLETS + torch.arange(min(_TRIPLETS, len(used)))
    other = used[turn % len(used)]
    allowed = others[task[:, None], other]
    hinge = functional.relu(distances[task, at][:, None] + margin - distances[task[:, None], other]) * allowed
    return hinge.sum() / allowed.sum().clamp(min=1)


def rating_loss(predicted: Tensor, ratings: Tensor, targets: Tensor, *, squared: bool) -> Tensor:
    """Mean absolute or squared error, tensors (b, n_items); `ratings` count where `targets` are true."""
    wanted = targets.to(predicted.dtype)
    error = (predicted - ratings) ** 2 if squared else (predicted - ratings).abs()
    return (wanted * error).sum() / wanted.sum().clamp(min=1.0)
