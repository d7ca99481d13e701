"""Whether an ONNX model may be run: one file, known operators, one input and one output.

The bytes are parsed in the limited process alone, since parsing takes memory as running does.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx

DOMAINS = ("", "ai.onnx")
# Of the operators' standard: the oldest has what networks of 2016 use.
OLDEST_OPSET = 7
MOST_NODES = 50_000


class ModelRefused(ValueError):
    """The model is not run; the text says why."""


def checked(data: bytes) -> onnx.ModelProto:
    """Raises ModelRefused."""
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:
        raise ModelRefused("it is no ONNX model") from error
    newest = onnx.defs.onnx_opset_version()
    for opset in model.opset_import:
        if opset.domain not in DOMAINS:
            raise ModelRefused(f"it has operators of {_word(opset.domain)}; only those of ONNX itself are run")
        if not OLDEST_OPSET <= opset.version <= newest:
            raise ModelRefused(f"it is of opset {opset.version}; {OLDEST_OPSET} to {newest} are run")
    if len(model.functions):
        raise ModelRefused("it defines functions of its own, which are not run")
    if len(model.training_info):
        raise ModelRefused("it holds training steps, which are not run")
    nodes = 0
    for graph in _graphs(model.graph):
        nodes += len(graph.node)
        if nodes > MOST_NODES:
            raise ModelRefused(f"it has more than {MOST_NODES} nodes")
        for node in graph.node:
            if node.domain not in DOMAINS:
                raise ModelRefused(f"it has operators of {_word(node.domain)}; only those of ONNX itself are run")
        if any(_is_external(tensor) for tensor in _tensors(graph)):
            raise ModelRefused("it keeps weights in other files; they must stand in the model itself")
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in given]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise ModelRefused(f"it has {len(inputs)} inputs and {len(model.graph.output)} outputs; one of each is needed")
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        raise ModelRefused("ONNX's own checker refuses it") from error
    return model


def _word(domain: str) -> str:
    return "".join(c for c in domain[:40] if c.isprintable())


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph and those in its nodes (If, Loop, Scan)."""
    open_ones = [graph]
    while open_ones:
        one = open_ones.pop()
        yield one
        for node in one.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    open_ones.append(attribute.g)
                open_ones += attribute.graphs


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("sparse_tensor"):
                yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
            for sparse in attribute.sparse_tensors:
                yield from (sparse.values, sparse.indices)


def _is_external(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data) > 0
