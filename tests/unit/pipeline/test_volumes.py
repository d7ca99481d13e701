"""Images become one regular grid of real values, or are refused with the slice named."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from config.schema import Sequences
from pipeline.catalog import FrameRef, Selection, read_facts
from pipeline.errors import ExamRejected, GeometryRejected, NotDicom, PixelsRejected
from pipeline.volumes import load, load_frames, load_series, stacks_of
from tests.support.slices import base, grid, item, pixel_module, save, uid, write_enhanced, write_slices

AXES = [
    tuple(float(v) for v in (np.eye(3)[:, list(order)] * signs).ravel())
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
SHAPE = (4, 5, 6)


def ramp(shape: tuple[int, int, int] = SHAPE, dtype: type = np.int16) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def all_of(paths: list[Path]) -> list[tuple[Path, int | None]]:
    return [(p, None) for p in paths]


def value_at(volume, point: np.ndarray) -> float:
    """The value of the voxel in which a patient point lies."""
    i, j, k = np.round((np.linalg.inv(volume.geometry.affine) @ [*point, 1])[:3]).astype(int)
    return float(volume.voxels_zyx[k, j, i])


@pytest.mark.parametrize("direction", AXES)
def test_every_axis_permutation_and_flip_puts_each_value_where_it_was(tmp_path: Path, direction) -> None:
    where = grid(SHAPE, (0.7, 0.9, 2.5), (-31.0, 12.0, 45.0), direction)
    volume = load_frames(all_of(write_slices(tmp_path, ramp(), where)))
    for k, j, i in itertools.product(range(4), range(5), range(6)):
        assert value_at(volume, (where.affine @ [i, j, k, 1])[:3]) == ramp()[k, j, i]
    assert volume.geometry.voxel_mm3 == pytest.approx(0.7 * 0.9 * 2.5)
    # The normal follows from rows and columns, whatever the order of the slices.
    assert np.linalg.det(np.reshape(volume.geometry.direction, (3, 3))) == pytest.approx(1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles=st.tuples(*[st.floats(-3.1, 3.1)] * 3),
    order=st.permutations(range(4)),
    spacing=st.tuples(*[st.floats(0.3, 4)] * 3),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
)
def test_oblique_slices_in_any_order_are_sorted_by_position(tmp_path_factory, angles, order, spacing, origin) -> None:
    (a, b, c), cos, sin = angles, np.cos, np.sin
    turn = (
        np.array([[cos(a), -sin(a), 0], [sin(a), cos(a), 0], [0, 0, 1]])
        @ np.array([[cos(b), 0, sin(b)], [0, 1, 0], [-sin(b), 0, cos(b)]])
        @ np.array([[1, 0, 0], [0, cos(c), -sin(c)], [0, sin(c), cos(c)]])
    )
    rounded = tuple(float(f"{v:.8f}") for v in turn.ravel())
    where = grid(SHAPE, tuple(round(s, 4) for s in spacing), tuple(round(o, 4) for o in origin), rounded)
    folder = tmp_path_factory.mktemp("s")
    paths = write_slices(folder, ramp(), where, numbers=[n + 1 for n in order])
    volume = load_frames(all_of([paths[n] for n in order]))
    assert np.array_equal(volume.voxels_zyx, ramp())
    assert np.abs(volume.geometry.affine - where.affine).max() < 1e-3
    assert [s.ref.sop_instance_uid for s in volume.sources_z] == [uid("s", z) for z in range(4)]


def test_an_enhanced_image_gives_the_same_volume_as_classic_slices(tmp_path: Path) -> None:
    where = grid(SHAPE, (0.7, 0.9, 2.5), (3.0, 4.0, 5.0))
    classic = load_frames(all_of(write_slices(tmp_path / "c", ramp(), where)))
    enhanced = load_frames([(write_enhanced(tmp_path / "e.dcm", ramp(), where, order=[2, 0, 3, 1]), None)])
    assert np.array_equal(classic.voxels_zyx, enhanced.voxels_zyx)
    assert classic.geometry.same_grid(enhanced.geometry)
    assert [s.frame for s in enhanced.sources_z] == [2, 4, 1, 3]


def test_chosen_frames_of_a_dynamic_enhanced_image_make_one_phase(tmp_path: Path) -> None:
    where = grid((8, 5, 6))
    path = write_enhanced(tmp_path / "e.dcm", ramp((8, 5, 6)), where, order=range(8))
    volume = load_frames([(path, n) for n in (8, 6, 7)])
    assert np.array_equal(volume.voxels_zyx, ramp((8, 5, 6))[5:8])


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8])
def test_signed_and_unsigned_values_are_kept_in_int16_where_they_fit(tmp_path: Path, dtype) -> None:
    stored = ramp(dtype=dtype)
    if dtype is np.int16:
        stored -= 60
    volume = load_frames(all_of(write_slices(tmp_path, stored, grid(SHAPE))))
    assert volume.voxels_zyx.dtype == np.int16
    assert np.array_equal(volume.voxels_zyx, stored)


def test_values_beyond_int16_are_kept_exactly_in_int32(tmp_path: Path) -> None:
    stored = ramp(dtype=np.uint16) + np.uint16(65000)
    volume = load_frames(all_of(write_slices(tmp_path, stored, grid(SHAPE))))
    assert volume.voxels_zyx.dtype == np.int32
    assert np.array_equal(volume.voxels_zyx, stored)


def test_bits_above_the_stored_ones_are_cleared_and_signs_extended(tmp_path: Path) -> None:
    overlay = ramp(dtype=np.uint16) | np.uint16(0xF000)
    volume = load_frames(all_of(write_slices(tmp_path / "u", overlay, grid(SHAPE), bits=12)))
    assert np.array_equal(volume.voxels_zyx, ramp())
    twelve = (ramp() - 60).astype(np.int16) & 0x0FFF
    volume = load_frames(all_of(write_slices(tmp_path / "s", twelve, grid(SHAPE), bits=12)))
    assert np.array_equal(volume.voxels_zyx, ramp() - 60)


def test_every_slice_is_rescaled_with_its_own_slope(tmp_path: Path) -> None:
    pairs = [(1.5, 0.0), (2.25, -10.0), (0.5, 3.0), (1.0, 0.0)]
    wanted = np.stack([ramp()[z] * s + i for z, (s, i) in enumerate(pairs)]).astype(np.float32)
    classic = load_frames(all_of(write_slices(tmp_path / "c", ramp(), grid(SHAPE), rescale=pairs)))
    enhanced = load_frames(
        [(write_enhanced(tmp_path / "e.dcm", ramp(), grid(SHAPE), order=[3, 1, 0, 2], rescale=pairs), None)]
    )
    for volume in (classic, enhanced):
        assert volume.voxels_zyx.dtype == np.float32
        assert np.array_equal(volume.voxels_zyx, wanted)


def test_a_whole_number_rescale_stays_in_whole_numbers(tmp_path: Path) -> None:
    volume = load_frames(all_of(write_slices(tmp_path, ramp(), grid(SHAPE), rescale=[(2, -1024)] * 4)))
    assert volume.voxels_zyx.dtype == np.int16
    assert np.array_equal(volume.voxels_zyx, ramp() * 2 - 1024)


def test_a_missing_slice_is_refused_and_its_neighbours_named(tmp_path: Path) -> None:
    paths = write_slices(tmp_path, ramp((6, 5, 6)), grid((6, 5, 6)))
    with pytest.raises(GeometryRejected, match=rf"1 slice is missing between {uid('s', 2)}.*{uid('s', 4)}") as caught:
        load_frames(all_of([p for z, p in enumerate(paths) if z != 3]))
    assert caught.value.code == "missing-slice"


def test_a_duplicate_slice_is_refused_and_named(tmp_path: Path) -> None:
    paths = write_slices(tmp_path, ramp(), grid(SHAPE))
    again = write_slices(
        tmp_path, ramp((1, 5, 6)), grid((1, 5, 6), origin_xyz_mm=(0, 0, 4)), series="s", ImageComments="2"
    )
    with pytest.raises(GeometryRejected, match=uid("s", 2)) as caught:
        load_frames(all_of(paths + again))
    assert caught.value.code == "duplicate-slice"


def test_unevenly_spaced_slices_are_refused(tmp_path: Path) -> None:
    paths = write_slices(tmp_path, ramp(), grid(SHAPE))
    off = write_slices(tmp_path, ramp((1, 5, 6)), grid((1, 5, 6), origin_xyz_mm=(0, 0, 8.9)), ImageComments="2")
    with pytest.raises(GeometryRejected, match=r"uneven spacing.*2\.900 mm apart where others are 2\.000") as caught:
        load_frames(all_of(paths + off))
    assert caught.value.code == "uneven-slices"


def test_a_sheared_stack_is_refused(tmp_path: Path) -> None:
    paths = [
        write_slices(
            tmp_path, ramp()[z : z + 1], grid((1, 5, 6), origin_xyz_mm=(0, 0.6 * z, 2.0 * z)), ImageComments=f"{z}"
        )[0]
        for z in range(4)
    ]
    with pytest.raises(GeometryRejected) as caught:
        load_frames(all_of(paths))
    assert caught.value.code == "sheared-stack"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"direction": (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)}, "oriented otherwise"),
        ({"spacing_xyz_mm": (1.2, 1.2, 2.0)}, "another pixel spacing"),
        ({"frame": "9.9"}, "another frame of reference"),
        ({"shape_zyx": (1, 7, 6)}, "7 x 6 pixels"),
    ],
)
def test_a_slice_unlike_the_others_is_refused_and_named(tmp_path: Path, change, says) -> None:
    paths = write_slices(tmp_path, ramp(), grid(SHAPE))
    other = grid(**{"shape_zyx": (1, 5, 6), "origin_xyz_mm": (0.0, 0.0, 8.0), **change})
    odd = write_slices(tmp_path, ramp(other.shape_zyx), other, ImageComments="odd")
    with pytest.raises(GeometryRejected, match=says) as caught:
        load_frames(all_of(paths + odd))
    assert caught.value.uid == odd[0].stem


def test_two_slices_are_no_volume(tmp_path: Path) -> None:
    with pytest.raises(GeometryRejected, match="only 2 slices"):
        load_frames(all_of(write_slices(tmp_path, ramp((2, 5, 6)), grid((2, 5, 6)))))


def test_an_image_without_a_place_is_refused(tmp_path: Path) -> None:
    ds = base("1.2.840.10008.5.1.4.1.1.4", "1.2.9", "s")
    pixel_module(ds, ramp()[0])
    with pytest.raises(GeometryRejected, match=r"1\.2\.9 has no Image Position"):
        load_frames([(save(ds, tmp_path / "a.dcm"), None)])


def test_text_is_not_dicom_and_a_report_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello, this is no DICOM file at all\n" * 9)
    with pytest.raises(NotDicom):
        load_frames([(tmp_path / "a.txt", None)])
    report = save(base("1.2.840.10008.5.1.4.1.1.88.33", "1.2.9", "r", "SR"), tmp_path / "sr.dcm")
    with pytest.raises(PixelsRejected, match="holds no image"):
        load_frames([(report, None)])


def test_an_image_once_compressed_with_loss_is_refused_unless_allowed(tmp_path: Path) -> None:
    paths = write_slices(tmp_path, ramp(), grid(SHAPE), LossyImageCompression="01")
    with pytest.raises(PixelsRejected, match="compressed with loss") as caught:
        load_frames(all_of(paths))
    assert caught.value.code == "lossy"
    assert np.array_equal(load_frames(all_of(paths), allow_lossy=True).voxels_zyx, ramp())


def test_truncated_pixel_data_is_refused(tmp_path: Path) -> None:
    paths = write_slices(tmp_path, ramp(), grid(SHAPE))
    paths[1].write_bytes(paths[1].read_bytes()[:-9])
    with pytest.raises(ExamRejected):
        load_frames(all_of(paths))


def test_a_series_of_phases_is_split_by_temporal_position(tmp_path: Path) -> None:
    paths = []
    for phase in (1, 2, 3):
        paths += write_slices(tmp_path, ramp() + 100 * phase, grid(SHAPE), TemporalPositionIdentifier=phase)
    volumes = load_series(paths)
    assert sorted(int(v.voxels_zyx[0, 0, 0]) for v in volumes) == [100, 200, 300]
    assert all(np.ptp(v.voxels_zyx) == ramp().max() for v in volumes)


def test_phases_without_any_mark_are_split_by_instance_number(tmp_path: Path) -> None:
    paths = []
    for phase in (0, 1):
        numbers = [phase * 4 + z + 1 for z in range(4)]
        paths += write_slices(tmp_path, ramp() + 100 * phase, grid(SHAPE), numbers=numbers, ImageComments=str(phase))
    assert sorted(int(v.voxels_zyx[0, 0, 0]) for v in load_series(paths)) == [0, 100]


def test_b_values_in_one_series_make_one_volume_each(tmp_path: Path) -> None:
    paths = []
    for b in (0.0, 800.0):
        paths += write_slices(tmp_path, ramp() + int(b), grid(SHAPE), DiffusionBValue=b)
    assert sorted(int(v.voxels_zyx[0, 0, 0]) for v in load_series(paths)) == [0, 800]


def test_phases_in_one_enhanced_image_are_split(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "e.dcm", ramp(), grid(SHAPE), order=[0, 1, 2, 3] * 2, phases=[1] * 4 + [2] * 4)
    assert len(load_series([path])) == 2


def numbered_in_stacks(path: Path, stack_of) -> Path:
    """An enhanced image whose frame n belongs to stack `stack_of(n)`."""
    ds = dcmread(path)
    for n, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        frame.FrameContentSequence[0].StackID = str(stack_of(n))
    ds.save_as(path)
    return path


@pytest.mark.parametrize("phases", [None, [1] * 12 + [2] * 12])
def test_slices_acquired_in_packages_are_one_volume_by_every_way(tmp_path: Path, phases: list[int] | None) -> None:
    """Every third slice first, each package a stack of its own: for a region's grid and for matching alike."""
    packages = [z for first in range(3) for z in range(first, 12, 3)] * (2 if phases else 1)
    shape = (12, 5, 6)
    path = write_enhanced(tmp_path / "e.dcm", ramp(shape), grid(shape), order=packages, phases=phases)
    numbered_in_stacks(path, lambda n: n % 12 // 4 + 1)
    stacks, rejected = stacks_of([path])
    assert rejected == []
    assert [s.geometry.shape_zyx for s in stacks] == [shape] * (2 if phases else 1)
    for at, stack in enumerate(stacks):
        chosen = Selection("s", "test", frames=tuple(FrameRef(read_facts(path), 12 * at + n + 1) for n in range(12)))
        assert load(chosen, Sequences()).geometry.same_grid(stack.geometry)
        assert np.array_equal(stack.load().voxels_zyx, ramp(shape))


def test_stacks_that_make_no_grid_together_stay_apart(tmp_path: Path) -> None:
    """Two orientations in one image: the stack tells them apart."""
    path = write_enhanced(tmp_path / "e.dcm", ramp((8, 5, 6)), grid((8, 5, 6)), order=range(8))
    ds = dcmread(path)
    turned = item(PlaneOrientationSequence=[item(ImageOrientationPatient=[0, 1, 0, 0, 0, -1])])
    shared = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    del ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    for n, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        frame.PlaneOrientationSequence = shared if n < 4 else turned.PlaneOrientationSequence
        frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 2.0 * n] if n < 4 else [2.0 * n, 0, 0]
    ds.save_as(path)
    stacks, rejected = stacks_of([numbered_in_stacks(path, lambda n: n // 4 + 1)])
    assert (len(stacks), rejected) == (2, [])


SAGITTAL = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def test_two_sagittal_slabs_in_one_series_are_two_volumes(tmp_path: Path) -> None:
    paths = write_slices(tmp_path, ramp(), grid(SHAPE, origin_xyz_mm=(-90, 0, 0), direction=SAGITTAL))
    paths += write_slices(
        tmp_path, ramp() + 500, grid(SHAPE, origin_xyz_mm=(60, 0, 0), direction=SAGITTAL), ImageComments="left"
    )
    volumes = load_series(paths)
    assert [v.geometry.origin_xyz_mm[0] for v in volumes] == [-90, 60]
    with pytest.raises(GeometryRejected):
        load_frames(all_of(paths))


def test_images_that_make_no_volume_are_listed_with_the_reason_and_others_still_load(tmp_path: Path) -> None:
    good = write_slices(tmp_path / "a", ramp(), grid(SHAPE), series="good")
    bad = write_slices(tmp_path / "b", ramp(), grid(SHAPE), series="bad")
    stacks, reasons = stacks_of([*good, *bad[:2], *bad[3:]])
    assert [s.series_uid for s in stacks] == [uid("good")]
    assert [r.code for r in reasons] == ["missing-slice"]


def tiled(path: Path, stored: np.ndarray, geometry, maker: str, **values: object) -> Path:
    """The slices in one image, as Siemens or United Imaging tile them. The file's first slice is the first tile."""
    count, rows, columns = stored.shape
    wide = int(np.ceil(np.sqrt(count)))
    high = wide if maker == "SIEMENS" else -(-count // wide)
    image = np.zeros((high * rows, wide * columns), stored.dtype)
    for k, plane in enumerate(stored):
        row, column = divmod(k, wide)
        image[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns] = plane
    (path,) = write_slices(path, image[None], geometry, Manufacturer=maker, **values)
    ds = dcmread(path)
    x, y, z = geometry.spacing_xyz_mm
    axes = np.asarray(geometry.direction).reshape(3, 3)
    if maker == "SIEMENS":
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
        ds.SpacingBetweenSlices = z
        ds.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", count)
        header = csa_header("SliceNormalVector", [f"{v:.8f}" for v in axes[:, 2]])
        ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", header)
        half = x * (wide - 1) * columns / 2, y * (high - 1) * rows / 2
        corner = np.array(geometry.origin_xyz_mm) - axes[:, 0] * half[0] - axes[:, 1] * half[1]
        ds.ImagePositionPatient = [f"{v:.9f}"[:16] for v in corner]
    else:
        places = [(geometry.affine @ np.array([0, 0, k, 1]))[:3] for k in range(count)]
        items = [item(ImagePositionPatient=[f"{v:.9f}"[:16] for v in place]) for place in places]
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "VFRAME"]
        ds.private_block(0x0065, "Image Private Header", create=True).add_new(0x51, "SQ", items)
        del ds.ImagePositionPatient
    ds.save_as(path)
    return path


def csa_header(name: str, values: list[str]) -> bytes:
    """One entry of Siemens' CSA header, in its newer form (SV10)."""
    data = b"SV10\4\3\2\1" + struct.pack("<II", 1, 77)
    data += struct.pack("<64si4s3i", name.encode(), len(values), b"FD\0\0", 0, len(values), 77)
    for value in values:
        text = value.encode().ljust(-(-len(value) // 4) * 4, b"\0")
        data += struct.pack("<4i", len(value), len(value), 77, len(value)) + text
    return data


@settings(max_examples=40, deadline=None)
@given(
    maker=st.sampled_from(["SIEMENS", "UIH"]),
    count=st.integers(3, 17),
    turn=st.floats(-0.7, 0.7),
    backwards=st.booleans(),
)
def test_slices_tiled_into_one_image_are_put_where_they_were(tmp_path_factory, maker, count, turn, backwards) -> None:
    """Oblique, and also where the slices run against rows x columns."""
    tmp_path = tmp_path_factory.mktemp("tiled")
    c, s = float(np.cos(turn)), float(np.sin(turn))
    axes = np.array([[1.0, 0, 0], [0, c, -s], [0, s, c]])
    if backwards:
        axes[:, 2] *= -1
    shape = (count, 5, 6)
    geometry = grid(shape, (1.5, 2.0, 3.5), (-20.0, 14.0, 30.0), tuple(axes.ravel()))
    (volume,) = load_series([tiled(tmp_path, ramp(shape), geometry, maker)])
    for k in range(count):
        corner = (geometry.affine @ np.array([2, 1, k, 1]))[:3]
        assert value_at(volume, corner) == ramp(shape)[k, 1, 2]


def test_tiled_images_of_several_b_values_are_a_volume_each(tmp_path: Path) -> None:
    geometry = grid(SHAPE)
    paths = [
        tiled(tmp_path, ramp() + 100 * n, geometry, "UIH", numbers=[n + 1], ImageComments=str(n)) for n in range(3)
    ]
    assert [int(v.voxels_zyx[0, 0, 0]) for v in load_series(paths)] == [0, 100, 200]


def test_a_mosaic_that_does_not_tell_where_its_slices_lie_is_refused(tmp_path: Path) -> None:
    paths = write_slices(tmp_path, ramp(), grid(SHAPE), ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
    with pytest.raises(GeometryRejected, match="mosaic that does not tell the number of its slices"):
        load_frames(all_of(paths))


def test_a_frame_number_beyond_the_image_is_refused(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "e.dcm", ramp(), grid(SHAPE), order=range(4))
    with pytest.raises(GeometryRejected, match="has 4 frames; frame 9"):
        load_frames([(path, 9)])


def test_a_modality_lut_is_refused(tmp_path: Path) -> None:
    paths = write_slices(tmp_path, ramp(), grid(SHAPE), ModalityLUTSequence=[item(LUTExplanation="x")])
    with pytest.raises(PixelsRejected, match="Modality LUT"):
        load_frames(all_of(paths))


def test_a_header_with_a_broken_size_is_refused_and_names_it(tmp_path: Path) -> None:
    """pydicom notices only when the value is asked for, with an error of its own."""
    paths = write_slices(tmp_path, ramp(), grid(SHAPE))
    data = paths[0].read_bytes()
    rows = data.index(b"\x28\x00\x10\x00US\x02\x00")
    paths[0].write_bytes(data[: rows + 6] + b"\x03\x00" + data[rows + 8 : rows + 10] + b"\x00" + data[rows + 10 :])
    with pytest.raises(PixelsRejected, match=r"it has no Rows; .*Rows \(a damaged value of VR US\)"):
        load_frames(all_of(paths))
