import numpy as np
import torch

from meta.content import content_matrix, learn_content
from meta.dataset import load
from meta.newcomers import newcomers


def test_the_map_finds_the_weights_of_tensors_that_are_made_of_content(made_up):
    world = load(made_up / "interactions.jsonl", made_up / "items.jsonl", made_up / "users.jsonl")
    content = learn_content(world.items)
    matrix = content_matrix(world.items, content)
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((matrix.shape[1], 3))
    noise = 0.05 * rng.standard_normal((world.n_items, 3))
    items = {
        "item_vectors": torch.from_numpy((matrix @ weights + noise).astype(np.float32)),
        "prior": torch.from_numpy(rng.standard_normal((4, world.n_items)).astype(np.float32)),
        "sample_vectors": torch.zeros(2, 3),  # no tensor with a row per item
    }
    maps = newcomers(items, world, content)
    assert set(maps) == {"content_to_item_vectors", "new_item_prior"}
    predicted = np.hstack([matrix, np.ones((world.n_items, 1))]) @ maps["content_to_item_vectors"].numpy()
    truth = matrix @ weights
    assert np.square(predicted - truth).mean() < 0.1 * np.square(truth - truth.mean(axis=0)).mean()
    assert maps["new_item_prior"].shape == (4,)
