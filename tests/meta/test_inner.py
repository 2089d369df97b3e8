import pytest
import torch

from meta.config import TrainingConfig
from meta.inner import (
    Support,
    adapt,
    loss_shares,
    pooled_parts,
    positions_from_newest,
    start_without_events,
    support_weights,
)
from meta.known import Known
from meta.model import Initialization

N_ITEMS, D, FEATURES, KINDS = 30, 6, 3, 4


@pytest.fixture(params=[0, 2], ids=["all events alike", "by agreement"])
def model(request) -> Initialization:
    """Random parameters, far from their initial values so that every term counts; in float64."""
    generator = torch.Generator().manual_seed(1)
    weights = torch.tensor([1.0, 2.0, -0.5, 0.3])
    known = Known(torch.rand(N_ITEMS, 5, generator=generator), FEATURES, weights)
    made = Initialization(
        TrainingConfig(d=D, inner_steps=3, agreement=request.param), known, generator=generator
    ).double()
    for parameter in made.parameters():
        parameter.data += 0.4 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return made


def made_support(lengths: list[int], *, width: int, seed: int = 2) -> Support:
    generator = torch.Generator().manual_seed(seed)
    batch = len(lengths)
    mask = (torch.arange(width)[None] < torch.tensor(lengths)[:, None]).double()
    drawn = torch.randint(0, N_ITEMS, (batch, width), generator=generator)
    kinds = torch.randint(0, KINDS, (batch, width), generator=generator)
    features = torch.rand(batch, FEATURES, generator=generator).double()
    return Support(drawn * mask.long(), mask, kinds * mask.long(), features)


