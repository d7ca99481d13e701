"""What bias correction promises to whoever calls it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

from benchmarks.bias import breasts
from config.schema import Bias
from daemon.cli.bias import bias as command
from pipeline.bias import correct, log_field
from pipeline.bias.image_files import read_image, write_image
from pipeline.bias.n4_input import shrink_factors
from pipeline.errors import GeometryRejected, InputRejected, PixelsRejected
from pipeline.records import Volume

QUICK = Bias(iterations=(10, 5))


def filled(volume: Volume, value: float) -> Volume:
    return replace(volume, voxels_zyx=np.full(volume.voxels_zyx.shape, value, dtype=np.float32))


@pytest.fixture(scope="module")
def phantom() -> Volume:
    return breasts((16, 64, 72), (1.0, 1.0, 2.0))


@pytest.mark.parametrize("engine", ["fast", "simpleitk"])
def test_the_corrected_volume_is_the_image_over_the_exponential_of_the_log_field(phantom: Volume, engine: str) -> None:
    settings = QUICK.model_copy(update={"engine": engine})
    corrected, evidence = correct(phantom, settings)
    field, _ = log_field(phantom, settings)
    assert corrected.voxels_zyx.dtype == np.float32
    assert corrected.geometry == phantom.geometry
    np.testing.assert_allclose(corrected.voxels_zyx, phantom.voxels_zyx / np.exp(field), rtol=1e-6)
    assert evidence.engine == engine
    assert evidence.iterations == (10, 5)
    assert evidence.shrink_xyz == (4, 4, 4)
    assert evidence.deviations == ()


def test_one_tissue_becomes_more_even() -> None:
    volume = breasts((24, 96, 96), noise=2.0)
    corrected, _ = correct(volume, Bias())
    plain = breasts((24, 96, 96), noise=0.0).voxels_zyx
    fat = np.zeros(plain.shape, dtype=bool)
    fat[:, 84:, 6:-6] = True

    def variation(voxels: np.ndarray) -> float:
        return float(voxels[fat].std() / voxels[fat].mean())

    assert variation(corrected.voxels_zyx) < 0.75 * variation(volume.voxels_zyx)


def test_the_input_is_not_written_to(phantom: Volume) -> None:
    before = phantom.voxels_zyx.copy()
    correct(phantom, QUICK)
    assert np.array_equal(before, phantom.voxels_zyx)


def test_the_same_volume_gives_the_same_bits_again(phantom: Volume) -> None:
    assert np.array_equal(correct(phantom, QUICK)[0].voxels_zyx, correct(phantom, QUICK)[0].voxels_zyx)


def test_slabs_do_not_show(phantom: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = log_field(phantom, QUICK)
    monkeypatch.setattr("pipeline.bias.correction.SLAB_VOXELS", 1)
    sliced, _ = log_field(phantom, QUICK)
    np.testing.assert_allclose(sliced, whole, atol=1e-6)


@pytest.mark.parametrize(("samples", "factor"), [(2, 1), (3, 1), (4, 2), (5, 2), (7, 3), (8, 4), (448, 4)])
def test_an_axis_is_shrunk_only_while_two_samples_remain(samples: int, factor: int) -> None:
    factors, deviations = shrink_factors((samples, 64, 64), 4)
    assert factors == (4, 4, factor)
    assert len(deviations) == (factor < 4)
    assert all(str(samples) in d and "axis z" in d for d in deviations)


@pytest.mark.parametrize("engine", ["fast", "simpleitk"])
def test_seven_slices_are_corrected_and_the_deviation_is_told(engine: str) -> None:
    _, evidence = correct(breasts((7, 64, 64)), QUICK.model_copy(update={"engine": engine}))
    assert evidence.shrink_xyz == (4, 4, 3)
    assert evidence.deviations == ("axis z has 7 samples and was shrunk by 3 instead of 4",)


@pytest.mark.parametrize("engine", ["fast", "simpleitk"])
@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0.0, "bias-constant-image"),
        (7.5, "bias-constant-image"),
        (np.nan, "bias-not-finite"),
        (np.inf, "bias-not-finite"),
    ],
)
def test_a_constant_or_infinite_image_is_refused(phantom: Volume, engine: str, value: float, code: str) -> None:
    with pytest.raises(PixelsRejected) as refusal:
        correct(filled(phantom, value), QUICK.model_copy(update={"engine": engine}))
    assert refusal.value.code == code


def test_one_nan_is_enough_to_refuse(phantom: Volume) -> None:
    voxels = phantom.voxels_zyx.astype(np.float32)
    voxels[3, 4, 5] = np.nan
    with pytest.raises(PixelsRejected, match="NaN"):
        correct(replace(phantom, voxels_zyx=voxels), QUICK)


def test_a_single_slice_is_refused() -> None:
    with pytest.raises(GeometryRejected, match="one sample"):
        correct(breasts((1, 64, 64)), QUICK)


def test_a_bright_spot_between_the_samples_is_refused_by_name(phantom: Volume) -> None:
    voxels = np.zeros(phantom.voxels_zyx.shape, dtype=np.int16)
    voxels[0, 0, 0] = 1000
    with pytest.raises(PixelsRejected, match=r"bias\.shrink") as refusal:
        correct(replace(phantom, voxels_zyx=voxels), QUICK)
    assert refusal.value.uid == phantom.series_uid


def test_the_command_prints_what_it_did_and_writes_float32(phantom: Volume, tmp_path: Path) -> None:
    write_image(phantom, tmp_path / "in.nrrd")
    out = tmp_path / "out.nii.gz"
    done = CliRunner().invoke(command, [str(tmp_path / "in.nrrd"), str(out), "--engine", "simpleitk", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["iterations"][0] <= 50
    assert len(told["iterations"]) == 3
    assert told["mask_voxels"] > 0
    assert told["seconds"] >= 0
    assert told["engine"] == "simpleitk"
    image = sitk.ReadImage(str(out))
    assert image.GetPixelID() == sitk.sitkFloat32
    np.testing.assert_allclose(image.GetSpacing(), phantom.geometry.spacing_xyz_mm)
    np.testing.assert_allclose(image.GetOrigin(), phantom.geometry.origin_xyz_mm)


def test_the_command_tells_deviations_on_stderr_and_keeps_stdout_json(tmp_path: Path) -> None:
    write_image(breasts((6, 48, 48)), tmp_path / "thin.nrrd")
    done = CliRunner().invoke(command, [str(tmp_path / "thin.nrrd"), str(tmp_path / "out.nrrd"), "--json"])
    assert done.exit_code == 0
    assert "shrunk by 3" in done.stderr
    assert json.loads(done.stdout)["engine"] == "fast"


def test_what_is_no_volume_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "text.nrrd").write_text("nothing")
    with pytest.raises(InputRejected, match="not an image"):
        read_image(tmp_path / "text.nrrd")
    sitk.WriteImage(sitk.Image(8, 8, sitk.sitkUInt8), str(tmp_path / "flat.nrrd"))
    with pytest.raises(InputRejected, match="2 dimensions"):
        read_image(tmp_path / "flat.nrrd")
    with pytest.raises(InputRejected, match="cannot write"):
        write_image(breasts((2, 8, 8)), tmp_path / "out.nonsense")
