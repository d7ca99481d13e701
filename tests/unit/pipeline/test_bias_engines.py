"""The fast engine gives SimpleITK's iteration counts and log field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from benchmarks.bias import breasts, own_change, read_series
from config.schema import Bias
from pipeline.bias import fast_n4, log_field, otsu
from pipeline.bias.image_files import read_image
from pipeline.errors import ExamRejected
from pipeline.records import Volume

FEW = 2_000
CLOSE = 1e-4


def check_fields_agree(volume: Volume, settings: Bias | None = None) -> float:
    """Assert equal iterations and return the largest difference of the log fields in the mask."""
    settings = settings or Bias()
    ours, our_evidence = log_field(volume, settings.model_copy(update={"engine": "fast"}))
    reference, evidence = log_field(volume, settings.model_copy(update={"engine": "simpleitk"}))
    inside = volume.voxels_zyx > otsu.threshold(volume.voxels_zyx)
    difference = float(np.abs(ours - reference)[inside].max())
    assert our_evidence.iterations == evidence.iterations
    assert our_evidence.mask_voxels == evidence.mask_voxels
    few = evidence.mask_voxels < FEW
    agree = difference <= CLOSE or (few and difference <= own_change(volume))
    assert agree, f"{difference} on {evidence.mask_voxels} voxels"
    return difference


@pytest.mark.parametrize(
    ("shape", "seed"),
    [((20, 96, 112), 1), ((40, 64, 56), 2), ((13, 81, 90), 3), ((8, 120, 120), 4), ((5, 128, 128), 5)],
)
def test_small_phantoms_agree(shape: tuple[int, int, int], seed: int) -> None:
    check_fields_agree(breasts(shape, (0.7, 0.8, 1.9), seed=seed))


def test_a_phantom_of_more_than_two_thousand_voxels_agrees_well_within_the_goal() -> None:
    # SimpleITK differs from itself by 2e-5 here, with another number of threads.
    assert check_fields_agree(breasts((28, 136, 128), (0.9, 0.9, 2.2), seed=6)) < CLOSE / 2


def test_matrix_products_agree_with_ordered_sums_in_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path for large masks, on a mask that is small enough for a test."""
    monkeypatch.setattr(fast_n4, "STABLE_VOXELS", 0)
    check_fields_agree(breasts((28, 136, 128), (0.9, 0.9, 2.2), seed=6), Bias(iterations=(20, 10)))


def test_a_level_that_converges_early_stops_at_the_same_iteration() -> None:
    volume = breasts((24, 96, 96), noise=2.0, seed=7)
    settings = Bias(threshold=2e-3, iterations=(50, 20))
    check_fields_agree(volume, settings)
    _, evidence = log_field(volume, settings)
    assert evidence.iterations[0] < 50


def test_voxels_at_or_below_zero_in_the_mask_stay_as_they_are_in_both() -> None:
    volume = breasts((12, 64, 64), seed=8)
    check_fields_agree(replace(volume, voxels_zyx=(volume.voxels_zyx - 400).astype(np.int16)), Bias(iterations=(3,)))


def test_fractional_voxels_and_another_mesh_agree() -> None:
    volume = breasts((16, 80, 72), seed=9)
    fractional = replace(volume, voxels_zyx=volume.voxels_zyx.astype(np.float32) * np.float32(0.37))
    check_fields_agree(fractional, Bias(mesh=(2, 1, 3), shrink=3, histogram_bins=150))


def test_an_oblique_volume_agrees() -> None:
    volume = breasts((16, 80, 72), (0.7, 0.7, 2.1), seed=10)
    tilt = np.deg2rad(20)
    turned = (
        1.0,
        0.0,
        0.0,
        0.0,
        float(np.cos(tilt)),
        float(-np.sin(tilt)),
        0.0,
        float(np.sin(tilt)),
        float(np.cos(tilt)),
    )
    check_fields_agree(replace(volume, geometry=replace(volume.geometry, direction=turned)))


@pytest.mark.parametrize("threads", [1, 3])
def test_the_agreement_does_not_hang_on_the_number_of_threads(threads: int) -> None:
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    try:
        check_fields_agree(breasts((20, 96, 112), (0.7, 0.8, 1.9), seed=11))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


@pytest.mark.cases
@pytest.mark.parametrize("name", ["breast1", "brain1"])
def test_the_volumes_of_pyradiomics_agree(cases: Path, name: str) -> None:
    check_fields_agree(read_image(cases / "radiomics" / f"{name}_image.nrrd"))


@pytest.mark.cases
@pytest.mark.parametrize(
    "series",
    [
        "dicom2nifti/ge/dti/001",
        "dicom2nifti/philips/anatomical/001",
        "dicom2nifti/philips/dti/001",
        "dicom2nifti/siemens/dti_classic/001",
        "dicom2nifti/failing/slicecount/001",
        "uih_dti",
    ],
)
def test_real_series_agree(cases: Path, series: str) -> None:
    try:
        volume = read_series(cases / "mr" / series)
    except ExamRejected as reason:
        pytest.skip(str(reason))
    check_fields_agree(volume)
