import functools

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from meta import export
from meta.config import TrainingConfig
from meta.inner import Support, adapt
from meta.known import Known
from meta.model import Initialization, detached
from schemas.errors import BundleError

N_ITEMS, D, KINDS, TIMES = 200, 16, 5, 9


@functools.cache
def made(n_features: int, inner_steps: int = 3):
    """Random served tensors and their adapt.onnx; the export takes seconds, so it is made once."""
    generator = torch.Generator().manual_seed(4)
    known = Known(torch.rand(N_ITEMS, 5, generator=generator), n_features, torch.ones(KINDS))
    model = Initialization(TrainingConfig(d=D, inner_steps=inner_steps), known, generator=generator)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    prior = torch.randn(TIMES, N_ITEMS, generator=generator)
    theta, items = detached(model.theta()), detached(model.items() | {"prior": prior})
    return theta, items, export.export_adapt(theta, items)


def drawn(batch: int, width: int, n_features: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(batch + width)
    feeds = {
        "support_items": torch.randint(0, N_ITEMS, (batch, width), generator=generator),
        "support_mask": (torch.rand(batch, width, generator=generator) > 0.3).float(),
        "support_kind": torch.randint(0, KINDS, (batch, width), generator=generator),
        "time_index": torch.randint(0, TIMES, (batch,), generator=generator),
    }
    feeds["support_mask"][: batch // 3] = 0
    if n_features:
        feeds["user_features"] = torch.rand(batch, n_features, generator=generator)
    return feeds


@functools.cache
def opened(graph: bytes, threads: int = 1) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run(graph: bytes, tensors: dict[str, torch.Tensor], threads: int = 1) -> list[np.ndarray]:
    session = opened(graph, threads)
    return session.run(None, {node.name: tensors[node.name].numpy() for node in session.get_inputs()})


@functools.cache
def score_graph() -> bytes:
    return export.export_score(D)


@pytest.mark.parametrize("n_features", [0, 4])
@pytest.mark.parametrize("batch", [1, 3, 256])
@pytest.mark.parametrize("width", [0, 1, 50])
def test_the_graphs_agree_with_torch(n_features, batch, width):
    theta, items, graph = made(n_features)
    feeds = drawn(batch, width, n_features)
    prior = items["prior"][feeds["time_index"]]
    support = Support(*(feeds.get(name) for name in ("support_items", "support_mask", "support_kind", "user_features")))
    expected = adapt(support, prior, theta=theta, items=items)
    user_vector, support_vectors = run(graph, theta | items | feeds)
    np.testing.assert_allclose(user_vector, expected.user_vector, atol=1e-5, rtol=0)
    np.testing.assert_allclose(support_vectors, expected.support_vectors, atol=1e-5, rtol=0)
    scores = run(score_graph(), items | feeds | {"user_vector": torch.from_numpy(user_vector)})[0]
    np.testing.assert_allclose(scores, expected.user_vector @ items["item_vectors"].T + prior, atol=1e-5, rtol=0)


def test_the_control_without_steps_exports_too():
    theta, items, graph = made(0, inner_steps=0)
    feeds = drawn(8, 6, 0)
    used = {node.name for node in opened(graph).get_inputs()}
    assert used <= set(theta | items | feeds)
    support = Support(feeds["support_items"], feeds["support_mask"], feeds["support_kind"], None)
    expected = adapt(support, items["prior"][feeds["time_index"]], theta=theta, items=items)
    np.testing.assert_allclose(run(graph, theta | items | feeds)[0], expected.user_vector, atol=1e-5, rtol=0)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_user_adapts_to_the_same_bits_in_every_batch(threads):
    theta, items, graph = made(4)
    feeds = drawn(256, 32, 4)
    whole = run(graph, theta | items | feeds, threads)
    for rows in (range(8), range(40, 56), range(255, 231, -1)):
        part = {name: feed[list(rows)] for name, feed in feeds.items()}
        alone = run(graph, theta | items | part, threads)
        for found, expected in zip(alone, whole, strict=True):
            assert (found == expected[list(rows)]).all()
        scored = [
            run(score_graph(), items | {"time_index": times, "user_vector": torch.from_numpy(users)}, threads)[0]
            for times, users in ((part["time_index"], alone[0]), (feeds["time_index"], whole[0]))
        ]
        assert (scored[0] == scored[1][list(rows)]).all()


def test_the_weights_are_inputs_and_nothing_is_baked_in():
    theta, items, graph = made(4)
    model = onnx.load_model_from_string(graph)
    feeds = {"support_items", "support_mask", "support_kind", "user_features", "time_index"}
    assert {node.name for node in model.graph.input} == set(theta) | set(items) | feeds
    assert [node.name for node in model.graph.output] == ["user_vector", "support_vectors"]
    assert sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer) < 100
    assert not {node.op_type for node in model.graph.node} & {"Loop", "Scan", "If", "ScatterND", "ScatterElements"}


def test_another_catalog_needs_no_other_graph():
    theta, items, graph = made(0)
    fewer = {name: items[name][:70] for name in ("item_vectors", "item_keys")} | {"prior": items["prior"][:4, :70]}
    feeds = drawn(8, 5, 0)
    feeds["support_items"] %= 70
    feeds["time_index"] %= 4
    support = Support(feeds["support_items"], feeds["support_mask"], feeds["support_kind"], None)
    expected = adapt(support, fewer["prior"][feeds["time_index"]], theta=theta, items=fewer)
    np.testing.assert_allclose(run(graph, theta | fewer | feeds)[0], expected.user_vector, atol=1e-5, rtol=0)


def test_a_frozen_batch_size_is_refused(monkeypatch):
    monkeypatch.setattr(torch.export, "Dim", lambda name: None)
    with pytest.raises(BundleError, match=r"dimension 0 of graph input user_vector is fixed to 3"):
        export.export_score(D)


def test_the_exporter_is_quiet_and_leaves_no_source_paths(capfd):
    graph = export.export_score(D)
    written = capfd.readouterr()
    assert written.out == written.err == ""
    assert b".py" not in graph
