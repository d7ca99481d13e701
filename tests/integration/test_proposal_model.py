"""A site's own model in the process that runs it: what it finds, and what it may not do."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.errors import ExamRejected
from pipeline.geometry import Geometry
from pipeline.phantom import anatomy
from pipeline.phantom.signal import Scene
from pipeline.phantom.spec import PhantomSpec
from pipeline.proposal import model_child
from pipeline.proposal.model import model_regions
from pipeline.proposal.model_card import ModelCard, SiteModel, load_model
from pipeline.proposal.model_child import Limits, run_model
from pipeline.records import Volume
from tests.support.proposal_model import model_of, train

LIMITS = Limits(memory_bytes=1 << 30, cpu_s=60, wall_s=120)
Changed = Callable[[onnx.ModelProto], None]


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> SiteModel:
    return load_model(train(tmp_path_factory.mktemp("model")))


def site_model(model: onnx.ModelProto, **output: object) -> SiteModel:
    """A model with one input channel and patches of 8 x 8 x 8."""
    data = model.SerializeToString()
    content = {
        "name": "test", "version": "1", "file": "m.onnx", "sha256": hashlib.sha256(data).hexdigest(),
        "input": {"sequences": ["t1c"], "spacing_mm": [2.0, 2.0, 2.0], "normalisation": "none", "patch": [8, 8, 8]},
        "output": {"activation": "none", "least_cc": 0.0, "channel": [{"index": 0, "role": "tumor"}], **output},
    }  # fmt: skip
    return SiteModel(ModelCard.model_validate(content), data)


def identity() -> onnx.ModelProto:
    return model_of([helper.make_node("Identity", ["x"], ["y"])], {}, channels=1)


def constant(value: npt.NDArray[np.float32]) -> onnx.ModelProto:
    """A model that always gives the same."""
    return model_of([helper.make_node("Identity", ["w"], ["y"])], {"w": value}, channels=1)


VOLUME = np.random.default_rng(0).random((1, 12, 10, 9)).astype(np.float32)


def why(model: SiteModel, volume: npt.NDArray[np.float32] = VOLUME, limits: Limits = LIMITS) -> str:
    with pytest.raises(ExamRejected) as error:
        run_model(model, volume, limits)
    assert error.value.code == "model-failed"
    return error.value.message


def test_what_the_model_gives_is_put_together_from_patches_and_is_equal_each_time() -> None:
    one, other = (run_model(site_model(identity()), VOLUME, LIMITS) for _ in range(2))
    assert np.array_equal(one, other)
    assert np.allclose(one, VOLUME, atol=1e-5)


def test_the_demonstration_finds_the_tumour_of_a_phantom_that_it_was_not_trained_on(demonstration: SiteModel) -> None:
    spec = PhantomSpec(7, preset="small")
    body = anatomy.make(spec, spec.drawn())
    grid = anatomy.grid(spec, spec.drawn(), spec.grids.t1_matrix, spec.drawn().t1_spacing_mm)
    scene = Scene.on(body, spec.drawn(), grid)
    t1c, before = (Volume(scene.t1(p, spec.rng(f"noise t1 {p}")), grid, f"1.{p}") for p in (1, 0))
    regions, _ = model_regions(demonstration, {"t1c": t1c, "before": before}, LIMITS)
    truth = scene.lesion_mask(body.tumor)
    (region,) = regions
    assert 2 * (region.mask & truth).sum() / (region.mask.sum() + truth.sum()) > 0.5
    assert (region.origin, region.verdict, region.demonstration) == ("model", "doubtful", True)
    assert "demonstration" in region.words
    again, _ = model_regions(demonstration, {"t1c": t1c, "before": before}, LIMITS)
    assert np.array_equal(again[0].mask, region.mask)
    with pytest.raises(ExamRejected, match="the model reads before, which this exam does not have"):
        model_regions(demonstration, {"t1c": t1c}, LIMITS)


def test_training_again_gives_the_same_bytes(demonstration: SiteModel, tmp_path: Path) -> None:
    assert load_model(train(tmp_path)).onnx == demonstration.onnx


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((1, 1, 8, 8, 7), "shape 1 x 1 x 8 x 8 x 7"),
        ((1, 8, 8, 8), "shape 1 x 8 x 8 x 8"),
        ((2, 1, 8, 8, 8), "shape 2 x 1 x 8 x 8 x 8"),
        ((1, 80, 8, 8, 8), "shape 1 x 80"),
    ],
)
def test_an_output_of_another_shape_is_refused(shape: tuple[int, ...], text: str) -> None:
    model = constant(np.zeros(shape, np.float32))
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a"] * len(shape)))
    assert text in why(site_model(model))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("activation", ["none", "sigmoid", "softmax"])
def test_values_that_are_no_numbers_are_refused(value: float, activation: str) -> None:
    output = np.zeros((1, 2, 8, 8, 8), np.float32)
    output[0, 0, 3, 3, 3] = value
    assert "values that are no numbers" in why(site_model(constant(output), activation=activation))


def test_values_that_are_no_probabilities_and_channels_that_are_not_there_are_refused() -> None:
    assert "no probabilities" in why(site_model(constant(np.full((1, 1, 8, 8, 8), 3.0, np.float32))))
    channel = [{"index": 5, "role": "tumor"}]
    assert "the card names number 5" in why(site_model(identity(), channel=channel))


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer.add()
    tensor.CopyFrom(numpy_helper.from_array(np.zeros(4, np.float32), "w"))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../../etc/passwd"


def external_in_a_subgraph(model: onnx.ModelProto) -> None:
    inner = onnx.ModelProto()
    external(inner)
    node = model.graph.node.add()
    node.CopyFrom(helper.make_node("If", ["x"], ["z"]))
    attribute = node.attribute.add()
    attribute.name, attribute.type = "then_branch", onnx.AttributeProto.GRAPH
    attribute.g.CopyFrom(inner.graph)


def foreign_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def operator_of_no_domain_imported(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"


def new_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 9999


def function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Identity", ["a"], ["b"])
    made = helper.make_function("own", "F", ["a"], ["b"], [node], [helper.make_opsetid("", 17)])
    model.functions.append(made)


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (external, "weights in other files"),
        (external_in_a_subgraph, "weights in other files"),
        (foreign_operator, "operators of com.example"),
        (operator_of_no_domain_imported, "operators of com.microsoft"),
        (new_opset, "opset 9999"),
        (function, "functions of its own"),
        (second_input, "2 inputs and 1 outputs"),
    ],
)
def test_a_model_that_could_do_more_than_compute_is_not_run(change: Changed, text: str) -> None:
    model = identity()
    change(model)
    assert text in why(site_model(model))


def test_bytes_that_are_no_model_are_refused() -> None:
    model = site_model(identity())
    for data in (b"", b"\xff" * 100, b"PK\x03\x04" + bytes(50), model.onnx[:-7]):
        assert why(SiteModel(model.card, data))


def test_a_small_file_that_asks_for_terabytes_is_ended_and_the_exam_goes_on() -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["n"], ["big"], value=numpy_helper.from_array(np.ones(1, np.float32))),
        helper.make_node("ReduceMax", ["big"], ["top"], keepdims=0),
        helper.make_node("Mul", ["x", "top"], ["y"]),
    ]
    model = model_of(nodes, {"n": np.zeros(1, np.float32)}, channels=1)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([1 << 40], np.int64), "n"))
    text = why(site_model(model), limits=Limits(256 << 20, 30, 60))
    assert "memory" in text or "cannot run it" in text or "ended with" in text


def test_a_model_that_never_ends_is_ended() -> None:
    """A loop of 2⁶² steps."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Identity", ["v"], ["v2"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("c2", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v2", TensorProto.FLOAT, None),
        ],
    )
    for one in (*body.input, *body.output):
        if not one.type.tensor_type.HasField("shape"):
            one.CopyFrom(helper.make_tensor_value_info(one.name, TensorProto.FLOAT, ["n", "k", "z", "y", "x"]))
    model = model_of([helper.make_node("Loop", ["n", "go", "x"], ["y"], body=body)], {}, channels=1)
    model.graph.initializer.append(numpy_helper.from_array(np.array(1 << 62, np.int64), "n"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "go"))
    text = why(site_model(model), limits=Limits(1 << 30, 2, 300))
    assert "more than 2 s of processor time" in text or "was killed, for more time" in text


