"""Turns the inner loop into ONNX graphs whose weights are inputs, so that a refresh swaps tensors and not graphs."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from meta.inner import Support, Tensors, adapt
from schemas.errors import BundleError

OPSET = 20

_FEEDS = ("support_items", "support_mask", "support_kind", "user_features", "time_index")
_THETA = (
    "start",
    "user_weights",
    "attention_key",
    "position_logits",
    "kind_logits",
    "value_map",
    "saturation",
    "kind_weights",
    "step_sizes",
    "step_decays",
    "support_power",
    "switch_logits",
    "agreement_older",
    "agreement_newer",
    "trust",
    "kind_ratings",
    "shrinkage",
)

# Example sizes: none is 0 or 1, which the exporter would take for constants, and no two are equal.
_BATCH, _SUPPORT, _N_ITEMS, _TIMES, _SAMPLE = 3, 5, 11, 7, 13


class _Adapt(nn.Module):
    def forward(
        self,
        support_items: Tensor,
        support_mask: Tensor,
        support_kind: Tensor,
        user_features: Tensor | None,
        time_index: Tensor,
        theta: Tensors,
        items: Tensors,
    ) -> tuple[Tensor, Tensor]:
        support = Support(support_items, support_mask, support_kind, user_features)
        prior = items["sample_prior"] if "sample_prior" in items else items["prior"]
        adapted = adapt(support, functional.embedding(time_index, prior), theta=theta, items=items)
        return adapted.user_vector, adapted.support_vectors


class _Score(nn.Module):
    def forward(self, user_vector: Tensor, time_index: Tensor, item_vectors: Tensor, prior: Tensor) -> Tensor:
        return user_vector @ item_vectors.T + functional.embedding(time_index, prior)


def export_adapt(theta: Tensors, items: Tensors) -> bytes:
    """`adapt.onnx` for tensors of these names and shapes; batch, support, item rows, rows of the sample and of the
    prior are symbolic. Where there is a sample, the graph's work does not depend on the size of the catalog.

    Raises BundleError where the exporter froze one of them.
    """
    features = torch.zeros(_BATCH, theta["user_weights"].shape[0]) if "user_weights" in theta else None
    feeds = (
        torch.zeros(_BATCH, _SUPPORT, dtype=torch.int64),
        torch.ones(_BATCH, _SUPPORT),
        torch.zeros(_BATCH, _SUPPORT, dtype=torch.int64),
        features,
        torch.zeros(_BATCH, dtype=torch.int64),
    )
    batch, support, n_items, times, rows = (
        torch.export.Dim(name) for name in ("batch", "support", "n_items", "times", "sampled")
    )
    events = {0: batch, 1: support}
    width = items["item_vectors"].shape[1]
    every = {
        "item_vectors": (torch.zeros(_N_ITEMS, width), {0: n_items}),
        "item_keys": (torch.zeros(_N_ITEMS, items.get("item_keys", torch.zeros(0, 1)).shape[1]), {0: n_items}),
        "prior": (torch.zeros(_TIMES, _N_ITEMS), {0: times, 1: n_items}),
        "sample_vectors": (torch.zeros(_SAMPLE, width), {0: rows}),
        "sample_prior": (torch.zeros(_TIMES, _SAMPLE), {0: times, 1: rows}),
    }
    # The inner loop reads a sample in place of the whole catalog's prior.
    used = {name: every[name] for name in every if name in items and (name != "prior" or "sample_prior" not in items)}
    ordered = {name: theta[name] for name in _THETA if name in theta}
    shapes = (
        events,
        events,
        events,
        None if features is None else {0: batch},
        {0: batch},
        dict.fromkeys(ordered),
        {name: dims for name, (_, dims) in used.items()},
    )
    names = [name for name in _FEEDS if features is not None or name != "user_features"] + [*ordered, *used]
    examples = {name: example for name, (example, _) in used.items()}
    model = _export(
        _Adapt(), (*feeds, ordered, examples), shapes, inputs=names, outputs=("user_vector", "support_vectors")
    )
    symbolic = dict.fromkeys(("support_items", "support_mask", "support_kind"), (0, 1))
    _check_symbolic(
        model,
        symbolic
        | {"time_index": (0,), "user_features": (0,)}
        | {name: tuple(dims) for name, (_, dims) in used.items()},
    )
    return bytes(model.SerializeToString(deterministic=True))


def export_score(d: int) -> bytes:
    """`score.onnx` for user vectors of d numbers. Raises BundleError where the exporter froze a dimension."""
    batch, n_items, times = (torch.export.Dim(name) for name in ("batch", "n_items", "times"))
    inputs = (
        torch.zeros(_BATCH, d),
        torch.zeros(_BATCH, dtype=torch.int64),
        torch.zeros(_N_ITEMS, d),
        torch.zeros(_TIMES, _N_ITEMS),
    )
    names = ("user_vector", "time_index", "item_vectors", "prior")
    shapes = ({0: batch}, {0: batch}, {0: n_items}, {0: times, 1: n_items})
    model = _export(_Score(), inputs, shapes, inputs=names, outputs=("scores",))
    _check_symbolic(model, {"user_vector": (0,), "time_index": (0,), "item_vectors": (0,), "prior": (0, 1)})
    return bytes(model.SerializeToString(deterministic=True))


def _export(
    module: nn.Module,
    arguments: tuple[object, ...],
    shapes: tuple[object, ...],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> onnx.ModelProto:
    """Export without a word on the terminal, and without the source paths that the exporter leaves in the nodes."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), _quiet_logging():
        warnings.simplefilter("ignore")
        # torch.onnx.export alone succeeds with a frozen batch size; torch.export.export refuses to.
        program = torch.export.export(module, arguments, dynamic_shapes=shapes)
        exported = torch.onnx.export(
            program, input_names=inputs, output_names=outputs, opset_version=OPSET, dynamo=True, verbose=False
        )
    if exported is None:
        raise BundleError(f"the exporter gave no graph for {', '.join(outputs)}; check the versions of torch and onnx")
    model = exported.model_proto
    for part in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.functions):
        part.doc_string = ""
        del part.metadata_props[:]
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return model


@contextlib.contextmanager
def _quiet_logging() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _check_symbolic(model: onnx.ModelProto, expected: Mapping[str, Sequence[int]]) -> None:
    for graph_input in model.graph.input:
        dims = graph_input.type.tensor_type.shape.dim
        for axis in expected.get(graph_input.name, ()):
            if not dims[axis].dim_param:
                raise BundleError(
                    f"dimension {axis} of graph input {graph_input.name} is fixed to {dims[axis].dim_value}; it has to"
                    " be symbolic: check the versions of torch and onnxscript"
                )
