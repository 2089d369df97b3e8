from dataclasses import replace

import numpy as np
import pytest
import torch

from meta.algorithms import Algorithm
from meta.config import Objective, TrainingConfig
from meta.known import known_of
from meta.model import Initialization
from meta.refresh.warm import MisfitError, take_up
from meta.training import train
from schemas import Item

CONFIG = TrainingConfig(d=8, epochs=1)


@pytest.fixture(scope="module")
def parameters(world):
    return train(world, CONFIG, seed=0).parameters


def fresh(world, items, config=CONFIG):
    """A model that knows nothing yet, for this catalog."""
    changed = replace(world, items=items, item_ids=[item.item_id for item in items])
    known, _ = known_of(changed, changed, CONFIG, rng=np.random.default_rng(1))
    return Initialization(config, known, generator=torch.Generator().manual_seed(1))


def test_known_items_keep_their_vectors_new_ones_start_from_their_attributes_withdrawn_ones_go(world, parameters):
    same = fresh(world, world.items)
    take_up(same, parameters, old_items=world.items, new_ids=world.item_ids)
    before = same.items()["item_vectors"].detach()
    new = Item(item_id="new", categories=world.items[5].categories, domain=world.items[5].domain)
    items = [new, *world.items[3:]]
    model = fresh(world, items + [Item(item_id=f"pad-{n}") for n in range(2)])
    take_up(model, parameters, old_items=world.items, new_ids=["new", *world.item_ids[3:], "pad-0", "pad-1"])
    vectors = model.items()["item_vectors"].detach()
    torch.testing.assert_close(vectors[1 : len(items)], before[3:], atol=1e-4, rtol=0)
    assert not model.free_vectors.detach()[0].any()
    assert vectors[0].any()
    torch.testing.assert_close(model.bias.detach()[1 : len(items)], parameters["bias"][3:])


def test_everything_but_items_is_as_it_was(world, parameters):
    model = fresh(world, world.items)
    take_up(model, parameters, old_items=world.items, new_ids=world.item_ids)
    for name in ("start", "step_sizes", "value_map", "kind_logits"):
        torch.testing.assert_close(dict(model.named_parameters())[name].detach(), parameters[name])


def test_parameters_of_another_shape_are_not_taken_up(world, parameters):
    model = fresh(world, world.items, TrainingConfig(d=4, epochs=1))
    start = model.start.detach().clone()
    with pytest.raises(MisfitError, match="free_vectors"):
        take_up(model, parameters, old_items=world.items, new_ids=world.item_ids)
    torch.testing.assert_close(model.start.detach(), start)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (TrainingConfig(algorithm=Algorithm.MAML, d=8, epochs=1), "coordinate per attribute"),
        (TrainingConfig(objective=Objective.RATING, epochs=1), "each window's own ratings"),
    ],
)
def test_what_means_something_else_in_another_window_is_not_taken_up(world, config, why):
    model = fresh(world, world.items, config)
    own = {name: parameter.detach() for name, parameter in model.named_parameters()}
    with pytest.raises(MisfitError, match=why):
        take_up(model, own, old_items=world.items, new_ids=world.item_ids)


def test_a_member_without_keys_is_taken_up(world):
    config = TrainingConfig(algorithm=Algorithm.ANIL, d=8, epochs=1)
    learned = train(world, config, seed=0).parameters
    model = fresh(world, world.items, config)
    take_up(model, learned, old_items=world.items, new_ids=world.item_ids)
    old = learned["free_vectors"] + model.content @ learned["content_vectors"]
    torch.testing.assert_close(model.items()["item_vectors"].detach(), old, atol=1e-4, rtol=0)
