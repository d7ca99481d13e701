"""What sequence matching chose becomes the volume; of two sagittal slabs, the one with the regions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from config.schema import Sequences
from pipeline.catalog import FrameRef, InstanceFacts, Selection, read_facts
from pipeline.errors import GeometryRejected, PixelsRejected
from pipeline.volumes import load
from tests.support.slices import facts, grid, write_enhanced, write_seg, write_slices, write_structures

SHAPE = (4, 5, 6)
SAGITTAL = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
RIGHT = grid(SHAPE, origin_xyz_mm=(-90, 0, 0), direction=SAGITTAL)
LEFT = grid(SHAPE, origin_xyz_mm=(60, 0, 0), direction=SAGITTAL)


def selection(paths: list[Path]) -> Selection:
    return Selection("series", "test", frames=tuple(FrameRef(read_facts(p)) for p in paths))


def slabs(folder: Path) -> list[Path]:
    right = write_slices(folder, np.zeros(SHAPE, np.int16), RIGHT, ImageComments="right")
    return right + write_slices(folder, np.full(SHAPE, 7, np.int16), LEFT, ImageComments="left")


def seg(path: Path, geometry) -> InstanceFacts:
    return facts(write_seg(path, {1: np.ones(SHAPE, bool)}, geometry))


def test_exactly_the_chosen_slices_make_the_volume(tmp_path: Path) -> None:
    paths = write_slices(tmp_path, np.arange(120, dtype=np.int16).reshape(SHAPE), grid(SHAPE))
    assert load(selection(paths[1:]), Sequences()).voxels_zyx[0, 0, 0] == 30


def test_chosen_frames_of_an_enhanced_image_make_the_volume(tmp_path: Path) -> None:
    path = write_enhanced(
        tmp_path / "e.dcm", np.arange(240, dtype=np.int16).reshape(8, 5, 6), grid((8, 5, 6)), range(8)
    )
    chosen = Selection("s", "test", frames=tuple(FrameRef(read_facts(path), n) for n in (8, 6, 7)))
    assert load(chosen, Sequences()).voxels_zyx[:, 0, 0].tolist() == [150, 180, 210]


@pytest.mark.parametrize(("side", "value"), [(LEFT, 7), (RIGHT, 0)])
def test_of_two_sagittal_slabs_the_one_with_the_regions_is_taken(tmp_path: Path, side, value: int) -> None:
    volume = load(selection(slabs(tmp_path)), Sequences(), [seg(tmp_path / "seg.dcm", side)])
    assert volume.geometry.shape_zyx == SHAPE
    assert volume.voxels_zyx[0, 0, 0] == value


def test_contours_choose_the_slab_as_well(tmp_path: Path) -> None:
    contour = np.array([[62.0, 1, 1], [62.0, 4, 1], [62.0, 2, 3]])
    rois = [facts(write_structures(tmp_path / "r.dcm", {1: [contour]}, {1: "t"}))]
    assert load(selection(slabs(tmp_path)), Sequences(), rois).voxels_zyx[0, 0, 0] == 7


def test_regions_on_both_slabs_or_on_none_are_refused(tmp_path: Path) -> None:
    both = [seg(tmp_path / "r.dcm", RIGHT), seg(tmp_path / "l.dcm", LEFT)]
    for rois in (both, []):
        with pytest.raises(GeometryRejected) as caught:
            load(selection(slabs(tmp_path)), Sequences(), rois)
        assert caught.value.code == "two-slabs"


def test_a_gap_in_axial_slices_is_missing_slices_however_wide(tmp_path: Path) -> None:
    paths = write_slices(tmp_path, np.zeros((40, 5, 6), np.int16), grid((40, 5, 6)))
    with pytest.raises(GeometryRejected, match="20 slices are missing"):
        load(selection(paths[:10] + paths[30:]), Sequences())


def test_lossy_images_load_only_where_the_setting_allows_it(tmp_path: Path) -> None:
    paths = write_slices(tmp_path, np.zeros(SHAPE, np.int16), grid(SHAPE), LossyImageCompression="01")
    with pytest.raises(PixelsRejected, match=r"sequences\.allow_lossy"):
        load(selection(paths), Sequences())
    assert load(selection(paths), Sequences(allow_lossy=True)).geometry.shape_zyx == SHAPE
