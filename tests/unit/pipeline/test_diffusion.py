"""b-values of every vendor, units of ADC maps, and the ADC that is computed."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from pipeline.catalog import read_facts, scan
from pipeline.diffusion import adc_in_micro, b_value, fit_adc, geometric_mean, stated_scale
from pipeline.diffusion.units import factor_of
from pipeline.errors import SequenceRejected
from pipeline.geometry import Geometry
from pipeline.records import Volume
from pipeline.vendor_headers.b_values import kind
from pipeline.vendor_headers.siemens_csa import csa_values

GRID = Geometry((2, 16, 16), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1))


def volume(voxels: np.ndarray | float, unit: str = "arbitrary", grid: Geometry = GRID) -> Volume:  # type: ignore[type-arg]
    return Volume(np.broadcast_to(np.asarray(voxels, np.float32), grid.shape_zyx).copy(), grid, "1.2", unit)


def private(maker: str, group: int, creator: str, element: int, vr: str, value: object) -> Dataset:
    dataset = Dataset()
    dataset.Manufacturer = maker
    dataset.private_block(group, creator, create=True).add_new(element, vr, value)
    return dataset


def csa_header(values: dict[str, list[str]], newer: bool) -> bytes:
    """A Siemens CSA header of either form."""
    first = len(next(iter(values.values())))
    header = (b"SV10\4\3\2\1" if newer else b"") + struct.pack("<II", len(values), 77)
    for name, items in values.items():
        header += struct.pack("<64si4s3i", name.encode(), 1, b"IS\0\0", 6, len(items), 77)
        for text in items:
            data = text.encode() + b"\0" if text else b""
            lengths = (len(data),) * 4 if newer else (len(data) + first, 0, 0, 0)
            header += struct.pack("<4i", *lengths) + data + b"\0" * (-len(data) % 4)
    return header


@pytest.mark.parametrize("newer", [True, False])
def test_the_csa_header_gives_the_b_value(newer: bool) -> None:
    header = csa_header({"Other": ["1", "22", ""], "B_value": ["800", "", ""]}, newer)
    assert csa_values(header, "B_value") == ("800",)
    dataset = private("SIEMENS", 0x0029, "SIEMENS CSA HEADER", 0x10, "OB", header)
    assert b_value(dataset) == (800.0, "(0029,1010)")


@given(st.binary(max_size=400))
def test_a_damaged_csa_header_says_nothing(data: bytes) -> None:
    assert isinstance(csa_values(data, "B_value"), tuple)
    assert isinstance(csa_values(b"SV10" + data, "B_value"), tuple)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (private("SIEMENS", 0x0019, "SIEMENS MR HEADER", 0x0C, "IS", "1000"), 1000.0),
        (private("GE MEDICAL SYSTEMS", 0x0043, "GEMS_PARM_01", 0x39, "IS", [1000000800, 8, 0, 0]), 800.0),
        (private("GE MEDICAL SYSTEMS", 0x0043, "GEMS_PARM_01", 0x39, "IS", [500, 8, 0, 0]), 500.0),
        (private("GE MEDICAL SYSTEMS", 0x0043, "GEMS_PARM_01", 0x39, "UN", b"1000000050\\8\\0\\0"), 50.0),
        (private("Philips", 0x2001, "Philips Imaging DD 001", 0x03, "FL", 600.0), 600.0),
        (private("Philips", 0x2001, "Philips Imaging DD 001", 0x03, "UN", struct.pack("<f", 600.0)), 600.0),
        (private("UIH", 0x0065, "Image Private Header", 0x09, "FD", 929.75), 929.75),
    ],
)
def test_private_b_values_are_read(dataset: Dataset, expected: float) -> None:
    found = b_value(dataset)
    assert found is not None
    assert found.value == expected


@pytest.mark.parametrize(
    ("maker", "keyword", "text", "expected"),
    [
        ("CANON_MEC", "ImageComments", "b=1500(0.445,0.000,0.895)", 1500.0),
        ("TOSHIBA", "ImageComments", "b=800(0,0,1)", 800.0),
        ("GE MEDICAL SYSTEMS", "ImageComments", "b=800", None),
        ("SIEMENS", "SequenceName", "*ep_b800t", 800.0),
        ("SIEMENS", "SequenceName", "EZ_B50T", 50.0),
        ("SIEMENS", "SequenceName", "*fl3d1", None),
    ],
)
def test_b_values_in_text_are_read(maker: str, keyword: str, text: str, expected: float | None) -> None:
    dataset = Dataset()
    dataset.Manufacturer = maker
    setattr(dataset, keyword, text)
    found = b_value(dataset)
    assert (found.value if found else None) == expected


def test_the_standard_attribute_comes_first() -> None:
    dataset = private("GE MEDICAL SYSTEMS", 0x0043, "GEMS_PARM_01", 0x39, "IS", [1000, 8, 0, 0])
    dataset.DiffusionBValue = 3000.0
    assert b_value(dataset) == (3000.0, "(0018,9087)")


def test_the_bias_of_ge_is_taken_off_the_standard_attribute_too() -> None:
    dataset = Dataset()
    dataset.Manufacturer = "GE MEDICAL SYSTEMS"
    dataset.DiffusionBValue = 1_000_000_800.0
    assert b_value(dataset) == (800.0, "(0018,9087)")


@pytest.mark.parametrize(
    ("letter", "expected"), [("I", "trace"), ("N", "none"), ("M", "direction"), ("O", "direction")]
)
def test_the_directions_of_philips_are_told_apart(letter: str, expected: str) -> None:
    dataset = private("Philips", 0x2001, "Philips Imaging DD 001", 0x04, "CS", letter)
    assert kind(dataset) == expected


def test_a_private_element_of_another_maker_is_not_read() -> None:
    dataset = private("SIEMENS", 0x0043, "SOMEBODY ELSE", 0x39, "IS", [1000, 8, 0, 0])
    assert b_value(dataset) is None


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"DiffusionDirectionality": "ISOTROPIC"}, "trace"),
        ({"DiffusionDirectionality": "DIRECTIONAL"}, "direction"),
        ({"DiffusionDirectionality": "NONE"}, "none"),
        ({"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW"]}, "trace"),
        ({"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}, "adc"),
        ({"SequenceName": "ep_b800t"}, "trace"),
        ({"SequenceName": "ep_b800#3"}, "direction"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M"]}, None),
    ],
)
def test_trace_images_are_told_from_directions(elements: dict[str, object], expected: str | None) -> None:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    assert kind(dataset, "SIEMENS") == expected


@pytest.mark.cases
@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("mr/philips_dwi_classic", {0.0, 1000.0}),
        ("mr/uih_dti", {1.0, 930.0}),
        ("mr/dicom2nifti/ge/dti", {0.0, 1000.0}),
        ("mr/dicom2nifti/siemens/dti_classic", {0.0, 1000.0}),
        ("mr/dicom2nifti/philips/dti/001", {0.0, 1000.0}),
        ("mr/dicom2nifti/philips/dti/002", {0.0, 40.0, 273.0, 800.0}),
    ],
)
def test_b_values_of_four_vendors(cases: Path, folder: str, expected: set[float]) -> None:
    instances, _ = scan([cases / folder])
    values = [i.tags["b_value"] for i in instances]
    assert {float(round(v)) for v in values if isinstance(v, float)} == expected
    assert len(values) == len(instances) > 0


@pytest.mark.cases
def test_b_values_per_frame_of_enhanced_images(cases: Path) -> None:
    found = {
        tuple(sorted({v for v in read_facts(p).per_frame("frame_b_value") if isinstance(v, float)}))
        for p in sorted((cases / "mr" / "siemens_xa61_tracew").iterdir())
        if p.is_file() and p.suffix != ".md" and read_facts(p).is_image
    }
    assert found == {(0.0,), (2000.0,)}


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("um2/s", 1.0),
        ("10-6 mm2/s", 1.0),
        ("10^-6mm^2/s", 1.0),
        ("1E-6 mm2/s", 1.0),
        ("10^-3 mm2/s", 1e3),
        ("mm2/s", 1e6),
        ("mm^2/s", 1e6),
        ("US", None),
        ("normalized", None),
    ],
)
def test_units_of_diffusion_are_told_apart(unit: str, factor: float | None) -> None:
    assert factor_of(unit) == factor


def test_a_real_world_value_mapping_tells_the_unit() -> None:
    tags = {"real_world_unit": "mm2/s", "real_world_slope": 1e-6, "RescaleSlope": 1.0}
    scale = stated_scale(tags)
    assert scale is not None
    assert scale.factor == pytest.approx(1.0)


@pytest.mark.parametrize("factor", [1.0, 1e-3, 1e-6])
def test_a_map_without_unit_is_told_by_its_values(factor: float) -> None:
    scaled = adc_in_micro(volume(1500.0 * factor))
    assert scaled.unit == "10-6 mm2/s"
    np.testing.assert_allclose(scaled.voxels_zyx, 1500.0, rtol=1e-5)


def test_a_unit_that_no_tissue_has_is_refused() -> None:
    with pytest.raises(SequenceRejected, match="no tissue"):
        adc_in_micro(volume(1500.0), {"RescaleType": "10^-3 mm2/s"})


def test_a_map_of_zeros_is_refused() -> None:
    with pytest.raises(SequenceRejected, match="no positive"):
        adc_in_micro(volume(0.0))


def signal(adc: np.ndarray | float, b: float, s0: float = 1000.0) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray(s0 * np.exp(-b * np.asarray(adc) * 1e-6))


@given(st.floats(100, 3500), st.sampled_from([(0, 800), (50, 1000), (0, 500, 1000), (0, 100, 600, 800)]))
def test_the_fit_gives_back_the_adc(adc: float, b_values: tuple[int, ...]) -> None:
    fitted = fit_adc({float(b): volume(signal(adc, b)) for b in b_values}, noise_floor=0.001)
    assert fitted.unit == "10-6 mm2/s"
    np.testing.assert_allclose(fitted.voxels_zyx, adc, rtol=2e-4)


def test_noise_makes_an_adc_a_lower_bound_and_air_zero() -> None:
    rng = np.random.default_rng(1)
    true = np.full(GRID.shape_zyx, 2500.0)
    inside = np.zeros(GRID.shape_zyx, bool)
    inside[:, 5:11, 5:11] = True

    def noisy(b: float) -> np.ndarray:  # type: ignore[type-arg]
        clean = np.where(inside, signal(true, b, 300.0), 0.0)
        return np.asarray(np.hypot(clean + rng.normal(0, 20, true.shape), rng.normal(0, 20, true.shape)))

    fitted = fit_adc({0.0: volume(noisy(0)), 1000.0: volume(noisy(1000))}).voxels_zyx
    assert np.isfinite(np.asarray(fitted, float)).all()
    assert np.median(np.asarray(fitted, float)[~inside]) < 700
    assert 1500 < np.median(np.asarray(fitted, float)[inside]) < 3000


@pytest.mark.parametrize("b_values", [(0.0,), (800.0,), (0.0, 50.0), ()])
def test_b_values_that_make_no_adc_are_refused(b_values: tuple[float, ...]) -> None:
    with pytest.raises(SequenceRejected, match="two b-values"):
        fit_adc({b: volume(100.0) for b in b_values})


def test_images_on_different_grids_make_no_adc() -> None:
    other = Geometry((2, 16, 16), (1.0, 1.0, 3.0), (5.0, 0.0, 0.0), GRID.direction)
    with pytest.raises(SequenceRejected, match="different grids"):
        fit_adc({0.0: volume(100.0), 800.0: volume(50.0, grid=other)})


def test_directions_are_averaged_as_diffusion_averages() -> None:
    directions = [volume(signal(adc, 800.0)) for adc in (1000.0, 1500.0, 2000.0)]
    mean = geometric_mean(directions)
    fitted = fit_adc({0.0: volume(1000.0), 800.0: mean}, noise_floor=0.001)
    np.testing.assert_allclose(fitted.voxels_zyx, 1500.0, rtol=1e-4)
