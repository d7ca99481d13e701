"""ADC as a DICOM Parametric Map, and as frames of an enhanced image, is found and read in its own unit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from config.schema import Sequences
from pipeline.catalog import exam_in
from pipeline.diffusion import adc_of
from pipeline.errors import PixelsRejected
from pipeline.sequences import match
from pipeline.volumes import load, load_series
from tests.support.slices import code, grid, item, save, write_enhanced

MAP = "1.2.840.10008.5.1.4.1.1.30"
SHAPE = (5, 6, 8)
GRID = grid(SHAPE, (1.5, 1.5, 4.0))
ADC = code("113041", "DCM", "Apparent Diffusion Coefficient")
KTRANS = code("126312", "DCM", "Ktrans")


def tissue() -> np.ndarray:
    """ADC in 10-6 mm2/s."""
    return 600.0 + np.arange(np.prod(SHAPE)).reshape(SHAPE) * 5.0


def mapping(unit: str, slope: float, intercept: float, quantity) -> dict[str, object]:
    values = {
        "RealWorldValueSlope": slope,
        "RealWorldValueIntercept": intercept,
        "MeasurementUnitsCodeSequence": [code(unit, "UCUM", unit)],
    }
    if quantity is not None:
        name = code("246205007", "SCT", "Quantity")
        values["QuantityDefinitionSequence"] = [
            item(ValueType="CODE", ConceptNameCodeSequence=[name], ConceptCodeSequence=[quantity])
        ]
    return values


def write_map(path: Path, stored: np.ndarray, unit: str, slopes: list[tuple[float, float]], quantity=ADC) -> Path:
    """A Parametric Map whose frame n has `slopes[n]` as its slope and intercept."""
    write_enhanced(path, np.zeros(SHAPE, np.uint16), GRID, order=range(SHAPE[0]))
    ds = dcmread(path)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = MAP
    for frame, (slope, intercept) in zip(ds.PerFrameFunctionalGroupsSequence, slopes, strict=True):
        frame.RealWorldValueMappingSequence = [item(**mapping(unit, slope, intercept, quantity))]
    if stored.dtype.kind == "f":
        del ds.PixelData, ds.PixelRepresentation, ds.BitsStored, ds.HighBit
        ds.BitsAllocated = stored.dtype.itemsize * 8
        name = "FloatPixelData" if stored.dtype.itemsize == 4 else "DoubleFloatPixelData"
        setattr(ds, name, stored.tobytes())
        setattr(ds, name.replace("PixelData", "PixelPaddingValue"), -1.0)
    else:
        ds.PixelData = stored.tobytes()
    return save(ds, path)


@pytest.mark.parametrize("kind", ["<f4", "<f8", "<u2"])
@pytest.mark.parametrize(
    ("unit", "factor"), [("um2/s", 1.0), ("mm2/s", 1e-6), ("10-6.mm2/s", 1.0), ("10-3.mm2/s", 1e-3)]
)
def test_an_adc_map_is_found_and_read_in_its_unit(tmp_path: Path, kind: str, unit: str, factor: float) -> None:
    """Every frame with its own slope and intercept, of values in any unit."""
    slopes = [(factor * (1 + n), factor * 10 * n) for n in range(SHAPE[0])]
    stored = np.stack([(plane * factor - b) / a for plane, (a, b) in zip(tissue(), slopes, strict=True)])
    expected = tissue()
    if kind == "<u2":
        whole = np.round(stored)
        expected = np.stack([(p * a + b) / factor for p, (a, b) in zip(whole, slopes, strict=True)])
        stored = whole
    write_map(tmp_path / "map.dcm", stored.astype(kind), unit, slopes)
    chosen = match(exam_in(tmp_path), Sequences()).chosen["adc"]
    adc = adc_of(chosen, lambda one: load(one, Sequences()))
    assert adc.unit == "10-6 mm2/s"
    assert adc.geometry.same_grid(GRID)
    assert np.allclose(adc.voxels_zyx, expected, rtol=1e-5)


def test_padding_of_a_map_is_unknown_and_no_value(tmp_path: Path) -> None:
    stored = tissue().astype("<f4")
    stored[:, 0] = -1.0
    write_map(tmp_path / "map.dcm", stored, "um2/s", [(1.0, 0.0)] * SHAPE[0])
    (volume,) = load_series([tmp_path / "map.dcm"])
    assert np.isnan(volume.voxels_zyx[:, 0]).all()
    assert np.array_equal(volume.voxels_zyx[:, 1:], tissue()[:, 1:].astype(np.float32))


@pytest.mark.parametrize("unit", ["/min", "um2/s"])
def test_a_map_of_another_quantity_is_no_adc(tmp_path: Path, unit: str) -> None:
    write_map(tmp_path / "map.dcm", tissue().astype("<f4"), unit, [(1.0, 0.0)] * SHAPE[0], KTRANS)
    found = match(exam_in(tmp_path), Sequences())
    assert found.chosen == {}
    assert [label.label for label in found.labels] == ["parametric_map"]


def test_a_map_without_a_linear_mapping_or_cut_off_is_refused(tmp_path: Path) -> None:
    path = write_map(tmp_path / "map.dcm", tissue().astype("<f4"), "um2/s", [(1.0, 0.0)] * SHAPE[0])
    ds = dcmread(path)
    ds.FloatPixelData = ds.FloatPixelData[:-8]
    ds.save_as(path)
    with pytest.raises(PixelsRejected, match="shorter than its header says"):
        load_series([path])
    del ds.PerFrameFunctionalGroupsSequence[2].RealWorldValueMappingSequence[0].RealWorldValueSlope
    ds.save_as(path)
    with pytest.raises(PixelsRejected, match="no linear Real World Value Mapping"):
        load_series([path])


def test_the_map_in_an_enhanced_image_is_told_from_what_it_came_from(tmp_path: Path) -> None:
    """Diffusion images and their ADC in one object, each frame typed."""
    stored = np.concatenate([np.full(SHAPE, 900, np.uint16), tissue().astype(np.uint16)])
    path = write_enhanced(tmp_path / "e.dcm", stored, grid((10, 6, 8), (1.5, 1.5, 4.0)), order=range(10))
    ds = dcmread(path)
    for n, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        words = ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"] if n >= 5 else ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"]
        frame.MRImageFrameTypeSequence = [item(FrameType=words)]
        frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 4.0 * (n % 5)]
        frame.PixelValueTransformationSequence = [item(RescaleSlope=1, RescaleIntercept=0, RescaleType="10-6 mm2/s")]
        if n < 5:
            frame.MRDiffusionSequence = [item(DiffusionBValue=800.0, DiffusionDirectionality="ISOTROPIC")]
    ds.ImageType = ["DERIVED", "PRIMARY", "DIFFUSION", "MIXED"]
    ds.save_as(path)
    chosen = match(exam_in(tmp_path), Sequences()).chosen["adc"]
    assert [f.frame for f in chosen.frames] == [6, 7, 8, 9, 10]
    adc = adc_of(chosen, lambda one: load(one, Sequences()))
    assert np.array_equal(adc.voxels_zyx, tissue().astype(np.float32))
