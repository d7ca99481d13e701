"""Arrays come back as they were written; a file that declares more than it has is refused in little memory."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.bounded_arrays import array_of, arrays_of
from pipeline.errors import InputRejected
from pipeline.pictures.panel_file import load_panels
from pipeline.roi.grid_regions import load_regions
from pipeline.signature import container
from tests.support.npy_bombs import deflated, npy, signature_that_declares

MEBIBYTE = 1024**2
HUGE = (2**20, 2**21)


@given(
    array=hnp.arrays(
        st.sampled_from([np.float64, np.float32, np.int32, np.uint8, np.bool_]), hnp.array_shapes(min_side=0)
    ),
    fortran=st.booleans(),
)
def test_an_array_is_what_numpy_wrote(array: np.ndarray, fortran: bool) -> None:
    file = io.BytesIO()
    np.save(file, np.asfortranarray(array) if fortran else array)
    read = array_of(file.getvalue())
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)
    assert read.flags.writeable


@given(content=st.binary(max_size=200))
def test_bytes_that_are_no_array_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        array_of(b"\x93NUMPY\x01\x00" + content)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 1099511627776), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -8), }",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (1099511627776,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<U1000000000', 'fortran_order': False, 'shape': (1000,), }",
        "(" * 5000,
    ],
)
def test_a_header_of_absurd_sizes_takes_no_memory(header: str) -> None:
    content = npy(header, b"12345678")
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"\w"):
            array_of(content)
        assert tracemalloc.get_traced_memory()[1] < 8 * MEBIBYTE
    finally:
        tracemalloc.stop()


def npz(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("load", [load_panels, load_regions, arrays_of])
def test_panels_and_regions_of_absurd_sizes_take_no_memory(tmp_path: Path, load) -> None:
    declared = npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {HUGE}, }}", b"{}")
    path = npz(tmp_path / "a.npz", {"description.npy": declared})
    tracemalloc.start()
    try:
        with pytest.raises((InputRejected, ValueError), match=r"\w"):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 8 * MEBIBYTE
    finally:
        tracemalloc.stop()


def test_what_inflates_beyond_the_limit_is_refused_uninflated(tmp_path: Path) -> None:
    path = deflated(tmp_path / "a.npz", 64 * MEBIBYTE)
    assert path.stat().st_size < MEBIBYTE
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="it declares"):
            arrays_of(path, most_bytes=16 * MEBIBYTE)
        assert tracemalloc.get_traced_memory()[1] < 8 * MEBIBYTE
    finally:
        tracemalloc.stop()


def test_a_region_that_declares_more_voxels_than_it_has_is_refused(tmp_path: Path) -> None:
    text = (
        '{"schema": "axrad.regions/1", "regions": [{"grid": [[1, 1, 1], [1, 1, 1], [0, 0, 0], [1], "1"],'
        '"shape_zyx": [1048576, 1048576, 1], "sources_z": []}]}'
    )
    np.savez(
        tmp_path / "r.npz",
        description=np.frombuffer(text.encode(), dtype=np.uint8),
        voxels_0=np.zeros(1, dtype=np.uint8),
    )
    with pytest.raises(InputRejected) as refused:
        load_regions(tmp_path / "r.npz")
    assert "declares" in str(refused.value.__cause__)


@pytest.mark.parametrize("shape", [HUGE, (2**62, 2**62), (2**40,)])
def test_a_signature_whose_array_declares_an_absurd_size_is_refused(shape: tuple[int, ...]) -> None:
    data = signature_that_declares(shape)
    tracemalloc.start()
    try:
        with pytest.raises(InputRejected) as refused:
            container.from_bytes(data, "s.axsig")
        assert "declares" in refused.value.message
        assert tracemalloc.get_traced_memory()[1] < 64 * MEBIBYTE
    finally:
        tracemalloc.stop()


def test_a_signature_whose_members_overlap_is_refused() -> None:
    data = container.to_bytes(container.load(container.demonstration_path()))
    at = data.rindex(b"PK\x01\x02")
    grown = bytearray(data)
    grown[at + 20 : at + 28] = (2**31).to_bytes(4, "little") * 2
    with pytest.raises(InputRejected, match="declare more"):
        container.from_bytes(bytes(grown), "s.axsig")
