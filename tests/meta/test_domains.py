import numpy as np
import pytest
import torch

from meta.domains import domain_offset, through_domains
from meta.supports import first_events
from meta.training import as_scorer


def test_the_offset_is_where_the_inner_loop_goes_in_the_domain(world, trained):
    inside = np.arange(world.n_items) < world.n_items // 2
    offset = domain_offset(trained, world, inside, seed=0)
    other = domain_offset(trained, world, ~inside, seed=0)
    pull = trained.items["item_vectors"][torch.from_numpy(inside)].mean(0) - trained.items["item_vectors"].mean(0)
    assert float((torch.from_numpy(offset - other) * pull).sum()) > 0
    assert not domain_offset(trained, world, np.zeros(world.n_items, dtype=bool), seed=0).any()


def test_a_user_starts_from_the_share_of_the_support_in_each_domain(world, trained):
    inside = np.arange(world.n_items) < world.n_items // 2
    plain, users = as_scorer(trained), np.arange(5)
    nothing = through_domains(trained, [inside], np.zeros((1, 4), dtype=np.float32))
    supports = first_events(world, users, 6)
    assert nothing.score(supports) == pytest.approx(plain.score(supports), abs=1e-5)
    moved = through_domains(trained, [inside], np.ones((1, 4), dtype=np.float32))
    share = inside[supports.support_items].mean(axis=1)
    change = np.abs(moved.score(supports) - plain.score(supports)).max(axis=1)
    assert ((change > 1e-4) == (share > 0)).all()
    empty = first_events(world, users, 0)
    assert moved.score(empty) == pytest.approx(plain.score(empty), abs=1e-6)
