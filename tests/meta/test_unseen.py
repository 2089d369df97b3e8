import numpy as np
import torch

from meta.unseen import place_unseen


def test_an_unseen_item_is_placed_like_those_of_its_attributes_and_no_other_is_moved():
    content = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(50, 1)
    own = torch.randn(100, 4, generator=torch.Generator().manual_seed(0)) * 0.1
    of_attribute = torch.tensor([[1.0, 0, 0, 0], [0, 2.0, 0, 0]])
    items = {
        "item_vectors": torch.cat([own + content @ of_attribute, content], 1),
        "prior": (content @ torch.tensor([[-1.0, 3.0], [2.0, 5.0]])).T.contiguous(),
    }
    seen = np.arange(100) > 1
    items["item_vectors"][:2, :4] = -9.0
    items["prior"][:, :2] = -9.0
    placed = place_unseen(items, content, seen, d=4)
    torch.testing.assert_close(placed["item_vectors"][:2, :4], of_attribute, atol=0.1, rtol=0)
    # The items differ as those of their attributes do, around the mean that training gave them.
    torch.testing.assert_close(placed["prior"][:, :2], torch.tensor([[-10.5, -7.5], [-10, -8]]), atol=0.1, rtol=0)
    assert torch.equal(placed["item_vectors"][:, 4:], content)
    for name, rows in (("item_vectors", placed["item_vectors"][2:]), ("prior", placed["prior"].T[2:])):
        before = items[name][2:] if name == "item_vectors" else items[name].T[2:]
        assert torch.equal(rows, before)


def test_where_all_items_are_seen_nothing_changes():
    items = {"item_vectors": torch.ones(3, 2), "prior": torch.zeros(1, 3)}
    assert place_unseen(items, torch.eye(3), np.ones(3, dtype=bool), d=2) is items
