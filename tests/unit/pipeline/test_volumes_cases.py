"""Real images of four vendors load as GDCM and SimpleITK read them, or are refused for a reason that is true."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread

from config.schema import Sequences
from pipeline.catalog import exam_in
from pipeline.diffusion import adc_of
from pipeline.errors import GeometryRejected, PixelsRejected
from pipeline.sequences import match
from pipeline.volumes import load, load_frames, load_series, stacks_of
from pipeline.volumes.pixels import decode

pytestmark = pytest.mark.cases

# Folder below mr/ → volumes, slices in each.
LOADS = {
    "dicom2nifti/ge/anatomical/001": (1, 4),
    "dicom2nifti/ge/dti/001": (2, 4),
    "dicom2nifti/generic/anatomical/001": (1, 4),
    "dicom2nifti/generic/compressed_j2k/001": (1, 4),
    "dicom2nifti/generic/compressed_jpeg/001": (1, 4),
    "dicom2nifti/generic/compressed_jpegls/001": (1, 4),
    "dicom2nifti/generic/compressed_rle/001": (1, 4),
    "dicom2nifti/philips/anatomical/001": (1, 4),
    "dicom2nifti/philips/dti/002": (4, 3),
    "dicom2nifti/philips_enhanced/anatomical/001": (1, 8),
    "dicom2nifti/philips_enhanced/dti/001": (4, 8),
    "dicom2nifti/siemens/anatomical/001": (1, 4),
    "dicom2nifti/siemens/dti_classic/001": (2, 4),
    "dicom2nifti/siemens_multiframe/anatomical/001": (1, 8),
    "siemens_xa61_tracew": (4, 10),
}
REFUSED = {
    "dicom2nifti/failing/slicecount/001": "only 2 slices",
    "dicom2nifti/failing/sliceincrement/001": "1 slice is missing",
    "dicom2nifti/failing/sliceorientation/001": "oriented otherwise",
    "philips_dwi_classic": "3 slices are missing",
    "dicom2nifti/philips/dti/001": "only 2 slices",
}


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file())


def by_itk(path: Path) -> np.ndarray:
    """Every frame of one file as SimpleITK (GDCM) reads it: rescaled with the one slope of the file."""
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


@pytest.mark.parametrize("folder", LOADS)
def test_a_series_loads_as_the_volumes_that_it_holds(cases: Path, folder: str) -> None:
    stacks, rejected = stacks_of(files(cases / "mr" / folder))
    assert (len(stacks), stacks[0].geometry.shape_zyx[0]) == LOADS[folder]
    assert all(isinstance(r, PixelsRejected) and "holds no image" in str(r) for r in rejected)


@pytest.mark.parametrize(
    "folder", [f for f in LOADS if "enhanced" not in f and "multiframe" not in f and "xa61" not in f]
)
def test_classic_slices_equal_what_simpleitk_reads(cases: Path, folder: str) -> None:
    paths = {dcmread(p, stop_before_pixels=True).SOPInstanceUID: p for p in files(cases / "mr" / folder)}
    for volume in load_series(paths.values()):
        for z, source in enumerate(volume.sources_z):
            wanted = by_itk(paths[source.ref.sop_instance_uid])[0]
            assert np.array_equal(volume.voxels_zyx[z], wanted.astype(volume.voxels_zyx.dtype))


@pytest.mark.parametrize("folder", [f for f in LOADS if "enhanced" in f or "multiframe" in f or "xa61" in f])
def test_enhanced_frames_equal_what_simpleitk_reads(cases: Path, folder: str) -> None:
    """SimpleITK applies one rescale to a whole file; in these files every frame has the same."""
    stacks, _ = stacks_of(files(cases / "mr" / folder))
    for stack in stacks:
        volume = stack.load()
        for z, frame in enumerate(stack.frames):
            wanted = by_itk(frame.path)[frame.source.frame - 1]
            assert np.array_equal(volume.voxels_zyx[z], wanted.astype(volume.voxels_zyx.dtype))


def test_a_volume_has_the_geometry_that_simpleitk_finds(cases: Path) -> None:
    for folder in ("ge/anatomical/001", "philips/anatomical/001", "siemens/anatomical/001", "generic/anatomical/001"):
        paths = files(cases / "mr" / "dicom2nifti" / folder)
        volume = load_frames([(p, None) for p in paths])
        names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(paths[0].parent))
        wanted = SimpleITK.ReadImage(names)
        assert np.array_equal(volume.voxels_zyx, SimpleITK.GetArrayFromImage(wanted))
        assert volume.geometry.origin_xyz_mm == pytest.approx(wanted.GetOrigin(), abs=1e-4)
        assert volume.geometry.spacing_xyz_mm == pytest.approx(wanted.GetSpacing(), abs=1e-4)
        assert volume.geometry.direction == pytest.approx(wanted.GetDirection(), abs=1e-4)


@pytest.mark.parametrize("folder", REFUSED)
def test_what_cannot_be_a_volume_is_refused_with_the_reason(cases: Path, folder: str) -> None:
    with pytest.raises(GeometryRejected, match=REFUSED[folder]):
        load_series(files(cases / "mr" / folder))


def test_every_lossless_transfer_syntax_decodes_to_the_same_pixels(cases: Path) -> None:
    paths = files(cases / "mr" / "transfer_syntaxes")
    reference = next(decode(paths[0], [None]))
    syntaxes = set()
    for path in paths:
        assert np.array_equal(next(decode(path, [None])), reference), path.name
        syntaxes.add(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)
    assert len(syntaxes) >= 7


def test_compressed_series_equal_each_other(cases: Path) -> None:
    loaded = [
        load_frames([(p, None) for p in files(cases / "mr/dicom2nifti/generic" / f"compressed_{kind}" / "001")])
        for kind in ("j2k", "jpeg", "jpegls", "rle")
    ]
    assert all(np.array_equal(v.voxels_zyx, loaded[0].voxels_zyx) for v in loaded)


@pytest.mark.parametrize(
    ("folder", "shape", "origin", "digests"),
    [
        ("transfer_syntaxes", (35, 64, 64), (-104.0, -144.868, -62.685), "8671cea6959a3eca"),
        ("uih_dti", (20, 64, 64), (-154.648, -58.579, -9.219), "5267b0abf7841cad"),
    ],
)
def test_slices_tiled_into_one_image_equal_dcm2niix(
    cases: Path, folder: str, shape: tuple[int, ...], origin: tuple[float, ...], digests: str
) -> None:
    """A Siemens mosaic in nine transfer syntaxes, and seventeen grids of United Imaging.

    Golden: the files of dcm2niix v1.0.20260724, read by SimpleITK, rows and slices turned to ascend, int16, SHA-256.
    """
    volumes = load_series(files(cases / "mr" / folder))
    stored = [np.ascontiguousarray(v.voxels_zyx, "<i2").tobytes() for v in volumes]
    parts = stored if folder == "transfer_syntaxes" else [b"".join(stored)]
    assert {hashlib.sha256(part).hexdigest()[:16] for part in parts} == {digests}
    assert len(volumes) == len(files(cases / "mr" / folder))
    for volume in volumes:
        assert volume.geometry.shape_zyx == shape
        assert volume.geometry.origin_xyz_mm == pytest.approx(origin, abs=1e-3)


def test_an_adc_is_computed_from_tiled_images(cases: Path) -> None:
    found = match(exam_in(cases / "mr/uih_dti"), Sequences())
    chosen = found.chosen["adc"]
    assert sorted(chosen.frames_by_b) == [0.0, pytest.approx(929.8, abs=0.1)]
    adc = adc_of(chosen, lambda one: load(one, Sequences()))
    assert adc.geometry.shape_zyx == (20, 64, 64)
    brain = np.asarray(adc.voxels_zyx)[8:12, 20:44, 20:44]
    assert 500 < np.median(brain[brain > 0]) < 1500
