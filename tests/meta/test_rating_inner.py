import pytest
import torch

from meta.config import TrainingConfig
from meta.inner import Support, adapt, start_without_events, support_weights
from meta.known import Known
from meta.model import Initialization

N_ITEMS, D, KINDS = 30, 4, 3


def made_model(algorithm: str, **config) -> Initialization:
    """Random parameters in float64; kind 2 carries no rating of its own."""
    generator = torch.Generator().manual_seed(1)
    known = Known(
        torch.rand(N_ITEMS, 2, generator=generator),
        0,
        torch.tensor([1.0, 1.0, 0.1]),
        kind_ratings=torch.tensor([1.0, 5.0, 3.0]),
        item_biases=torch.zeros(N_ITEMS),
        mean_rating=3.5,
    )
    chosen = TrainingConfig(objective="rating", algorithm=algorithm, d=D, **config)
    made = Initialization(chosen, known, generator=generator).double()
    for parameter in made.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return made


def made_support(lengths: list[int], width: int = 6) -> Support:
    generator = torch.Generator().manual_seed(2)
    mask = (torch.arange(width)[None] < torch.tensor(lengths)[:, None]).double()
    drawn = torch.randint(0, N_ITEMS, mask.shape, generator=generator)
    return Support(drawn * mask.long(), mask, torch.randint(0, KINDS, mask.shape, generator=generator), None)


def made_prior(batch: int) -> torch.Tensor:
    return 3.5 + torch.randn(batch, N_ITEMS, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("algorithm", ["meta-sgd", "amortized"])
def test_the_closed_form_takes_the_gradient_of_the_stated_loss(algorithm):
    model, support, prior = made_model(algorithm), made_support([1, 4, 6]), made_prior(3)
    theta, items = model.theta(), model.items()
    weights, kappa = support_weights(support, theta), theta["shrinkage"]
    vectors = items["item_vectors"][support.items]
    wanted = theta["kind_ratings"][support.kind][..., 0] - prior.gather(1, support.items)
    start = adapt(support, prior, theta=theta | {"step_sizes": theta["step_sizes"][:0]}, items=items).user_vector
    user = start
    for rate, decay in zip(theta["step_sizes"], theta["step_decays"], strict=True):
        variable = user.detach().requires_grad_()
        error = (vectors.detach() * variable[:, None]).sum(2) - wanted
        ridge = (weights * error**2).sum(1) / 2 + kappa * decay / 2 * ((variable - start.detach()) ** 2).sum(1)
        (gradient,) = torch.autograd.grad((ridge / (weights.sum(1) + kappa)).sum(), variable)
        user = user - rate * gradient
    found = adapt(support, prior, theta=theta, items=items)
    assert torch.allclose(found.user_vector, user, atol=1e-12)
    without = start_without_events(support, theta)
    assert torch.allclose(found.user_vector, without + found.support_vectors.sum(1), atol=1e-12)
    assert (found.support_vectors[support.mask == 0] == 0).all()


def test_enough_steps_reach_the_ridge_solution():
    model, support, prior = made_model("anil"), made_support([6]), made_prior(1)
    steps = {"step_sizes": torch.full((3000, model.width), 0.2), "step_decays": torch.ones(3000, 1)}
    theta, items = model.theta() | steps, model.items()
    found = adapt(support, prior, theta=theta, items=items).user_vector[0]
    vectors, weights = items["item_vectors"][support.items[0]], support_weights(support, theta)[0]
    wanted = theta["kind_ratings"][support.kind[0]][:, 0] - prior[0, support.items[0]]
    curvature = vectors.T @ (weights[:, None] * vectors) + theta["shrinkage"] * torch.eye(model.width)
    target = vectors.T @ (weights * wanted) + theta["shrinkage"] * theta["start"]
    assert torch.allclose(found, torch.linalg.solve(curvature, target), atol=1e-6)


def test_outer_gradients_on_a_quadratic_are_those_of_its_closed_form():
    """One step is u1 = u0 - a (A u0 - b), so that dL/du0 = (1 - a A)' dL/du1, and dL/du1 in first order."""
    model, support, prior = made_model("anil", inner_steps=1, inner_rate=0.5), made_support([5]), made_prior(1)
    theta, items = model.theta(), model.items()
    vectors, weights = items["item_vectors"][support.items[0]].detach(), support_weights(support, theta)[0].detach()
    total = weights.sum() + theta["shrinkage"].detach()
    curvature = vectors.T @ (weights[:, None] * vectors) / total
    query = torch.randn(model.width, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    gradients = {}
    for first_order in (False, True):
        model.zero_grad()
        user = adapt(support, prior, theta=model.theta(), items=model.items(), first_order=first_order).user_vector[0]
        ((user - query) ** 2).sum().backward()
        gradients[first_order] = torch.cat([model.start.grad, model.extra_start.grad])
        outer = 2 * (user.detach() - query)
    assert torch.allclose(gradients[True], outer, atol=1e-12)
    assert torch.allclose(gradients[False], (torch.eye(model.width) - 0.5 * curvature) @ outer, atol=1e-12)


def test_the_last_coordinate_is_the_users_bias():
    model = made_model("anil", inner_rate=0.5)
    model.free_vectors.data.zero_()
    model.content_vectors.data.zero_()
    support, prior = made_support([4]), torch.full((1, N_ITEMS), 3.0).double()
    support = support._replace(kind=torch.ones_like(support.kind))
    scores = (
        adapt(support, prior, theta=model.theta(), items=model.items()).user_vector @ model.items()["item_vectors"].T
    )
    assert torch.allclose(scores, scores[0, 0].expand_as(scores))
    assert 0 < scores[0, 0] - model.extra_start[0] < 2
