"""Functional tumour volume on drawn bodies whose tumour is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.schema import Proposal
from pipeline.errors import ExamRejected
from pipeline.geometry import Geometry
from pipeline.proposal.breast import breasts_in
from pipeline.proposal.enhancement import Phases, functional_volumes, require_one_grid
from pipeline.records import Volume

Floats = npt.NDArray[np.float32]
SPACING = 2.0
SHAPE = (40, 110, 160)  # z, y, x: 320 mm from right to left
TUMOR, HEART, VESSEL = (20, 32, 112), (20, 90, 88), (20, 30, 45)


def ball(centre: tuple[int, int, int], radius_mm: float) -> npt.NDArray[np.bool_]:
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    far = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
    return np.asarray(far * SPACING**2 <= radius_mm**2)


def body() -> npt.NDArray[np.bool_]:
    """Two breasts before a chest; the skin between them lies at row 55."""
    mask = np.zeros(SHAPE, bool)
    mask[:, 55:, 10:150] = True
    for x in (45, 115):
        mask |= ball((20, 55, x), 62.0)
    return mask


def phases(tumor_mm: float = 9.0, rise: float = 1.5, wash: float = 0.9, gland: float = 0.1) -> Phases:
    """Before, early, late; the heart enhances most, a vessel of 3 mm runs through the right breast."""
    inside = body()
    before: Floats = np.where(inside, 200.0, 4.0).astype(np.float32)
    gain = np.where(inside, gland, 0.0)
    gain[ball(HEART, 24.0)] = 2.5
    gain[:, VESSEL[1], VESSEL[2]] = 2.5
    if tumor_mm:
        gain[ball(TUMOR, tumor_mm)] = rise
    grid = Geometry(SHAPE, (SPACING,) * 3, (-160.0, -110.0, -40.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0), "1.2.3")
    noise = np.random.default_rng(1).normal(0, 2, (3, *SHAPE))
    volumes = [
        Volume((before * (1 + gain * share) + noise[n]).astype(np.float32), grid, f"1.2.{n}")
        for n, share in enumerate((0.0, 1.0, wash))
    ]
    return Phases(volumes[0], volumes[1], volumes[2], 135.0, 405.0)


def turned(volume: Volume, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Volume:
    """The same body on a grid whose axes (of z, y, x) run otherwise."""
    grid, voxels = volume.geometry, volume.voxels_zyx.transpose(axes)
    affine = grid.affine[:3, :3][:, [2 - axes[2], 2 - axes[1], 2 - axes[0]]]
    corner = np.array(grid.origin_xyz_mm)
    for axis, flip in enumerate(flips):  # of the new array
        if flip:
            corner = corner + affine[:, 2 - axis] * (voxels.shape[axis] - 1)
            affine[:, 2 - axis] *= -1
            voxels = np.flip(voxels, axis)
    direction = tuple(float(v) for v in (affine / SPACING).ravel())
    shape = (voxels.shape[0], voxels.shape[1], voxels.shape[2])
    place = (float(corner[0]), float(corner[1]), float(corner[2]))
    return Volume(np.ascontiguousarray(voxels), Geometry(shape, (SPACING,) * 3, place, direction, "1.2.3"), "1.2.9")


def test_the_tumour_is_proposed_and_neither_heart_nor_vessel_nor_skin() -> None:
    (region,), notes = functional_volumes(phases(), Proposal())
    truth = ball(TUMOR, 9.0)
    assert 2 * (region.mask & truth).sum() / (region.mask.sum() + truth.sum()) > 0.9
    assert (region.side, region.label, region.origin, region.verdict) == ("L", "Tumor, left", "enhancement", "doubtful")
    assert notes == ("right breast: nothing of 0.3 cc enhances by 70 %",)
    assert "from the images alone" in region.words


def test_figures_are_those_of_the_definition() -> None:
    (region,), _ = functional_volumes(phases(rise=1.5, wash=0.8), Proposal())
    assert region.figures["ftv_cc"] == pytest.approx(ball(TUMOR, 9.0).sum() * SPACING**3 / 1000, rel=0.15)
    assert region.figures["pe_peak"] == pytest.approx(150, rel=0.05)
    assert region.figures["ser_median"] == pytest.approx(1 / 0.8, rel=0.05)
    assert (region.figures["early_s"], region.figures["late_s"]) == (135.0, 405.0)


@pytest.mark.parametrize(
    ("made", "own", "why"),
    [
        (phases(tumor_mm=0.0), Proposal(), "left breast: nothing of 0.3 cc enhances"),
        (phases(rise=0.6), Proposal(), "left breast: nothing of 0.3 cc enhances"),
        (phases(wash=2.0), Proposal(ser_least=0.9), "left breast: nothing of 0.3 cc enhances"),
        (phases(gland=1.0), Proposal(), "left breast: more than 40% of it enhances"),
        (phases(), Proposal(ftv_least_cc=50.0), "left breast: nothing of 50 cc enhances"),
    ],
)
def test_where_no_tumour_stands_out_nothing_is_proposed_and_it_is_told(made: Phases, own: Proposal, why: str) -> None:
    regions, notes = functional_volumes(made, own)
    assert not regions
    assert any(note.startswith(why) for note in notes)


def test_in_a_half_without_a_breast_nothing_is_proposed_and_it_is_told() -> None:
    """The side of the tumour is black, down to what lies before the chest; a bright spot is left in it."""
    made = phases()

    def without(volume: Volume, spot: float) -> Volume:
        voxels = volume.voxels_zyx.copy()
        voxels[:, :63, 84:] = 1.0
        voxels[ball((20, 66, 112), 5.0)] = spot
        return Volume(voxels, volume.geometry, volume.series_uid)

    some = (without(v, spot) for v, spot in zip((made.before, made.early, made.late), (200, 500, 470), strict=True))
    regions, notes = functional_volumes(Phases(*some, 135.0, 405.0), Proposal(ftv_least_cc=0.1))
    assert [region.side for region in regions if region.side == "L"] == []
    assert any(n.startswith("left breast: only 9 cc of breast are in the images") for n in notes), notes


def test_equal_images_give_equal_voxels() -> None:
    one, other = (functional_volumes(phases(), Proposal())[0][0] for _ in range(2))
    assert np.array_equal(one.mask, other.mask)
    assert one.figures == other.figures


@settings(max_examples=6, deadline=None)
@given(
    axes=st.permutations((0, 1, 2)).map(lambda p: (p[0], p[1], p[2])),
    flips=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_the_region_does_not_depend_on_how_the_grid_runs(
    axes: tuple[int, int, int], flips: tuple[bool, bool, bool]
) -> None:
    made = phases()
    changed = Phases(*(turned(v, axes, flips) for v in (made.before, made.early, made.late)), 135.0, 405.0)
    (straight,), _ = functional_volumes(made, Proposal())
    (region,), _ = functional_volumes(changed, Proposal())
    mask = np.flip(region.mask, [n for n, flip in enumerate(flips) if flip]).transpose(np.argsort(axes))
    overlap = 2 * (mask & straight.mask).sum() / (mask.sum() + straight.mask.sum())
    assert (region.side, overlap > 0.98) == ("L", True)


def test_images_of_one_breast_have_no_side() -> None:
    made = phases()

    def half(volume: Volume) -> Volume:
        grid = volume.geometry
        part = Geometry((40, 110, 80), grid.spacing_xyz_mm, (0.0, -110.0, -40.0), grid.direction, "1.2.3")
        return Volume(volume.voxels_zyx[:, :, 80:], part, volume.series_uid)

    one = Phases(half(made.before), half(made.early), half(made.late), 135.0, 405.0)
    (region,), _ = functional_volumes(one, Proposal())
    assert (region.side, region.label) == (None, "Tumor")
    assert region.mask[20, 32, 32]


def test_oblique_or_empty_images_have_no_breast() -> None:
    early = phases().early
    slanted = Geometry(SHAPE, (SPACING,) * 3, (0.0, 0.0, 0.0), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1.0))
    for voxels, grid in ((early.voxels_zyx, slanted), (np.zeros(SHAPE, np.float32), early.geometry)):
        with pytest.raises(ExamRejected) as error:
            breasts_in(voxels.astype(np.float32), grid)
        assert error.value.code == "no-breast"


def test_phases_of_another_grid_than_t1c_are_refused() -> None:
    made = phases()
    other = turned(made.early, (0, 1, 2), (True, False, False))
    require_one_grid(made, made.early)
    with pytest.raises(ExamRejected, match="another grid"):
        require_one_grid(made, other)
