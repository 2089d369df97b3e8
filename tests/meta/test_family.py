"""Every member of the family: trained for a moment, exported, and served from the same contract."""

import functools

import numpy as np
import onnxruntime as ort
import pytest
import torch

from meta.algorithms import Algorithm
from meta.config import TrainingConfig
from meta.dataset import Dataset, load
from meta.export import export_adapt, export_score
from meta.supports import first_events
from meta.training import Trained, as_scorer, train

SMALL = {"d": 6, "epochs": 2, "validate_every": 2, "negatives": 16}
RECIPES = {
    **{algorithm.value: {"algorithm": algorithm} for algorithm in Algorithm},
    "bce": {"ranking_loss": "bce"},
    "sampled": {"exact_items": 20, "exact_inner_items": 20, "sampled_items": 30},
    "switches": {"agreement": 3, "sliding_share": 0.5, "spliced_share": 0.5, "exact_inner_items": 20},
    "rating": {"objective": "rating"},
    "rating, pooled": {"objective": "rating", "algorithm": "amortized"},
}


@pytest.fixture(scope="module")
def data_of(world, rated):
    ratings = load(rated / "interactions.jsonl", rated / "items.jsonl", rated / "users.jsonl")
    return lambda name: ratings if name.startswith("rating") else world


@pytest.fixture(scope="module")
def trained(data_of):
    """Trains each recipe once."""
    return functools.cache(lambda name: train(data_of(name), TrainingConfig(**SMALL, **RECIPES[name]), seed=1))


def run(graph: bytes, tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, {node.name: tensors[node.name] for node in session.get_inputs()})


_graphs: dict[str, bytes] = {}


def graph_of(found: Trained) -> bytes:
    """`adapt.onnx`; recipes whose tensors have the same names and shapes share one, as it holds no weights."""
    shape = str([(name, tuple(each.shape)) for name, each in sorted((found.theta | found.items).items())])
    if shape not in _graphs:
        _graphs[shape] = export_adapt(found.theta, found.items)
    return _graphs[shape]


def served(found: Trained, world: Dataset, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the exported graphs say about 20 users: user vectors, support vectors, scores."""
    supports = first_events(world, np.arange(20), k)
    times = np.maximum(np.searchsorted(found.prior_times, supports.now_ms, side="right") - 1, 0)
    tensors = {name: tensor.numpy() for name, tensor in (found.theta | found.items).items()}
    tensors |= supports._asdict() | {"time_index": times}
    users, vectors = run(graph_of(found), tensors)
    (scores,) = run(export_score(users.shape[1]), tensors | {"user_vector": users})
    return users, vectors, scores


@pytest.mark.parametrize("name", RECIPES)
def test_the_graphs_agree_with_torch_and_give_a_part_to_each_event(name, trained, data_of):
    found, world = trained(name), data_of(name)
    _, vectors, scores = served(found, world, 5)
    if found.rating_range is not None:
        scores = scores.clip(*found.rating_range)
    expected = as_scorer(found).score(first_events(world, np.arange(20), 5))
    np.testing.assert_allclose(scores, expected, atol=1e-4, rtol=0)
    without = as_scorer(found).score(first_events(world, np.arange(20), 0))
    assert np.abs(expected - without).max() > 1e-3, "the support set says nothing"
    assert (np.abs(vectors).max(axis=2) > 0).mean() > 0.5


@pytest.mark.parametrize("name", RECIPES)
def test_two_trainings_with_one_seed_give_equal_tensors(name, trained, data_of):
    again = train(data_of(name), TrainingConfig(**SMALL, **RECIPES[name]), seed=1)
    first = trained(name)
    for one, other in ((first.theta, again.theta), (first.items, again.items)):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
