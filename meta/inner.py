"""The one inner loop: from a support set to an adapted user vector, batch-first, in closed form.

Training differentiates through `adapt`, and its export is what the worker runs; there is no other. Which terms it has
is told by the names of the tensors that it is given: so every member of the family (`meta.algorithms`) and both
objectives are served from one contract.

**Ranking.** For one user with k support events s of weights w_s, whose magnitudes add up to 1 and which are negative
for events that say no, catalog vectors Q `(n_items, d)`, prior z `(n_items,)`, and W the sum of the positive weights:

    loss(u) = (k/5)^rho * (W logsumexp(Q u + z) - sum_s w_s (q_s . u + z_s)) + lambda_t/2 |u - u_start|^2
    g       = (k/5)^rho * (W Q' softmax(Q u + z) - sum_s w_s q_s) + lambda_t (u - u_start)
    u      <- u - alpha_t * g          (alpha_t: one step size per coordinate, as in Meta-SGD, arXiv:1707.09835)

Where tastes may switch (tensor `switch_logits`), w_s is the weight of its kind times a share c_s: how likely it is that
the tastes of event s are those of now. With keys p, m_s = exp(attention's logit of the kind), and pi_s for how likely
it is that the last switch came right before s,

    pi  = softmax(switch logit of the position - sum_{t >= s} m_t (B' p_t) . r_s),    c_s = sum_{t <= s} pi_t
    r_s = sum_{t < s} m_t (A' p_t) / (1 + sum_{t < s} m_t)

where the logit of the oldest event is 0: all is of one taste. Each event that disagrees with all before it adds to the
evidence, as in change-point detection (arXiv:0710.3742), and where nothing tells of a switch the past counts in full.
An event whose kind says little of a taste, above all one that says no, says little of a new one.

An event that says no is repelled linearly: it has no expectation term, so its loss has no minimum to run to, and K
steps of bounded size keep it finite. Where the catalog is too large, the softmax ranges over a fixed sample of its
rows, `sample_vectors`, whose prior is lifted by -log of how often each was to be expected in it (importance sampling).

The only part of u that a single event enters linearly and apart from the others is carried beside it:

    V_s(0)  = a_s * saturated start part of event s
    V_s    <- V_s + alpha_t * (k/5)^rho w_s q_s - alpha_t * lambda_t * (V_s - V_s(0))

so that u = common + sum_s V_s at every step, where common collects the start without events and the expectation terms.
V_s - V_s(0) is (k/5)^rho w_s q_s times a vector of d numbers that no event enters, which is how it is computed here.

In the end the whole way from the start without events, u_0, is scaled by t = k^2 / (k^2 + trust), and each V_s with it:

    u <- u_0 + t (u - u_0)

With trust 1 that is half the way at k = 1: one event tells less about what comes later than the outer loss, in which
users with many events weigh more, would have it.

**Rating** (tensor `kind_ratings` r, the rating that an event's kind stands for). With n = sum_s w_s and e_s = q_s . u +
z_s - r_s, the loss is that of a ridge regression on the support set, over n + kappa so that one step size suits all k:

    loss(u) = (sum_s w_s e_s^2 / 2 + kappa lambda_t / 2 |u - u_start|^2) / (n + kappa)
    V_s    <- V_s - alpha_t * (w_s e_s q_s + kappa lambda_t (V_s - V_s(0))) / (n + kappa)

and u = u_0 + sum_s V_s again: each event bears its own residual. One coordinate of q is 1, u's user bias.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from meta.supports import Supports

Tensors = dict[str, Tensor]
"""The served tensors by name, see `meta.model.Initialization`."""

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


def as_support(supports: Supports, *, at: torch.device | None = None) -> Support:
    """The arrays as the tensors that the inner loop takes, on a device; on the CPU unless told."""
    features = torch.from_numpy(supports.user_features).to(at) if supports.user_features.shape[1] else None
    return Support(
        torch.from_numpy(supports.support_items).to(at),
        torch.from_numpy(supports.support_mask).to(at),
        torch.from_numpy(supports.support_kind).to(at),
        features,
    )


def positions_from_newest(mask: Tensor, n_positions: int) -> Tensor:
    """How many known events are newer, capped to the last position; int64 (batch, support).

    Counting from the newest known event keeps it independent of padding and of unknown items in between.
    """
    newer = mask.sum(1, keepdim=True) - mask.cumsum(1)
    return newer.to(torch.int64).clamp(0, n_positions - 1)


def start_without_events(support: Support, theta: Tensors) -> Tensor:
    """u_0 (batch, d): the common start and what the user's features add to it."""
    start = theta["start"].expand(support.mask.shape[0], -1)
    if "user_weights" in theta and support.user_features is not None:
        start = start + support.user_features @ theta["user_weights"]
    return start