def test_memory_that_is_not_enough_is_told() -> None:
    big = np.zeros((1, 200, 400, 400), np.float32)
    text = why(site_model(identity()), big, Limits(64 << 20, 60, 120))
    assert "memory" in text or "ended with" in text


def test_a_model_that_only_waits_is_ended_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_child, "COMMAND", (sys.executable, "-c", "import time; time.sleep(10**6)"))
    assert "longer than 1 s" in why(site_model(identity()), limits=Limits(1 << 30, 60, 1))


@pytest.mark.parametrize("answer", ["", "0000", "'\\xff' * 9", "'\\x02\\0\\0\\0{}'"])
def test_an_answer_that_is_none_is_not_believed(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    program = f"import sys; sys.stdin.buffer.read(); sys.stdout.write(str({answer or chr(39) * 2}))"
    monkeypatch.setattr(model_child, "COMMAND", (sys.executable, "-c", program))
    assert "no answer that can be read" in why(site_model(identity()))


def test_regions_are_split_by_side_and_nodes_are_numbered() -> None:
    grid = Geometry((20, 40, 200), (2.0, 2.0, 2.0), (-200.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0), "1.2")
    voxels = np.zeros(grid.shape_zyx, np.float32)
    for x in (20, 60, 160):
        voxels[8:12, 18:22, x : x + 4] = 1.0
    voxels[8:12, 18:22, 98:102] = 1.0  # on the midline
    t1c = Volume(voxels, grid, "1.1")
    channel = [{"index": 0, "role": "lymph_nodes"}]
    regions, notes = model_regions(site_model(identity(), channel=channel), {"t1c": t1c}, LIMITS)
    assert [r.label for r in regions] == ["Lymph node 1, right", "Lymph node 2, right", "Lymph node 1, left"]
    assert any("near the midline" in note for note in notes)
    tumors, _ = model_regions(site_model(identity()), {"t1c": t1c}, LIMITS)
    assert sorted(r.label for r in tumors) == ["Tumor, left", "Tumor, right"]
