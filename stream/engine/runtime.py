"""Runs the graphs of a bundle with onnxruntime on the CPU."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from schemas.errors import BundleError

_DTYPES = {"tensor(float)": np.dtype(np.float32), "tensor(int64)": np.dtype(np.int64)}

Array = NDArray[Any]


class Graph(NamedTuple):
    """A session, the tensors bound to it, the features it asks for, and the outputs to take from it."""

    session: Any
    bound: dict[str, Array]
    features: tuple[str, ...]
    outputs: tuple[str, ...]
    where: str


def open_graph(
    data: bytes,
    where: str,
    *,
    tensors: Mapping[str, Array],
    offered: Collection[str],
    outputs: Sequence[str],
    threads: int,
) -> Graph:
    """Open a graph and bind its inputs: each is a tensor or one of the `offered` features.

    Raises BundleError for a graph that cannot be opened, an input that is neither, one of another dtype than its
    tensor, and a missing output. `where` names the file.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no other base
        raise BundleError(f"{where} is no graph that runs here: {_line(error)}; export the model again") from error
    bound, features = {}, []
    for node in session.get_inputs():
        if node.name in tensors:
            bound[node.name] = tensors[node.name]
            if _DTYPES.get(node.type) != tensors[node.name].dtype:
                raise BundleError(f"{where}: input {node.name} is {node.type}, its tensor is not; export it again")
        elif node.name in offered:
            features.append(node.name)
        else:
            raise BundleError(
                f"{where} asks for input {node.name}, which is neither a tensor of the bundle nor a feature that this "
                "build offers: upgrade fewstep or export for this version"
            )
    missing = set(outputs) - {node.name for node in session.get_outputs()}
    if missing:
        raise BundleError(f"{where} has no output {min(missing)}: export the model again")
    return Graph(session, bound, tuple(features), tuple(outputs), where)


def run_graph(graph: Graph, features: Mapping[str, Array]) -> list[Array]:
    """Run a batch; gives the outputs in the order they were asked for. Raises BundleError where the run fails.

    Bound tensors are passed as arrays, which onnxruntime reads in place: measured faster than an I/O binding.
    """
    fed = graph.bound | {name: features[name] for name in graph.features}
    try:
        found: list[Array] = graph.session.run(graph.outputs, fed)
    except Exception as error:  # as above
        raise BundleError(f"{graph.where} failed on a batch: {_line(error)}; export the model again") from error
    return found


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
