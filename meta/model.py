"""The learned parameters, and the tensors that are served from them."""

import math

import torch
from torch import Tensor, nn

from meta.config import TrainingConfig
from meta.inner import Tensors


class Initialization(nn.Module):
    """Two towers around one user vector, and the prior of the items.

    Item vectors Q and keys P, both (n_items, d), are a free part plus content `(n_items, n_columns)` times learned
    weights, so that an item without events is scored from its attributes. Parameters are stored unconstrained;
    `served` gives them as the inner loop and the graphs take them.
    """

    content: Tensor

    def __init__(
        self, config: TrainingConfig, content: Tensor, *, n_user_features: int, n_kinds: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        d, n_items = config.d, content.shape[0]

        def drawn(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) * scale)

        self.register_buffer("content", content)
        self.free_vectors, self.free_keys = drawn(n_items, d, scale=0.02), drawn(n_items, d, scale=0.02)
        self.content_vectors = drawn(content.shape[1], d, scale=0.1)
        self.content_keys = drawn(content.shape[1], d, scale=0.1)
        self.bias = nn.Parameter(torch.zeros(n_items))
        self.popularity_weight = nn.Parameter(torch.ones(()))
        self.recency_weights = nn.Parameter(torch.full((len(config.taus_days),), 0.2))
        self.start = drawn(d, scale=0.1)
        self.user_weights = drawn(n_user_features, d, scale=0.01)
        self.attention_key = drawn(d, scale=0.1)
        self.position_logits = nn.Parameter(torch.zeros(config.positions, 1))
        self.kind_logits = nn.Parameter(torch.zeros(n_kinds, 1))
        self.value_map = nn.Parameter(torch.eye(d))
        self.log_saturation = nn.Parameter(torch.tensor([math.log(2.0)]))
        self.log_kind_weights = nn.Parameter(torch.zeros(n_kinds, 1))
        self.step_sizes = nn.Parameter(torch.full((config.inner_steps, d), 1.0))
        self.log_step_decays = nn.Parameter(torch.full((config.inner_steps, 1), math.log(0.1)))
        self.support_power = nn.Parameter(torch.tensor([0.5]))

    def embeddings(self) -> list[nn.Parameter]:
        """The parameters of the item vectors and keys."""
        return [self.free_vectors, self.free_keys, self.content_vectors, self.content_keys]

    def inner_parameters(self) -> list[nn.Parameter]:
        """The few numbers that shape the steps and the pooling; they start far from where they end."""
        return [
            self.position_logits,
            self.kind_logits,
            self.log_saturation,
            self.log_kind_weights,
            self.step_sizes,
            self.log_step_decays,
            self.support_power,
        ]

    def items(self) -> Tensors:
        """`item_vectors` Q and `item_keys` P, (n_items, d) each."""
        return {
            "item_vectors": self.free_vectors + self.content @ self.content_vectors,
            "item_keys": self.free_keys + self.content @ self.content_keys,
        }

    def theta(self) -> Tensors:
        """The tensors of the start and of the steps, named as the graph inputs that they are bound to."""
        tensors = {
            "start": self.start,
            "attention_key": self.attention_key,
            "position_logits": self.position_logits,
            "kind_logits": self.kind_logits,
            "value_map": self.value_map,
            "saturation": self.log_saturation.exp(),
            "kind_weights": self.log_kind_weights.exp(),
            "step_sizes": self.step_sizes,
            "step_decays": self.log_step_decays.exp(),
            "support_power": self.support_power,
        }
        if self.user_weights.shape[0]:
            tensors["user_weights"] = self.user_weights
        return tensors

    def prior(self, log_popularity: Tensor, log_recent: Tensor) -> Tensor:
        """z (rows, n_items) = g0 log pop + b + sum_tau g_tau (log recent_tau - log pop).

        `log_popularity` is (n_items,), `log_recent` (rows, taus, n_items).
        """
        lift = log_recent - log_popularity
        return (
            self.popularity_weight * log_popularity + self.bias + torch.einsum("t,rti->ri", self.recency_weights, lift)
        )


def detached(tensors: Tensors) -> Tensors:
    """Copies without gradient, contiguous, as they are written to a bundle."""
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