def made_prior(batch: int) -> torch.Tensor:
    return torch.randn(batch, N_ITEMS, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def pooled_start(support: Support, model: Initialization) -> tuple[torch.Tensor, torch.Tensor]:
    """The start of the steps, and each event's part of it."""
    parts = pooled_parts(support, model.items()["item_keys"][support.items], model.theta())
    return start_without_events(support, model.theta()) + parts.sum(1), parts


def loss_weights(support: Support, model: Initialization) -> torch.Tensor:
    theta = model.theta()
    keys = model.items()["item_keys"][support.items]
    weights = support_weights(support, theta) * loss_shares(support, keys, theta)
    return weights / weights.abs().sum(1, keepdim=True).clamp(min=1e-30)


def trust(support: Support) -> torch.Tensor:
    squared = support.mask.sum(1, keepdim=True) ** 2
    return squared / (squared + 1)


def stated_loss(user, start, support, prior, *, model, step):
    """The inner loss as the module states it, written without the closed form."""
    theta, vectors = model.theta(), model.items()["item_vectors"]
    count = support.mask.sum(1)
    strength = (count / 5) ** theta["support_power"]
    scores = user @ vectors.T + prior
    weights = loss_weights(support, model)
    yes = weights.clamp(min=0).sum(1)
    fit = yes * torch.logsumexp(scores, 1) - (weights * scores.gather(1, support.items)).sum(1)
    decay = theta["step_decays"][step]
    return (strength * fit + decay / 2 * ((user - start) ** 2).sum(1)).sum()


def test_the_closed_form_takes_the_gradient_of_the_stated_loss(model):
    support, prior = made_support([1, 4, 7], width=7), made_prior(3)
    theta, items = model.theta(), model.items()
    start, _ = pooled_start(support, model)
    user = start
    for step in range(3):
        variable = user.detach().requires_grad_()
        loss = stated_loss(variable, start.detach(), support, prior, model=model, step=step)
        (gradient,) = torch.autograd.grad(loss, variable)
        user = user - theta["step_sizes"][step] * gradient
    without = start_without_events(support, theta)
    expected = without + trust(support) * (user - without)
    assert torch.allclose(adapt(support, prior, theta=theta, items=items).user_vector, expected, atol=1e-12)


def outer(model, support, prior, *, first_order=False):
    adapted = adapt(support, prior, theta=model.theta(), items=model.items(), first_order=first_order)
    return torch.logsumexp(adapted.user_vector @ model.items()["item_vectors"].T + prior, 1).sum()


@pytest.mark.parametrize("name", ["free_vectors", "start", "step_sizes", "support_power", "log_kind_weights"])
def test_the_outer_gradient_is_second_order(model, name):
    support, prior = made_support([0, 2, 6], width=6), made_prior(3)
    parameter = dict(model.named_parameters())[name]
    outer(model, support, prior).backward()
    direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    slope = (parameter.grad * direction).sum()
    step, values = 1e-5, []
    with torch.no_grad():
        for sign in (1, -1):
            parameter += sign * step * direction
            values.append(outer(model, support, prior))
            parameter -= sign * step * direction
    assert slope.item() == pytest.approx(((values[0] - values[1]) / (2 * step)).item(), rel=1e-5, abs=1e-8)


def test_first_order_gives_the_same_vector_and_another_gradient(model):
    support, prior = made_support([2, 6], width=6), made_prior(2)
    gradients = []
    for first_order in (False, True):
        model.zero_grad()
        value = outer(model, support, prior, first_order=first_order)
        value.backward()
        gradients.append((value.item(), model.start.grad.clone()))
    assert gradients[0][0] == gradients[1][0]
    assert not torch.allclose(gradients[0][1], gradients[1][1])


def test_padding_of_any_width_adds_nothing(model):
    narrow, prior = made_support([0, 2, 5], width=5), made_prior(3)
    filler = torch.full((3, 20), 7)
    wide = Support(
        torch.cat([narrow.items, filler], 1),
        torch.cat([narrow.mask, torch.zeros(3, 20)], 1),
        torch.cat([narrow.kind, filler % KINDS], 1),
        narrow.user_features,
    )
    theta, items = model.theta(), model.items()
    short, long = (adapt(support, prior, theta=theta, items=items) for support in (narrow, wide))
    assert torch.allclose(short.user_vector, long.user_vector, atol=1e-14)
    assert torch.allclose(short.support_vectors, long.support_vectors[:, :5], atol=1e-14)
    assert (long.support_vectors[wide.mask == 0] == 0).all()


@pytest.mark.parametrize("width", [0, 4])
def test_an_empty_support_set_stays_at_the_start(model, width):
    support, prior = made_support([0, 0], width=width), made_prior(2)
    theta = model.theta()
    found = adapt(support, prior, theta=theta, items=model.items())
    assert torch.equal(found.user_vector, theta["start"] + support.user_features @ theta["user_weights"])
    assert found.support_vectors.shape == (2, width, D)
    assert (found.support_vectors == 0).all()


def test_an_empty_support_set_leaves_all_gradients_finite(model):
    outer(model, made_support([0, 3], width=3), made_prior(2)).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_an_unknown_item_in_between_counts_for_nothing(model):
    support, prior = made_support([5], width=5), made_prior(1)
    kept = [0, 1, 3, 4]
    gap = support._replace(mask=torch.tensor([[1, 1, 0, 1, 1]]).double())
    without = Support(*(column[:, kept] for column in support[:3]), support.user_features)
    theta, items = model.theta(), model.items()
    found, expected = (adapt(s, prior, theta=theta, items=items) for s in (gap, without))
    assert torch.allclose(found.user_vector, expected.user_vector, atol=1e-14)
    assert (found.support_vectors[:, 2] == 0).all()


def test_positions_count_from_the_newest_known_event():
    mask = torch.tensor([[1.0, 1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0]])
    found = positions_from_newest(mask, 2)
    assert found[0, [0, 1, 3]].tolist() == [1, 1, 0]
    assert found[1, 0] == 0


def test_the_parts_of_the_events_obey_the_recursion_and_the_rest_is_common(model):
    """Carries u, the parts V_s and the common part C side by side, step by step, as the module states them."""
    support, prior = made_support([0, 1, 7], width=7), made_prior(3)
    theta, items = model.theta(), model.items()
    vectors = items["item_vectors"]
    start, first = pooled_start(support, model)
    count = support.mask.sum(1, keepdim=True)
    weights = loss_weights(support, model)
    strength = torch.where(count > 0, (count / 5) ** theta["support_power"], 0.0)
    drawn = (strength * weights)[..., None] * vectors[support.items]
    parts, first_common = first, start - first.sum(1)
    common = first_common
    for step in range(3):
        rate, decay = theta["step_sizes"][step], theta["step_decays"][step]
        expected = torch.softmax((common + parts.sum(1)) @ vectors.T + prior, 1) @ vectors
        parts = parts + rate * drawn - rate * decay * (parts - first)
        common = (
            common
            - rate * strength * weights.clamp(min=0).sum(1, keepdim=True) * expected
            - rate * decay * (common - first_common)
        )
    share = trust(support)
    parts, common = share[..., None] * parts, first_common + share * (common - first_common)
    found = adapt(support, prior, theta=theta, items=items)
    assert torch.allclose(found.support_vectors, parts, atol=1e-12)
    assert torch.allclose(found.user_vector, common + parts.sum(1), atol=1e-12)
    scores = found.user_vector @ vectors.T + prior
    contributions = torch.einsum("id,bsd->bis", vectors, found.support_vectors)
    assert torch.allclose(scores, prior + common @ vectors.T + contributions.sum(2), atol=1e-5)


def test_no_inner_steps_give_the_pooled_start_as_far_as_three_events_are_trusted(model):
    support, prior = made_support([3], width=3), made_prior(1)
    theta = model.theta() | {"step_sizes": torch.zeros(0, D).double(), "step_decays": torch.zeros(0, 1).double()}
    items = model.items()
    start, parts = pooled_start(support, model)
    found = adapt(support, prior, theta=theta, items=items)
    without = start_without_events(support, theta)
    assert torch.allclose(found.user_vector, without + 0.9 * (start - without), atol=1e-12)
    assert torch.allclose(found.support_vectors, 0.9 * parts, atol=1e-12)


@pytest.mark.parametrize("model", [2], indirect=True)
def test_an_event_has_the_share_that_no_switch_of_tastes_came_after_it(model):
    support, theta = made_support([4], width=6), model.theta()
    keys = model.items()["item_keys"][support.items]
    telling = theta["kind_logits"][support.kind[0, :4], 0].exp()
    assert telling.std() > 0
    older, newer = (telling[:, None] * (keys[0, :4] @ theta[f"agreement_{side}"]) for side in ("older", "newer"))
    logits = torch.zeros(4).double()
    for first in (1, 2, 3):
        agreement = newer[first:].sum(0) @ older[:first].sum(0) / (1 + telling[:first].sum())
        logits[first] = theta["switch_logits"][3 - first, 0] - agreement
    switch = torch.softmax(logits, 0)
    expected = torch.stack([switch[: event + 1].sum() for event in range(4)])
    found = loss_shares(support, keys, theta)
    assert torch.allclose(found[0, :4], expected, atol=1e-12)
    assert found[0, 4:].tolist() == [0, 0]


def test_events_that_disagree_with_all_before_them_take_the_past_its_share():
    known = Known(torch.rand(N_ITEMS, 5), FEATURES, torch.ones(KINDS))
    fresh = Initialization(TrainingConfig(d=2, agreement=1), known, generator=torch.Generator().manual_seed(0))
    one, other = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    theta = fresh.theta() | {f"agreement_{side}": torch.tensor([[0.0], [3.0]]) for side in ("older", "newer")}
    support = made_support([8, 8], width=8)
    support = support._replace(mask=support.mask.float())
    keys = torch.stack([torch.stack([one] * 8), torch.stack([one] * 6 + [other] * 2)])
    stayed, switched = loss_shares(support, keys, theta)
    assert stayed.min() > 0.99
    assert switched[:6].max() < 0.01
    assert switched[6:].min() > 0.99


def test_at_first_nothing_tells_of_a_switch():
    known = Known(torch.rand(N_ITEMS, 5), FEATURES, torch.ones(KINDS))
    fresh = Initialization(TrainingConfig(d=D, agreement=2), known, generator=torch.Generator().manual_seed(0))
    support = made_support([3, 5], width=5)
    support = support._replace(mask=support.mask.float())
    keys = fresh.items()["item_keys"][support.items]
    shares = loss_shares(support, keys, fresh.theta())
    assert torch.equal(shares, loss_shares(support, keys.flip(0), fresh.theta()))
    assert shares[support.mask > 0].min() > 0.9