def at_positions(support: Support, table: Tensor) -> Tensor:
    """A number per event (batch, support) from a `table` (positions, 1) that counts from the newest event."""
    return functional.embedding(positions_from_newest(support.mask, table.shape[0]), table)[..., 0]


def softmax_of_known(logits: Tensor, mask: Tensor) -> Tensor:
    """Shares (batch, support) of the known events, 0 where masked; without events all are 0."""
    # Max and normalizer written out: a softmax over a support of width 0 or without events would be NaN.
    exponent = torch.where(mask > 0, logits, _ABSENT)
    top = torch.cat([exponent, torch.full_like(mask.sum(1, keepdim=True), _ABSENT)], 1).amax(1, keepdim=True)
    weight = torch.exp(exponent - top) * mask
    return weight / weight.sum(1, keepdim=True).clamp(min=1e-30)


def pooled_parts(support: Support, keys: Tensor, theta: Tensors) -> Tensor:
    """Each event's part of the start (batch, support, d), from the events' keys (batch, support, d of keys).

    a = softmax(key . p_s + position logit + kind logit) over the known events; an empty support adds exactly 0.
    """
    count = support.mask.sum(1, keepdim=True)
    logits = (
        (keys * theta["attention_key"]).sum(2)
        + at_positions(support, theta["position_logits"])
        + functional.embedding(support.kind, theta["kind_logits"])[..., 0]
    )
    attention = softmax_of_known(logits, support.mask)
    saturation = count / (count + theta["saturation"])
    return (attention * saturation)[..., None] * (keys @ theta["value_map"])


def support_weights(support: Support, theta: Tensors) -> Tensor:
    """The weight w (batch, support) of each event by its kind; 0 where masked."""
    return functional.embedding(support.kind, theta["kind_weights"])[..., 0] * support.mask


