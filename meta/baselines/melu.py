"""MeLU: a rating network on user and item content whose decision layers take local steps on the support set.

Source: Lee, Im, Jang, Cho and Chung, MeLU: Meta-Learned User Preference Estimator for Cold-Start Recommendation, KDD
2019. As there, embeddings belong to content alone (no item ids) and are learned globally; the fully connected layers
and the output are adapted by plain gradient steps on the squared error of the support ratings.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from meta.baselines.ratings import item_means
from meta.content import content_matrix
from meta.dataset import Dataset
from meta.rating_protocol import KS
from meta.scorer import Scorer
from meta.supports import Supports, windows

# The best of `meta.benchmark.choosing`.
EMBEDDING, HIDDEN = 32, 64
LOCAL_RATE, LOCAL_STEPS = 0.01, 5
RATE, EPOCHS, BATCH = 3e-3, 40, 32
QUERY = 20
"""Ratings of a training task that follow its support set"""
_SCORING_USERS = 64

Layers = list[Tensor]
"""Weight and bias of two hidden layers and of the output: what is adapted"""


class _Network(NamedTuple):
    """What is learned globally, and how it is adapted."""

    content: Tensor
    """(n_items, c): attributes of the items"""
    embeddings: list[Tensor]
    """Of item attributes (c, EMBEDDING) and of user features (F, EMBEDDING)"""
    layers: Layers
    local_rate: float
    local_steps: int


def fit_melu(
    rated: Dataset, *, local_rate: float = LOCAL_RATE, local_steps: int = LOCAL_STEPS, seed: int = 0
) -> Scorer:
    """Train on tasks of the training users: a support set of a drawn size, and the ratings after the twentieth."""
    means = item_means(rated)
    center = float(means.item.mean())
    content = torch.from_numpy(content_matrix(rated.items))
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        values: Tensor = torch.randn(*shape, generator=generator) / max(1, shape[0]) ** 0.5
        return values.requires_grad_()

    embeddings = [drawn(content.shape[1], EMBEDDING), drawn(rated.user_matrix.shape[1], EMBEDDING)]
    layers: Layers = []
    for fan_in, fan_out in ((2 * EMBEDDING, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 1)):
        layers += [drawn(fan_in, fan_out), torch.zeros(fan_out, requires_grad=True)]
    network = _Network(content, embeddings, layers, local_rate, local_steps)
    # Ratings less the center; NaN for a kind that is no rating, which rated events do not have.
    by_kind = torch.from_numpy(means.by_kind - center).float()
    _train(network, rated, by_kind, np.random.default_rng(seed))

    def scores(supports: Supports) -> np.ndarray:
        parts = range(0, len(supports.users), _SCORING_USERS)
        batches = (Supports(*(column[at : at + _SCORING_USERS] for column in supports)) for at in parts)
        return np.concatenate([_score(network, batch, by_kind) for batch in batches]) + center

    return means.clipped("MeLU", scores)


def _train(network: _Network, rated: Dataset, by_kind: Tensor, rng: np.random.Generator) -> None:
    """The outer loop, in place."""
    optimizer = torch.optim.Adam([*network.embeddings, *network.layers], lr=RATE)
    able = np.flatnonzero(rated.lengths > KS[-1])
    for _ in range(EPOCHS):
        for users in np.array_split(rng.permutation(able), -(-len(able) // BATCH)):
            supports, query = _tasks(rated, users, rng)
            optimizer.zero_grad()
            adapted = _adapt(network, network.layers, supports, by_kind, training=True)
            torch.autograd.backward(_error(network, adapted, query, by_kind).sum() / len(users))
            optimizer.step()


def _score(network: _Network, supports: Supports, by_kind: Tensor) -> np.ndarray:
    """Ratings of the whole catalog less the center (b, n_items)."""
    fixed = [layer.detach().requires_grad_() for layer in network.layers]
    adapted = _adapt(network, fixed, supports, by_kind)
    with torch.no_grad():
        catalog = (network.content @ network.embeddings[0]).expand(len(supports.users), -1, -1)
        user = torch.from_numpy(supports.user_features) @ network.embeddings[1]
        everything = torch.cat([catalog, user[:, None].expand(-1, catalog.shape[1], -1)], dim=2)
        return _forward(adapted, everything).numpy()


def _tasks(rated: Dataset, users: np.ndarray, rng: np.random.Generator) -> tuple[Supports, Supports]:
    """Support sets of drawn sizes up to 20, and the ratings after the 20th (at most 20 of them)."""
    k = rng.choice(KS, len(users))
    return windows(rated, users, 0, k, width=KS[-1]), windows(rated, users, KS[-1], KS[-1] + QUERY, width=QUERY)


def _forward(layers: Layers, inputs: Tensor) -> Tensor:
    """Ratings less the center (b, n), of inputs (b, n, 2 * EMBEDDING) and one set of layers per user."""
    first, first_bias, second, second_bias, output, output_bias = layers
    hidden = functional.relu(inputs @ first + first_bias[:, None])
    hidden = functional.relu(hidden @ second + second_bias[:, None])
    return (hidden @ output + output_bias[:, None])[..., 0]


def _error(network: _Network, layers: Layers, supports: Supports, by_kind: Tensor) -> Tensor:
    """Mean squared error per user (b,), 0 without ratings."""
    items = network.content[torch.from_numpy(supports.support_items)] @ network.embeddings[0]
    user = torch.from_numpy(supports.user_features) @ network.embeddings[1]
    inputs = torch.cat([items, user[:, None].expand(-1, items.shape[1], -1)], dim=2)
    ratings = by_kind[torch.from_numpy(supports.support_kind)]
    mask = torch.from_numpy(supports.support_mask) * ~ratings.isnan()
    squared = (_forward(layers, inputs) - ratings.nan_to_num()) ** 2 * mask
    return squared.sum(1) / mask.sum(1).clamp(min=1.0)


def _adapt(network: _Network, layers: Layers, supports: Supports, by_kind: Tensor, *, training: bool = False) -> Layers:
    """Local steps, one set of layers per user; the summed error gives every user's own gradient."""
    own = [layer.expand(len(supports.users), *layer.shape) for layer in layers]
    for _ in range(network.local_steps):
        error = _error(network, own, supports, by_kind).sum()
        gradients = torch.autograd.grad(error, own, create_graph=training)
        own = [layer - network.local_rate * gradient for layer, gradient in zip(own, gradients, strict=True)]
    return own
