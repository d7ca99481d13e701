"""The recipe of the demonstration model: a tiny network that is trained on phantoms in seconds, as ONNX with its card.

    .venv/bin/python -m tests.support.proposal_model FOLDER

It shows how a site's own model is brought in (docs/proposals.md) and knows no patient. No weights are shipped.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.neural_network import MLPClassifier

from pipeline.geometry import Geometry
from pipeline.phantom import anatomy
from pipeline.phantom.signal import Scene
from pipeline.phantom.spec import PhantomSpec
from pipeline.proposal.model import _channel, _grid, _on
from pipeline.proposal.model_card import ModelCard
from pipeline.records import Volume

Floats = npt.NDArray[np.float32]
NAME, VERSION = "phantom tumour demonstration", "1"
SEEDS = (101, 102, 103)
HIDDEN, REACHES = 8, (1, 4)
# Of voxels that are no tumour, so many for each that is one.
_NEGATIVES = 6
CARD = """\
name = "{name}"
version = "{version}"
file = "model.onnx"
sha256 = "{sha256}"
demonstration = true

[input]
sequences = ["t1c", "before"]
spacing_mm = [2.0, 2.0, 2.0]
normalisation = "zscore"
patch = [48, 48, 32]
overlap = 0.5
weights = "gaussian"

[output]
activation = "sigmoid"
threshold = 0.5
least_cc = 0.2

[[output.channel]]
index = 0
role = "tumor"
"""


def train(folder: Path, seeds: Sequence[int] = SEEDS) -> Path:
    """Train on the phantoms of these seeds; the path of the card. Equal seeds give equal bytes."""
    blank = ModelCard.model_validate(_content("0" * 64))
    samples = [_samples(seed, blank) for seed in seeds]
    features, labels = (np.concatenate(part) for part in zip(*samples, strict=True))
    network = MLPClassifier((HIDDEN,), max_iter=60, random_state=0, early_stopping=False, tol=0.0, n_iter_no_change=100)
    with np.errstate(all="ignore"):
        _fit(network, features, labels)
    return write(folder, network_model(network))


def write(folder: Path, model: onnx.ModelProto, card: str = CARD, name: str = NAME) -> Path:
    """Model and card into a folder; the path of the card."""
    folder.mkdir(parents=True, exist_ok=True)
    data = model.SerializeToString(deterministic=True)
    (folder / "model.onnx").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    (folder / "card.toml").write_text(card.format(name=name, version=VERSION, sha256=digest), encoding="utf-8")
    return folder / "card.toml"


def _content(digest: str) -> dict[str, object]:
    import tomllib

    return tomllib.loads(CARD.format(name=NAME, version=VERSION, sha256=digest))


def _fit(network: MLPClassifier, features: Floats, labels: npt.NDArray[np.bool_]) -> None:
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(features, labels)


def _samples(seed: int, card: ModelCard) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Neighbourhoods of two reaches around voxels of one phantom, and whether each is in the tumour."""
    spec = PhantomSpec(seed, preset="small")
    drawn = spec.drawn()
    body = anatomy.make(spec, drawn)
    grid = anatomy.grid(spec, drawn, spec.grids.t1_matrix, drawn.t1_spacing_mm)
    scene = Scene.on(body, drawn, grid)
    t1c, before = (Volume(scene.t1(p, spec.rng(f"noise t1 {p}")), grid, f"1.{p}") for p in (1, 0))
    coarse: Geometry = _grid(card.input, grid)
    stack = np.stack([_channel(volume, t1c, coarse, card.input) for volume in (t1c, before)])
    tumor = _on(scene.lesion_mask(body.tumor).astype(np.float32), grid, coarse) >= 0.5
    rng = np.random.default_rng(seed)
    outside = np.flatnonzero(~tumor)
    chosen = np.concatenate([np.flatnonzero(tumor), rng.choice(outside, _NEGATIVES * int(tumor.sum()), replace=False)])
    at = np.stack(np.unravel_index(chosen, tumor.shape))
    reach = max(REACHES)
    padded = np.pad(stack, [(0, 0), *[(reach, reach)] * 3])
    columns = [
        padded[channel, at[0] + reach + dz * r, at[1] + reach + dy * r, at[2] + reach + dx * r]
        for r in REACHES
        for channel in range(2)
        for dz in (-1, 0, 1)
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    ]
    return np.stack(columns, axis=1).astype(np.float32), tumor.ravel()[chosen]


def network_model(network: MLPClassifier) -> onnx.ModelProto:
    """Two convolutions of different reach, their sum, a rectifier, and one value per voxel."""
    (first, last), (bias, end) = network.coefs_, network.intercepts_
    size = 2 * 27
    tensors = {
        **{f"w{n}": first[n * size : (n + 1) * size].T.reshape(HIDDEN, 2, 3, 3, 3) for n in range(len(REACHES))},
        "b0": bias,
        "w": last.T.reshape(1, HIDDEN, 1, 1, 1),
        "b": end,
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["a0"], pads=[1] * 6),
        helper.make_node("Conv", ["x", "w1"], ["a1"], pads=[4] * 6, dilations=[4] * 3),
        helper.make_node("Add", ["a0", "a1"], ["a"]),
        helper.make_node("Relu", ["a"], ["h"]),
        helper.make_node("Conv", ["h", "w", "b"], ["y"]),
    ]
    return model_of(nodes, {name: np.asarray(value, np.float32) for name, value in tensors.items()}, channels=2)


def model_of(nodes: Sequence[onnx.NodeProto], tensors: dict[str, Floats], channels: int) -> onnx.ModelProto:
    """A model of these nodes, from `x` to `y`."""
    shape, result = [1, channels, "z", "y", "x"], ["n", "c", "z", "y", "x"]
    graph = helper.make_graph(
        list(nodes),
        "proposal",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, result)],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


if __name__ == "__main__":
    print(train(Path(sys.argv[1])))
