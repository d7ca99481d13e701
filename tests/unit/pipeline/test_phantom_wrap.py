"""Given voxels as a DICOM exam."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread

from pipeline.errors import InputRejected
from pipeline.geometry import Geometry
from pipeline.phantom import WrappedExam, wrap_volume


def oblique() -> Geometry:
    """A sagittal grid turned by 20 degrees about the patient's long axis."""
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    columns = np.array([[s, c, 0], [0, 0, -1], [-c, s, 0]])  # i, j, k
    return Geometry((6, 24, 20), (0.9, 1.1, 2.5), (-30.25, 12.5, 40.0), tuple(float(v) for v in columns.T.ravel()))


def pixels(exam: WrappedExam) -> np.ndarray:
    return np.stack([dcmread(path).pixel_array for path in exam.series["t1c"].paths])


def test_voxels_places_and_masks_come_back_unchanged(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grid = oblique()
    voxels = rng.integers(-900, 3000, grid.shape_zyx).astype(np.int16)
    tumor, node = (rng.random((2, *grid.shape_zyx)) < 0.2).astype(bool)
    exam = wrap_volume(tmp_path, voxels, grid, {"Tumor": tumor, "Axillary lymph node 1": node}, side="L")
    assert np.array_equal(pixels(exam), voxels)
    image = SimpleITK.ReadImage([str(path) for path in exam.series["t1c"].paths])
    assert np.allclose(image.GetOrigin(), grid.origin_xyz_mm, atol=1e-5)
    assert np.allclose(image.GetSpacing(), grid.spacing_xyz_mm, atol=1e-5)
    assert np.allclose(image.GetDirection(), grid.direction, atol=1e-5)
    seg = hd.seg.segread(exam.seg_path)
    uids = list(exam.series["t1c"].sop_instance_uids)
    found = seg.get_pixels_by_source_instance(uids, segment_numbers=[1, 2])
    assert np.array_equal(np.moveaxis(found > 0, -1, 0), np.stack([tumor, node]))


def test_the_made_up_sequences_cover_the_box_in_the_same_frame_of_reference(tmp_path: Path) -> None:
    grid = oblique()
    mask = np.zeros(grid.shape_zyx, bool)
    mask[2:4, 5:15, 5:15] = True
    exam = wrap_volume(tmp_path, np.full(grid.shape_zyx, 100, np.int16), grid, {"Tumor": mask})
    for name in ("t2", "adc"):
        files = [dcmread(path) for path in exam.series[name].paths]
        assert {ds.FrameOfReferenceUID for ds in files} == {exam.geometry.frame_of_reference_uid}
        span = len(files) * files[0].SpacingBetweenSlices
        assert span >= grid.shape_zyx[0] * grid.spacing_xyz_mm[2]
        assert files[0].Columns * files[0].PixelSpacing[1] >= grid.shape_zyx[2] * grid.spacing_xyz_mm[0]
        assert min(int(ds.pixel_array.min()) for ds in files) > 0


@pytest.mark.parametrize("fault", ["empty mask", "other shape", "too large"])
def test_what_cannot_be_stored_unchanged_is_refused(tmp_path: Path, fault: str) -> None:
    grid = oblique()
    mask = np.full(grid.shape_zyx, fault != "empty mask")
    voxels = np.full(grid.shape_zyx, 40000 if fault == "too large" else 1, np.int32)
    if fault == "other shape":
        mask = mask[1:]
    with pytest.raises(InputRejected):
        wrap_volume(tmp_path / "exam", voxels, grid, {"Tumor": mask})
    assert not (tmp_path / "exam").exists()


@pytest.mark.cases
def test_real_breast_mr_survives_the_wrapping(tmp_path: Path, cases: Path) -> None:
    image, label = (SimpleITK.ReadImage(str(cases / "radiomics" / f"breast1_{n}.nrrd")) for n in ("image", "label"))
    voxels, mask = SimpleITK.GetArrayFromImage(image), SimpleITK.GetArrayFromImage(label) == 1
    grid = Geometry(voxels.shape, image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    exam = wrap_volume(tmp_path, voxels, grid, {"Tumor": mask})
    assert np.array_equal(pixels(exam), voxels)
    assert hd.seg.segread(exam.seg_path).pixel_array.sum() == mask.sum()
