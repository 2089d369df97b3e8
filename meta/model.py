"""The learned parameters, and the tensors that are served from them."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from meta.algorithms import traits_of
from meta.config import TrainingConfig
from meta.inner import Tensors
from meta.known import Known

_IGNORED_LOGIT = -4.0
"""Attention logit at which an event that says no starts: what was disliked describes nobody's taste."""

_SWITCH_LOGIT = -4.0
"""Where the logit of a switch at an event starts, against none: in twenty events there is hardly one."""


class Initialization(nn.Module):
    """Two towers around one user vector, and the prior of the items.

    Item vectors Q and keys P, both (n_items, d), are a free part plus content `(n_items, n_columns)` times learned
    weights, so that an item without events is scored from its attributes. Depending on algorithm and objective, Q has
    more columns than d: the content itself, and ones. Parameters are stored unconstrained; `items` and `theta` give
    them as the inner loop and the graphs take them.
    """

    content: Tensor
    kind_signs: Tensor
    first_vectors: Tensor

    def __init__(self, config: TrainingConfig, known: Known, *, generator: torch.Generator) -> None:
        super().__init__()
        self.traits, self.rating, self.sample = traits_of(config.algorithm), config.objective.rating, known.sample
        self.mean_rating = known.mean_rating
        d, (n_items, n_columns), n_kinds = config.d, known.content.shape, len(known.kind_weights)
        self.width = d + n_columns * self.traits.adapts_content + self.rating

        def drawn(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) * scale)

        self.register_buffer("content", known.content)
        self.free_vectors, self.free_keys = drawn(n_items, d, scale=0.02), drawn(n_items, d, scale=0.02)
        self.content_vectors, self.content_keys = drawn(n_columns, d, scale=0.1), drawn(n_columns, d, scale=0.1)
        if known.item_vectors is not None:
            self.free_vectors.data.zero_()
            self.content_vectors.data.zero_()
        first = known.item_vectors if known.item_vectors is not None else torch.zeros(n_items, d)
        self.register_buffer("first_vectors", first if self.rating else torch.zeros(0, d))
        self.bias = nn.Parameter(torch.zeros(n_items) if known.item_biases is None else known.item_biases.clone())
        self.content_bias = nn.Parameter(torch.zeros(n_columns * self.rating))
        self.popularity_weight = nn.Parameter(torch.tensor(0.0 if self.rating else 1.0))
        self.recency_weights = nn.Parameter(torch.full((len(config.taus_days),), 0.2))
        self.start = drawn(d, scale=0.0 if self.rating else 0.1)
        self.user_weights = drawn(known.n_user_features, self.width, scale=0.01)
        self.attention_key = drawn(d, scale=0.1)
        self.position_logits = nn.Parameter(torch.zeros(config.window, 1))
        self.kind_logits = nn.Parameter((known.kind_weights[:, None] < 0) * _IGNORED_LOGIT)
        self.value_map = nn.Parameter(torch.eye(d, self.width))
        self.log_scale = nn.Parameter(torch.tensor(math.log(4.0)))
        self.log_saturation = nn.Parameter(torch.tensor([math.log(2.0)]))
        self.extra_start = nn.Parameter(torch.zeros(self.width - d))
        self._add_rule(config, known, n_kinds)
        self._add_agreement(config, generator)

    def _add_rule(self, config: TrainingConfig, known: Known, n_kinds: int) -> None:
        """How the steps are taken; parameters that the algorithm does not learn stay as they are."""
        learned = self.traits.learned_rule
        shape = (config.inner_steps, self.width)
        self.step_sizes = nn.Parameter(torch.full(shape, config.inner_rate), requires_grad=learned)
        # For ratings 1 makes it a ridge regression with all of its penalty, which one fixed rule cannot do without.
        decay = 1.0 if self.rating else 0.1 * learned
        decays = torch.full((config.inner_steps, 1), decay).log()
        self.log_step_decays = nn.Parameter(decays, requires_grad=learned)
        self.support_power = nn.Parameter(torch.tensor([self.traits.support_power]), requires_grad=learned)
        self.log_shrinkage = nn.Parameter(torch.tensor([math.log(known.shrinkage)]), requires_grad=learned)
        self.register_buffer("kind_signs", torch.sign(known.kind_weights[:, None]))
        magnitudes = known.kind_weights[:, None].abs().log()
        self.log_kind_weights = nn.Parameter(magnitudes, requires_grad=learned)
        ratings = torch.zeros(n_kinds) if known.kind_ratings is None else known.kind_ratings
        self.kind_ratings = nn.Parameter(ratings[:, None].clone(), requires_grad=learned and self.rating)

    def _add_agreement(self, config: TrainingConfig, generator: torch.Generator) -> None:
        """What tells of a switch of tastes; at first nothing does."""
        self.agrees = config.agreement > 0 and self.traits.pooled and not (self.traits.encoder or self.rating)
        if not self.agrees:
            return
        self.switch_logits = nn.Parameter(torch.full((config.window, 1), _SWITCH_LOGIT))
        self.agreement_older = nn.Parameter(torch.randn(config.d, config.agreement, generator=generator) * 0.1)
        self.agreement_newer = nn.Parameter(torch.zeros(config.d, config.agreement))

    def _agreement(self) -> list[nn.Parameter]:
        if not self.agrees:
            return []
        return [self.switch_logits, self.agreement_older, self.agreement_newer]

    def embeddings(self) -> list[nn.Parameter]:
        """The parameters of the item vectors and keys."""
        return [self.free_vectors, self.free_keys, self.content_vectors, self.content_keys]

    def inner_parameters(self) -> list[nn.Parameter]:
        """What shapes the steps and the pooling, few numbers; they start far from where they end."""
        return [
            self.position_logits,
            self.kind_logits,
            self.log_saturation,
            self.log_scale,
            self.log_kind_weights,
            self.kind_ratings,
            self.step_sizes,
            self.log_step_decays,
            self.support_power,
            self.log_shrinkage,
            *self._agreement(),
        ]

    def items(self) -> Tensors:
        """`item_vectors` Q (n_items, width) and, for a pooled start, `item_keys` P (n_items, d); `sample_vectors`."""
        free = self.free_vectors + self.content @ self.content_vectors
        if self.rating:
            free = free + self.first_vectors
        if self.traits.encoder:
            unit = functional.normalize(free, dim=1)
            return {"item_vectors": unit, "item_keys": unit}
        parts = [free]
        if self.traits.adapts_content:
            parts.append(self.content)
        if self.rating:
            parts.append(torch.ones_like(free[:, :1]))
        tensors = {"item_vectors": torch.cat(parts, 1)}
        if self.traits.pooled:
            tensors["item_keys"] = self.free_keys + self.content @ self.content_keys
        if self.sample is not None:
            tensors["sample_vectors"] = tensors["item_vectors"][self.sample.rows]
        return tensors

    def theta(self) -> Tensors:
        """The tensors of the start and of the steps, named as the graph inputs that they are bound to."""
        tensors = {
            "start": torch.cat([self.start, self.extra_start]),
            "step_sizes": self.step_sizes,
            "trust": torch.full((1,), 0.0 if self.rating else 1.0).to(self.start),
        }
        if self.user_weights.shape[0]:
            tensors["user_weights"] = self.user_weights
        if self.traits.encoder:
            return self._uniform_pooling(tensors)
        if self.traits.pooled:
            tensors |= {
                "attention_key": self.attention_key,
                "position_logits": self.position_logits,
                "kind_logits": self.kind_logits,
                "value_map": self.value_map,
                "saturation": self.log_saturation.exp(),
            }
        if not len(self.step_sizes):
            return tensors
        weights = self.log_kind_weights.exp()
        tensors |= {"step_decays": self.log_step_decays.exp(), "kind_weights": self.kind_signs * weights}
        if self.rating:
            tensors |= {
                "kind_weights": weights,
                "kind_ratings": self.kind_ratings,
                "shrinkage": self.log_shrinkage.exp(),
            }
        else:
            tensors["support_power"] = self.support_power
        if self.agrees:
            tensors |= {
                "switch_logits": self.switch_logits,
                "agreement_older": self.agreement_older,
                "agreement_newer": self.agreement_newer,
            }
        return tensors

    def _uniform_pooling(self, tensors: Tensors) -> Tensors:
        """A metric-based member's theta: u is the mean embedding of the events, less those that say no, and nothing
        else; the scale is what turns cosines into logits."""
        nothing = torch.zeros_like(self.start)
        return {
            "start": nothing,
            "step_sizes": tensors["step_sizes"],
            "trust": tensors["trust"],
            "attention_key": nothing,
            "position_logits": torch.zeros_like(self.position_logits[:1]),
            "kind_logits": self.kind_logits.detach(),
            "value_map": torch.eye(len(nothing)).to(nothing) * self.log_scale.exp(),
            "saturation": self.log_saturation.exp(),
        }

    def prior(self, log_popularity: Tensor, log_recent: Tensor, *, rows: Tensor | None = None) -> Tensor:
        """z (times, m) of the items `rows` (m,), of all without; `log_popularity` (m,), `log_recent` (times, taus, m).

        Ranking: z = g0 log pop + b + sum_tau g_tau (log recent_tau - log pop).
        Rating: z = mean + b + c . w + g0 log pop at all times.
        """
        bias = self.bias if rows is None else self.bias[rows]
        fixed = self.popularity_weight * log_popularity + bias
        if self.rating:
            content = self.content if rows is None else self.content[rows]
            return (self.mean_rating + fixed + content @ self.content_bias).expand(log_recent.shape[0], -1)
        lift = log_recent - log_popularity
        return fixed + torch.einsum("t,rti->ri", self.recency_weights, lift)


def detached(tensors: Tensors) -> Tensors:
    """Copies without gradient, contiguous and on the CPU, as they are written to a bundle."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
