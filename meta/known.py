"""What is known of the training data before anything is learned from it: where the learned numbers start."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from meta.config import TrainingConfig
from meta.content import content_matrix
from meta.dataset import RATING_TYPE, Dataset
from meta.encodings import NEGATIVE_TYPES
from meta.factors import rating_factors
from meta.prior import popularity
from meta.rating_protocol import kind_ratings, rated_only
from meta.sampling import Proposal, Sample, proposal
from schemas import EventKinds

_NO = -0.5
"""Weight of an event that says no, beside 1 for one that says yes: it says what is not wanted, not what is."""
_UNRATED = 0.1
"""Weight of an event without a rating, beside 1 for one with, where ratings are learned."""
_SHRINKAGE = 5.0
"""Ratings at the mean that each item is given before its own."""


class Known(NamedTuple):
    """What is known of the data before anything is learned."""

    content: Tensor
    """(n_items, n_columns) float32"""
    n_user_features: int
    kind_weights: Tensor
    """(n_kinds,) where the events' weights start, negative for a kind that says no"""
    kind_ratings: Tensor | None = None
    """(n_kinds,) the rating that a kind stands for, None for ranking"""
    item_biases: Tensor | None = None
    """(n_items,) where the items' biases start, zeros without"""
    item_vectors: Tensor | None = None
    """(n_items, d) where the free parts of the item vectors start, near 0 without"""
    shrinkage: float = 5.0
    """where the inner loop's kappa starts"""
    mean_rating: float = 0.0
    sample: Sample | None = None


def known_of(
    dataset: Dataset, learning: Dataset, config: TrainingConfig, *, rng: np.random.Generator
) -> tuple[Known, Proposal]:
    """Of the catalog of `dataset` and the events of the training users, `learning`; and what to sample items from.

    Raises DataError where ratings are to be learned and there are none.
    """
    items = proposal(popularity(learning))
    sample = None
    if dataset.n_items > config.exact_inner_items and not config.objective.rating:
        sample = items.draw(config.sampled_items, rng)
    known = Known(
        content=torch.from_numpy(content_matrix(dataset.items)),
        n_user_features=dataset.user_matrix.shape[1],
        kind_weights=_kind_weights(dataset.kinds, config),
        sample=sample,
    )
    return (_with_ratings(known, learning, config, rng) if config.objective.rating else known), items


def _kind_weights(kinds: EventKinds, config: TrainingConfig) -> Tensor:
    """By kind (n_kinds,): what is configured for its type, else 1, or less and negative where the type says no."""
    weights = [config.kind_weights.get(name, _NO if name in NEGATIVE_TYPES else 1.0) for name in kinds.types]
    for name, cuts in kinds.edges.items():
        of_type = config.kind_weights.get(name, _NO if name in NEGATIVE_TYPES else 1.0)
        low = -np.inf if config.low_rating is None or name != RATING_TYPE else config.low_rating
        weights += [_NO * of_type if above <= low else of_type for above in (*cuts, np.inf)]
    return torch.tensor(weights)


def _with_ratings(known: Known, learning: Dataset, config: TrainingConfig, rng: np.random.Generator) -> Known:
    rated = rated_only(learning)
    of_kind, mean = kind_ratings(learning), float(rated.rating.mean())
    counts = np.bincount(rated.item, minlength=rated.n_items)
    above = np.bincount(rated.item, weights=rated.rating - mean, minlength=rated.n_items)
    biases = above / (counts + _SHRINKAGE)
    factors = rating_factors(rated, rated.rating - mean - biases[rated.item], d=config.d, rng=rng)
    unrated = torch.from_numpy(np.isnan(of_kind))
    return known._replace(
        kind_weights=torch.where(unrated, _UNRATED * known.kind_weights.abs(), known.kind_weights),
        kind_ratings=torch.from_numpy(np.where(np.isnan(of_kind), mean, of_kind)).float(),
        item_biases=torch.from_numpy(biases).float(),
        item_vectors=torch.from_numpy(factors.item_vectors).float(),
        shrinkage=factors.shrinkage,
        mean_rating=mean,
    )