def loss_shares(support: Support, keys: Tensor | None, theta: Tensors) -> Tensor:
    """What share of the inner loss each event has (batch, support), up to a factor and its kind's weight aside: all
    alike, or by how likely it is that no switch of tastes came after it, from the events' keys (batch, support, d)."""
    mask = support.mask
    if keys is None or "switch_logits" not in theta:
        return mask
    telling = torch.exp(functional.embedding(support.kind, theta["kind_logits"])[..., 0]) * mask
    older, newer = (telling[..., None] * (keys @ theta[name]) for name in ("agreement_older", "agreement_newer"))
    before, told_before = older.cumsum(1) - older, telling.cumsum(1) - telling
    since = newer.sum(1, keepdim=True) - newer.cumsum(1) + newer
    agreement = (since * before).sum(2) / (1.0 + told_before)
    logits = at_positions(support, theta["switch_logits"]) - agreement
    oldest = mask.cumsum(1) <= 1.0
    return softmax_of_known(torch.where(oldest, 0.0, logits), mask).cumsum(1) * mask


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

    `prior` (batch, rows) is z at each user's now, of `sample_vectors` where there are such and else of the catalog.
    `dropout` acts on the pooled vectors and is for training only; `first_order` treats the inner gradient as a constant
    of the outer loss.
    """
    without, keys = start_without_events(support, theta), None
    if "item_keys" in items:
        keys = functional.embedding(support.items, items["item_keys"])
        if dropout > 0:
            keys = functional.dropout(keys, dropout)
        parts = pooled_parts(support, keys, theta)
    else:
        parts = support.mask[..., None] * torch.zeros_like(theta["start"])
    start = without + parts.sum(1)
    if not theta["step_sizes"].shape[0]:
        user, vectors = start, parts
    elif "kind_ratings" in theta:
        user, vectors = _fit_ratings(support, without, parts, prior, theta, items, first_order=first_order)
    else:
        weights = support_weights(support, theta) * loss_shares(support, keys, theta)
        user, vectors = _fit_choices(support, start, parts, prior, weights, theta, items, first_order=first_order)
    count = support.mask.sum(1, keepdim=True)
    squared = (count * count).clamp(min=1.0)
    trust = squared / (squared + theta["trust"])
    return Adapted(without + trust * (user - without), trust[..., None] * vectors)


def _fit_choices(
    support: Support,
    start: Tensor,
    parts: Tensor,
    prior: Tensor,
    weights: Tensor,
    theta: Tensors,
    items: Tensors,
    *,
    first_order: bool,
) -> tuple[Tensor, Tensor]:
    """The steps for ranking, from `start` (batch, d) of which `parts` (batch, support, d) are the events'; `weights`
    (batch, support) are those of the events in the loss, up to a factor."""
    count = support.mask.sum(1, keepdim=True)
    # (k/5)^rho as an exponential: the gradient of 0^rho with respect to rho is NaN, this one is 0.
    strength = torch.exp(theta["support_power"] * torch.log(count.clamp(min=1.0) / 5.0)) * (count > 0)
    weights = weights / weights.abs().sum(1, keepdim=True).clamp(min=1e-30)
    drawn = (strength * weights)[..., None] * functional.embedding(support.items, items["item_vectors"])
    pull, expecting = drawn.sum(1), strength * weights.clamp(min=0.0).sum(1, keepdim=True)
    rows = items["sample_vectors"] if "sample_vectors" in items else items["item_vectors"]
    user, gain = start, torch.zeros_like(theta["start"])
    for step in range(theta["step_sizes"].shape[0]):
        rate, decay = theta["step_sizes"][step], theta["step_decays"][step]
        expected = torch.softmax(user @ rows.T + prior, dim=1) @ rows
        gradient = expecting * expected - pull + decay * (user - start)
        user = user - rate * (gradient.detach() if first_order else gradient)
        gain = gain + rate - rate * decay * gain
    return user, parts + gain * drawn


def _fit_ratings(
    support: Support,
    without: Tensor,
    parts: Tensor,
    prior: Tensor,
    theta: Tensors,
    items: Tensors,
    *,
    first_order: bool,
) -> tuple[Tensor, Tensor]:
    """The steps for ratings; all of the way from `without` (batch, d) is the events'."""
    weights = support_weights(support, theta)
    total = weights.sum(1, keepdim=True) + theta["shrinkage"]
    share, hold = weights / total, (theta["shrinkage"] / total)[..., None]
    vectors = functional.embedding(support.items, items["item_vectors"])
    wanted = functional.embedding(support.kind, theta["kind_ratings"])[..., 0] - prior.gather(1, support.items)
    user, adapted = without + parts.sum(1), parts
    for step in range(theta["step_sizes"].shape[0]):
        rate, decay = theta["step_sizes"][step], theta["step_decays"][step]
        residual = (vectors * user[:, None]).sum(2) - wanted
        gradient = (share * residual)[..., None] * vectors + decay * hold * (adapted - parts)
        adapted = adapted - rate * (gradient.detach() if first_order else gradient)
        user = without + adapted.sum(1)
    return user, adapted
