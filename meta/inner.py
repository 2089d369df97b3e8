"""The one inner loop: from a support set to an adapted user vector, batch-first, in closed form.

Training differentiates through `adapt`, and its export is what the worker runs; there is no other.

For one user with support events s, catalog vectors Q `(n_items, d)`, prior z `(n_items,)` and k events:

    loss(u) = (k/5)^rho * (logsumexp(Q u + z) - sum_s w_s (q_s . u + z_s)) + lambda_t/2 |u - u_start|^2
    g       = (k/5)^rho * (Q' softmax(Q u + z) - sum_s w_s q_s) + lambda_t (u - u_start)
    u      <- u - alpha_t * g          (alpha_t: one step size per coordinate, as in Meta-SGD, arXiv:1707.09835)

The only part of u that a single event enters linearly and apart from the others is carried beside it:

    V_s(0)  = a_s * saturated start part of event s
    V_s    <- V_s + alpha_t * (k/5)^rho w_s q_s - alpha_t * lambda_t * (V_s - V_s(0))

so that u = common + sum_s V_s at every step, where common collects the start without events and the expectation terms.
V_s - V_s(0) is (k/5)^rho w_s q_s times a vector of d numbers that no event enters, which is how it is computed here.

In the end the whole way from the start without events, u_0, is scaled by t = k^2 / (k^2 + 1), and each V_s with it:

    u <- u_0 + t (u - u_0)

At k = 1 that is half the way: one event tells less about what comes later than the outer loss, in which users with
many events weigh more, would have it.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

Tensors = dict[str, Tensor]
"""The served tensors by name, see `meta.model.Initialization.served`."""

_ABSENT = -1e9
"""An attention logit of a masked event: exp of it is exactly 0 in float32."""


class Support(NamedTuple):
    """The feeds of `adapt.onnx` that describe the users' events; see the bundle's table of inputs."""

    items: Tensor  # int64 (batch, support)
    mask: Tensor  # float32 (batch, support)
    kind: Tensor  # int64 (batch, support)
    user_features: Tensor | None  # float32 (batch, F), None where the model has none


class Adapted(NamedTuple):
    """What the inner loop gives: `user_vector` (batch, d) and `support_vectors` (batch, support, d)."""

    user_vector: Tensor
    support_vectors: Tensor


def positions_from_newest(mask: Tensor, n_positions: int) -> Tensor:
    """How many known events are newer, capped to the last position; int64 (batch, support).

    Counting from the newest known event keeps it independent of padding and of unknown items in between.
    """
    newer = mask.sum(1, keepdim=True) - mask.cumsum(1)
    return newer.to(torch.int64).clamp(0, n_positions - 1)


def pooled_start(support: Support, keys: Tensor, theta: Tensors) -> tuple[Tensor, Tensor]:
    """The start before any step: u_start (batch, d) and each event's part of it (batch, support, d).

    a = softmax(key . p_s + position logit + kind logit) over the known events; an empty support adds exactly 0.
    """
    mask = support.mask
    count = mask.sum(1, keepdim=True)
    logits = (
        (keys * theta["attention_key"]).sum(2)
        + functional.embedding(
            positions_from_newest(mask, theta["position_logits"].shape[0]), theta["position_logits"]
        )[..., 0]
        + functional.embedding(support.kind, theta["kind_logits"])[..., 0]
    )
    # Max and normalizer written out: a softmax over a support of width 0 or without events would be NaN.
    exponent = torch.where(mask > 0, logits, _ABSENT)
    top = torch.cat([exponent, torch.full_like(count, _ABSENT)], 1).amax(1, keepdim=True)
    weight = torch.exp(exponent - top) * mask
    attention = weight / weight.sum(1, keepdim=True).clamp(min=1e-30)
    saturation = count / (count + theta["saturation"])
    values = keys @ theta["value_map"]
    parts = (attention * saturation)[..., None] * values
    base = theta["start"].expand(count.shape[0], -1)
    if support.user_features is not None:
        base = base + support.user_features @ theta["user_weights"]
    return base + parts.sum(1), parts


def support_weights(support: Support, theta: Tensors) -> Tensor:
    """The support distribution w (batch, support): weight of the event's kind over the sum; 0 where masked."""
    weight = functional.embedding(support.kind, theta["kind_weights"])[..., 0] * support.mask
    return weight / weight.sum(1, keepdim=True).clamp(min=1e-30)


def adapt(
    support: Support,
    prior: Tensor,
    *,
    theta: Tensors,
    items: Tensors,
    first_order: bool = False,
    dropout: float = 0.0,
) -> Adapted:
    """Take the K inner steps, K = rows of `step_sizes`.

    `prior` (batch, n_items) is z at each user's now. `dropout` acts on the pooled vectors and is for training only;
    `first_order` treats the inner gradient as a constant of the outer loss.
    """
    keys = functional.embedding(support.items, items["item_keys"])
    if dropout > 0:
        keys = functional.dropout(keys, dropout)
    start, parts = pooled_start(support, keys, theta)
    count = support.mask.sum(1, keepdim=True)
    # (k/5)^rho as an exponential: the gradient of 0^rho with respect to rho is NaN, this one is 0.
    strength = torch.exp(theta["support_power"] * torch.log(count.clamp(min=1.0) / 5.0)) * (count > 0)
    vectors = items["item_vectors"]
    drawn = (strength * support_weights(support, theta))[..., None] * functional.embedding(support.items, vectors)
    pull = drawn.sum(1)
    user, gain = start, torch.zeros_like(theta["start"])
    for step in range(theta["step_sizes"].shape[0]):
        rate, decay = theta["step_sizes"][step], theta["step_decays"][step]
        expected = torch.softmax(user @ vectors.T + prior, dim=1) @ vectors
        gradient = strength * expected - pull + decay * (user - start)
        user = user - rate * (gradient.detach() if first_order else gradient)
        gain = gain + rate - rate * decay * gain
    common_start, squared = start - parts.sum(1), (count * count).clamp(min=1.0)
    trust = squared / (squared + 1.0)
    return Adapted(common_start + trust * (user - common_start), trust[..., None] * (parts + gain * drawn))
