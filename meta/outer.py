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
from meta.inner import Adapted, Tensors, adapt, as_support, start_without_events
from meta.model import Initialization
from meta.sampling import Columns, Proposal, sampled_catalog, whole_catalog


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
        return _moved(batch, adapted, theta) + query_loss(reached, items, batch, config)
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


def _moved(batch: Batch, adapted: Adapted, theta: Tensors) -> Tensor:
    """A term whose gradient at the start is start minus adapted vector, mean over the tasks: Reptile's outer update as
    a gradient, so that an optimizer can take it (arXiv:1803.02999, section 2)."""
    start = start_without_events(as_support(batch.tasks.supports, at=batch.prior.device), theta)
    return ((start - adapted.user_vector.detach()) ** 2).sum() / (2 * len(start))


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
