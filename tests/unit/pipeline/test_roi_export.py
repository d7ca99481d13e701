"""`axrad roi` writes masks on the image's grid, or says why it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from click.testing import CliRunner

from config.schema import RoiSettings
from daemon.main import cli
from pipeline.errors import GeometryRejected, RoiRejected
from pipeline.roi.export import export
from tests.support.slices import grid, uid, write_seg, write_slices, write_structures
from tests.unit.pipeline.test_roi_read import SHAPE, blob, node, tumor


def images(folder: Path, geometry=None, series: str = "s") -> list[Path]:
    geometry = geometry or grid(SHAPE)
    return write_slices(folder, np.zeros(geometry.shape_zyx, np.int16), geometry, series)


def test_tumour_and_nodes_are_written_with_the_images_geometry(tmp_path: Path) -> None:
    images(tmp_path / "i")
    masks = {1: blob(), 2: blob(0, 0, 0), 3: blob(4, 5, 6)}
    seg = write_seg(tmp_path / "s.dcm", masks, grid(SHAPE), [tumor(1), node(2), node(3)])
    done = CliRunner().invoke(
        cli, ["roi", str(seg), "--images", str(tmp_path / "i"), "--out", str(tmp_path / "o"), "--json"]
    )
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    names = ["lymph_nodes.nrrd", "segment_1.nrrd", "segment_2.nrrd", "segment_3.nrrd", "tumor.nrrd"]
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == names
    nodes = SimpleITK.ReadImage(str(tmp_path / "o" / "lymph_nodes.nrrd"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(nodes), masks[2] | masks[3])
    assert nodes.GetSpacing() == (1.0, 1.0, 2.0)
    assert summary["rois"]["lymph_nodes"]["segments"] == [2, 3]
    assert summary["rois"]["tumor"]["volume_mm3"] == 16.0


def test_where_both_sides_are_told_each_gets_its_own_file(tmp_path: Path) -> None:
    images(tmp_path / "i")
    masks = {1: blob(), 2: blob(0, 0, 0)}
    seg = write_seg(tmp_path / "s.dcm", masks, grid(SHAPE), [tumor(1, "left"), tumor(2, "right")])
    summary = export(seg, tmp_path / "i", tmp_path / "o", RoiSettings())
    assert summary["rois"]["tumor"]["sides"] == ["L", "R"]
    for side, number in (("L", 1), ("R", 2)):
        image = SimpleITK.ReadImage(str(tmp_path / "o" / f"tumor_{side}.nrrd"))
        assert np.array_equal(SimpleITK.GetArrayFromImage(image), masks[number])


def test_of_several_series_the_one_referred_to_is_taken(tmp_path: Path) -> None:
    images(tmp_path / "i", grid((6, 4, 5), (2.0, 2.0, 2.0)), "other")
    images(tmp_path / "i")
    seg = write_seg(tmp_path / "s.dcm", {1: blob()}, grid(SHAPE), sources=[uid("s", z) for z in range(6)])
    summary = export(seg, tmp_path / "i", tmp_path / "o", RoiSettings())
    assert summary["grid"]["size_xyz"] == [10, 8, 6]
    assert uid("s") in summary["grid"]["why"]


def test_without_references_the_series_whose_slices_carry_the_planes_is_taken(tmp_path: Path) -> None:
    images(tmp_path / "i", grid((6, 4, 5), (2.3, 2.3, 2.0), (0.4, 0.3, 0.9)), "other")
    images(tmp_path / "i")
    seg = write_seg(tmp_path / "s.dcm", {1: blob()}, grid(SHAPE))
    summary = export(seg, tmp_path / "i", tmp_path / "o", RoiSettings())
    assert uid("s") in summary["grid"]["why"]


def test_two_series_that_could_both_be_meant_are_named(tmp_path: Path) -> None:
    images(tmp_path / "i", grid(SHAPE), "one")
    images(tmp_path / "i", grid((12, 16, 20), (0.5, 0.5, 1.0)), "two")
    seg = write_structures(tmp_path / "s.dcm", {1: [np.array([[1.0, 1, 2], [5, 1, 2], [3, 6, 2]])]}, {1: "t"})
    with pytest.raises(RoiRejected, match="several volumes share"):
        export(seg, tmp_path / "i", tmp_path / "o", RoiSettings())


def test_another_frame_of_reference_exits_with_the_reason(tmp_path: Path) -> None:
    images(tmp_path / "i")
    seg = write_seg(tmp_path / "s.dcm", {1: blob()}, grid(SHAPE), frame="4.4")
    with pytest.raises(GeometryRejected, match="another frame of reference"):
        export(seg, tmp_path / "i", tmp_path / "o", RoiSettings())


def test_everything_outside_the_image_is_refused_and_nothing_written(tmp_path: Path) -> None:
    images(tmp_path / "i")
    seg = write_seg(tmp_path / "s.dcm", {1: blob()}, grid(SHAPE, origin_xyz_mm=(400, 0, 0)))
    with pytest.raises(RoiRejected, match="outside the image"):
        export(seg, tmp_path / "i", tmp_path / "o", RoiSettings())
    assert not (tmp_path / "o").exists()


def test_the_reason_why_a_folder_makes_no_volume_is_given(tmp_path: Path) -> None:
    paths = images(tmp_path / "i")
    paths[2].unlink()
    (tmp_path / "i" / "0.txt").write_text("no image")
    seg = write_seg(tmp_path / "s.dcm", {1: blob()}, grid(SHAPE))
    with pytest.raises(GeometryRejected, match="1 slice is missing"):
        export(seg, tmp_path / "i", tmp_path / "o", RoiSettings())


def test_without_images_the_frames_own_grid_is_kept(tmp_path: Path) -> None:
    seg = write_seg(tmp_path / "s.dcm", {1: blob(2, 3, 4, 3)}, grid(SHAPE))
    summary = export(seg, None, tmp_path / "o", RoiSettings())
    assert summary["grid"]["size_xyz"] == [10, 8, 3]
    assert summary["grid"]["origin_xyz_mm"] == [0, 0, 4]
    assert summary["segments"][0]["voxels"] == 27
