"""Hard phantoms: as hard as they say, the same at every call, and the truth where it is said to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.geometry import Geometry
from pipeline.phantom import PhantomSpec, Protocol, write_exam
from pipeline.phantom.anatomy import FAT, GLAND, axes_of
from pipeline.phantom.fields import Field
from pipeline.phantom.hard_anatomy import NEIGHBOURS, HardAnatomy, make_hard
from pipeline.phantom.hard_crop import HardCrop, crop
from pipeline.phantom.hard_lesions import NECROSIS, NODE_KINDS, TUMOR_KINDS
from pipeline.phantom.hard_scene import HardScene
from pipeline.phantom.reader import measured_axes

SEEDS = range(700, 740)
# The field of the preset in fewer voxels.
COARSE = Protocol(
    (72, 72, 32), (2.0, 2.0, 3.6), (64, 64, 28), (2.3, 2.3, 4.0), (36, 36, 26), (4.0, 4.0, 4.4), one_side=True
)


def patient(seed: int) -> HardAnatomy:
    spec = PhantomSpec(seed=seed, preset="hard")
    return make_hard(spec, spec.drawn())


@pytest.fixture(scope="module")
def patients() -> list[HardAnatomy]:
    return [patient(seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def nodes() -> HardCrop:
    return crop(PhantomSpec(seed=701), "lymph_nodes")


def test_every_kind_of_lesion_and_of_neighbour_is_among_few_exams(patients: list[HardAnatomy]) -> None:
    assert {getattr(p.tumor, "kind", "") for p in patients} == set(TUMOR_KINDS)
    assert {getattr(n, "kind", "") for p in patients for n in p.nodes} == set(NODE_KINDS)
    assert {name for p in patients for name in p.beside} == set(NEIGHBOURS)


def test_equal_specs_give_equal_voxels_and_the_next_seed_others(nodes: HardCrop) -> None:
    again = crop(PhantomSpec(seed=701), "lymph_nodes")
    assert again.t1c.voxels_zyx.tobytes() == nodes.t1c.voxels_zyx.tobytes()
    assert again.pre.voxels_zyx.tobytes() == nodes.pre.voxels_zyx.tobytes()
    assert crop(PhantomSpec(seed=702), "lymph_nodes").t1c.geometry.shape_zyx != nodes.t1c.geometry.shape_zyx


def test_nodes_that_touch_share_no_voxel(nodes: HardCrop) -> None:
    assert sum(lesion.mask_zyx.astype(int) for lesion in nodes.lesions).max() == 1
    assert all(lesion.mask_zyx.sum() > 30 for lesion in nodes.lesions)


def test_hilum_necrosis_and_gaps_belong_to_the_region_and_do_not_enhance(patients: list[HardAnatomy]) -> None:
    seen = set()
    for one in patients[:12]:
        for lesion, tissue in [(one.tumor, NECROSIS), (one.tumor, GLAND), *((n, FAT) for n in one.nodes)]:
            x, y, z = lesion.shape.centre_xyz_mm
            axes = tuple(c + np.arange(-20.0, 20.0, 2.0) for c in (z, y, x))
            own = one.inside(lesion, axes)  # type: ignore[arg-type]
            if (one.detailed(axes)[own] == tissue).mean() > 0.05:  # type: ignore[arg-type]
                seen.add((tissue, getattr(lesion, "kind", "")))
    assert {(NECROSIS, "rim"), (GLAND, "non_mass"), (FAT, "hilum")} <= seen


def test_a_voxel_is_the_mean_of_what_lies_in_it() -> None:
    spec = PhantomSpec(seed=703, preset="hard", noise=0.0, bias=0.0, gain=1.0)
    anatomy = make_hard(spec, spec.drawn())
    x, y, z = anatomy.tumor.shape.centre_xyz_mm
    coarse = Geometry((9, 20, 20), (1.6, 1.6, 3.6), (x - 16, y - 16, z - 16), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    scene = HardScene.of(spec, anatomy, coarse)
    table = set(np.unique(scene.patient.detailed(axes_of(coarse))))
    assert len(table) > 1
    fine = scene._averaged(1, scene.axes)
    places = [a + o for a, o in zip(scene.axes, (1.2, 0.4, 0.4), strict=True)]
    corners = [
        scene._at((scene.axes[0] + dz, scene.axes[1] + dy, scene.axes[2] + dx), 1)
        for dz in (-1.2, 0.0, 1.2)
        for dy in (-0.4, 0.4)
        for dx in (-0.4, 0.4)
    ]
    assert len(places) == 3
    assert fine == pytest.approx(np.mean(corners, axis=0), rel=2e-3, abs=0.5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), low=st.floats(-60, 60))
def test_a_field_known_around_a_grid_has_the_values_of_the_whole_one(seed: int, low: float) -> None:
    whole = Field.draw(np.random.default_rng(seed), ((-80, 80), (-80, 80), (-80, 80)), 9.0)
    axis = low + np.arange(0.0, 15.0, 1.3)
    assert whole.around((axis, axis, axis)).at((axis, axis, axis)) == pytest.approx(
        whole.at((axis, axis, axis)), abs=1e-5
    )


def test_a_steady_reader_measures_a_box_from_edge_to_edge_and_an_unsteady_one_within_two_millimetres() -> None:
    grid = Geometry((6, 40, 40), (0.8, 0.8, 2.0), (5.0, 6.0, 7.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
    mask = np.zeros(grid.shape_zyx, bool)
    mask[3, 20, 10:30] = True
    mask[3, 16:25, 20] = True
    steady = measured_axes(mask, grid, 0.0, np.random.default_rng(1))
    long = np.subtract(*steady.long)
    assert np.linalg.norm(long) == pytest.approx(20 * 0.8, abs=0.05)
    assert steady.short is not None
    assert np.linalg.norm(np.subtract(*steady.short)) == pytest.approx(9 * 0.8, rel=0.1)
    shaky = measured_axes(mask, grid, 2.0, np.random.default_rng(1))
    assert shaky.short is not None
    moved = [np.subtract(a, b) for a, b in zip(steady.long + steady.short, shaky.long + shaky.short, strict=True)]
    assert all(0 < np.linalg.norm(m) <= 2 and m[2] == 0 for m in moved)


def test_a_hard_exam_is_written_whole_with_the_regions_in_its_seg(tmp_path: Path) -> None:
    exam = write_exam(tmp_path / "exam", PhantomSpec(seed=704, preset="hard", protocol=COARSE))
    assert exam.seg_path is not None
    anatomy = patient(704)
    axes = axes_of(exam.geometry)
    tumor = exam.masks["tumor"].voxels_zyx
    window = anatomy.tumor.shape.window(axes)
    assert tumor.any()
    assert not np.delete(tumor, range(*window[0].indices(tumor.shape[0])), axis=0).any()
    assert exam.masks["lymph_nodes"].voxels > 100
