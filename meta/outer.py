"""One step of the outer loop: from a batch of tasks to the loss whose gradient moves the parameters."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from meta import losses
from meta.algorithms import Algorithm
from meta.config import RankingLoss, RatingLoss, TrainingConfig
from meta.episodes import Episodes
from meta.inner import Adapted, Support, Tensors, adapt, as_support, start_without_events
from meta.model import Initialization
from meta.sampling import Columns, Proposal, sampled_catalog, whole_catalog

_MINIBATCHES, _MINIBATCH = 3, 10
"""Steps of Reptile's outer update, and query items of each"""


class Batch(NamedTuple):
    """b tasks, the m items over which their loss is taken, and the prior where it is needed."""

    tasks: Episodes
    columns: Columns
    prior: Tensor
    """(b, m) of the columns"""
    inner_prior: Tensor
    """(b, rows) as `meta.inner.adapt` takes it"""


def columns_of(tasks: Episodes, config: TrainingConfig, items: Proposal, rng: np.random.Generator) -> Columns:
    """The items over which the loss of these tasks is taken: all of a catalog that is small enough, else a sample."""
    if config.objective.rating:
        return sampled_catalog(tasks.targets, tasks.hidden, items.draw(0, rng))
    if config.ranking_loss is RankingLoss.BCE or config.algorithm in (Algorithm.SIAMESE, Algorithm.TRIPLET):
        return sampled_catalog(tasks.targets, tasks.hidden, items.draw(config.negatives, rng))
    if tasks.targets.shape[1] > config.exact_items:
        return sampled_catalog(tasks.targets, tasks.hidden, items.draw(config.sampled_items, rng))
    return whole_catalog(tasks.targets, tasks.hidden)


def outer_loss(model: Initialization, batch: Batch, config: TrainingConfig) -> Tensor:
    """The loss of a batch under the configured algorithm and objective."""
    theta, items = model.theta(), model.items()
    adapted = _adapt(batch, theta, items, model, dropout=config.dropout)
    if config.algorithm is Algorithm.REPTILE:
        reached = _dropped(adapted.user_vector.detach(), model, config.dropout)
        return _moved(batch, theta, items) + query_loss(reached, items, batch, config)
    if model.traits.encoder:
        # The contrastive loss shapes the embeddings and the likelihood what makes scores of them: scale and prior.
        fixed = {name: tensor.detach() for name, tensor in items.items()}
        scaled = _adapt(batch, theta, fixed, model, dropout=config.dropout).user_vector
        return _contrastive(adapted.user_vector, items, batch, config) + query_loss(scaled, fixed, batch, config)
    return query_loss(_dropped(adapted.user_vector, model, config.dropout), items, batch, config)


def query_loss(users: Tensor, items: Tensors, batch: Batch, config: TrainingConfig) -> Tensor:
    """The loss of the query sets for adapted user vectors (b, width)."""
    rows, columns = batch.columns.rows, batch.columns
    vectors = items["item_vectors"] if rows is None else items["item_vectors"][rows]
    scores = users @ vectors.T + batch.prior
    if batch.tasks.ratings is not None:
        ratings = torch.from_numpy(batch.tasks.ratings).to(users.device)
        of_columns = ratings if rows is None else ratings[:, rows]
        squared = config.rating_loss is RatingLoss.SQUARED
        return losses.rating_loss(scores, of_columns, columns.targets, squared=squared)
    if config.ranking_loss is RankingLoss.BCE:
        return losses.bce_loss(scores, columns)
    return losses.softmax_loss(scores, columns, apart_share=config.apart_share)


def _adapt(batch: Batch, theta: Tensors, items: Tensors, model: Initialization, *, dropout: float) -> Adapted:
    return adapt(
        as_support(batch.tasks.supports, at=batch.prior.device),
        batch.inner_prior,
        theta=theta,
        items=items,
        first_order=model.traits.first_order,
        dropout=dropout,
    )


def _moved(batch: Batch, theta: Tensors, items: Tensors) -> Tensor:
    """A term whose gradient at the start is start minus reached vector, mean over the query items: Reptile's outer
    update as a gradient, so that an optimizer can take it (arXiv:1803.02999, section 2).

    Reached by one step on each of a few minibatches of the query set, not of the support set: histories begin with
    other items than they go on with, and no query gradient sets that right here, as it does in MAML.
    """
    start = start_without_events(as_support(batch.tasks.supports, at=batch.prior.device), theta)
    rows = items["sample_vectors"] if "sample_vectors" in items else items["item_vectors"]
    rule = {name: tensor for name, tensor in theta.items() if name != "user_weights"}
    rule |= {"start": torch.zeros_like(theta["start"]), "step_sizes": theta["step_sizes"][:1]}
    reached = start.detach()
    with torch.no_grad():
        for _ in range(_MINIBATCHES if len(rule["step_sizes"]) else 0):
            # A step from a vector is one from 0 under the scores that the vector gives.
            scores = batch.inner_prior + reached @ rows.T
            reached = reached + adapt(_minibatch(batch, rule), scores, theta=rule, items=items).user_vector
    weight = torch.from_numpy(batch.tasks.targets.sum(axis=1, keepdims=True)).to(start)
    return (weight * (start - reached) ** 2).sum() / (2 * weight.sum().clamp(min=1.0))


def _minibatch(batch: Batch, theta: Tensors) -> Support:
    """A few query items of each task as if they were a support set, drawn anew each time."""
    wanted = torch.from_numpy(batch.tasks.targets).to(batch.prior.device)
    drawn = (torch.rand(wanted.shape, device=wanted.device) * wanted).topk(min(_MINIBATCH, wanted.shape[1]), dim=1)
    if batch.tasks.ratings is None:  # a query item is a right answer, whatever kind of event it was
        kind = theta["kind_weights"][:, 0].argmax().expand(drawn.indices.shape)
    else:
        ratings = torch.from_numpy(batch.tasks.ratings).to(wanted.device).gather(1, drawn.indices)
        kind = (ratings[..., None] - theta["kind_ratings"][:, 0]).abs().argmin(2)
    return Support(drawn.indices, (drawn.values > 0).to(batch.prior.dtype), kind, None)


def _contrastive(users: Tensor, items: Tensors, batch: Batch, config: TrainingConfig) -> Tensor:
    """On squared distances between unit vectors, 2 - 2 cos; users without events have none and teach nothing."""
    vectors = items["item_vectors"]
    if batch.columns.rows is not None:
        vectors = vectors[batch.columns.rows]
    distances = 2.0 - 2.0 * functional.normalize(users, dim=1) @ vectors.T
    known = torch.from_numpy(batch.tasks.supports.support_mask.any(axis=1, keepdims=True)).to(users.device)
    columns = batch.columns._replace(targets=batch.columns.targets & known)
    if config.algorithm is Algorithm.TRIPLET:
        return losses.triplet_loss(distances, columns, margin=config.margin)
    return losses.siamese_loss(distances, columns, margin=config.margin)


def _dropped(users: Tensor, model: Initialization, dropout: float) -> Tensor:
    """Dropout on the user vectors, but for a user's bias: without it nothing of a rating is left to learn from."""
    if not model.rating:
        return functional.dropout(users, dropout)
    return torch.cat([functional.dropout(users[:, :-1], dropout), users[:, -1:]], 1)
