"""Headers are read in bounded memory and time, whatever their bytes ask for."""

from __future__ import annotations

import io
import resource
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from daemon.feedback.assessment import read_assessment
from dicom_sr.report_source import read_header as read_source
from pipeline.catalog import read_facts
from pipeline.dicom_file import bounded_reading, structure_limits
from pipeline.dicom_file.inflate import Inflated
from pipeline.errors import NotDicom
from pipeline.volumes.checked_header import read_header
from pipeline.volumes.pixels import decode
from tests.support.slices import base, pixel_module, save

MR = "1.2.840.10008.5.1.4.1.1.4"
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
READERS = [read_facts, read_header, read_source, read_assessment]


def image() -> Dataset:
    ds = base(MR, "1.2.3.4", "s")
    pixel_module(ds, np.arange(35, dtype=np.int16).reshape(5, 7))
    return ds


def elements(ds: Dataset, *, implicit: bool = False, big_endian: bool = False) -> bytes:
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = not big_endian, implicit
    write_dataset(file, ds)
    return file.getvalue()


def written(path: Path, ds: Dataset, syntax: str, more: bytes = b"") -> Path:
    """A file as it should be, with bytes of its own before the pixels."""
    save(ds, path)
    before, pixels = Dataset(), Dataset()
    for element in pydicom.dcmread(path):
        (pixels if element.tag.group == 0x7FE0 else before).add(element)
    if syntax == ExplicitVRBigEndian:
        pixels.PixelData = np.frombuffer(pixels.PixelData, np.int16).byteswap().tobytes()
    how = {"implicit": syntax == ImplicitVRLittleEndian, "big_endian": syntax == ExplicitVRBigEndian}
    body = elements(before, **how) + more + elements(pixels, **how)
    if syntax == DeflatedExplicitVRLittleEndian:
        body = zlib.compress(body, 9, -15)
    meta = DicomBytesIO()
    ds.file_meta.TransferSyntaxUID = syntax
    pydicom.filewriter.write_file_meta_info(meta, ds.file_meta)
    path.write_bytes(b"\0" * 128 + b"DICM" + meta.getvalue() + body)
    return path


def nested(depth: int, syntax: str, *, undefined: bool) -> bytes:
    """A private sequence (0099,1010) in itself, so many times."""
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    explicit = syntax != ImplicitVRLittleEndian
    item, item_end, end = ((0xFFFE, n) for n in (0xE000, 0xE00D, 0xE0DD))
    value = b""
    for _ in range(depth):
        size = 0xFFFFFFFF if undefined else len(value)
        inner = struct.pack(order + "HHL", *item, size) + value
        if undefined:
            inner += struct.pack(order + "HHL", *item_end, 0) + struct.pack(order + "HHL", *end, 0)
        size = 0xFFFFFFFF if undefined else len(inner)
        tag = struct.pack(order + "HH", 0x0099, 0x1010)
        value = tag + (b"SQ\0\0" if explicit else b"") + struct.pack(order + "L", size) + inner
    return value


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("depth", [40, 10_000])
def test_sequences_nested_too_deep_are_refused_and_nothing_overflows(
    tmp_path: Path, syntax: str, undefined: bool, depth: int
) -> None:
    path = written(tmp_path / "deep.dcm", image(), syntax, nested(depth, syntax, undefined=undefined))
    for read in (*READERS, lambda p: list(decode(p, [None]))):
        if depth > structure_limits.MOST_DEPTH * 10:
            with pytest.raises(NotDicom):
                read(path)
            continue
        # What is little deeper than allowed may be read; nothing but an error of ours may come of it.
        with suppress(NotDicom):
            read(path)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_sequences_as_deep_as_real_ones_are_read(tmp_path: Path, syntax: str) -> None:
    plain = read_facts(written(tmp_path / "plain.dcm", image(), syntax))
    for undefined in (True, False):
        path = written(tmp_path / "nested.dcm", image(), syntax, nested(12, syntax, undefined=undefined))
        assert read_facts(path).tags == plain.tags
        (pixels,) = decode(path, [None])
        assert np.array_equal(pixels, np.arange(35).reshape(5, 7))


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_more_elements_than_any_object_has_are_refused(
    tmp_path: Path, syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structure_limits, "MOST_ELEMENTS", 500)
    ds = image()
    items = []
    for n in range(400):
        item = Dataset()
        item.ReferencedSOPInstanceUID = f"1.2.{n}"
        items.append(item)
    ds.ReferencedImageSequence = Sequence(items)
    path = written(tmp_path / "many.dcm", ds, syntax)
    if path.stat().st_size > structure_limits.ALWAYS_FINE:
        with pytest.raises(NotDicom, match="more than 500 elements"):
            read_facts(path)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_header_longer_than_any_object_has_is_refused(
    tmp_path: Path, syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structure_limits, "MOST_HEADER_BYTES", 1 << 21)
    ds = image()
    item = Dataset()
    item.add_new(0x00991011, "OB", bytes(3 << 20))
    ds.ReferencedImageSequence = Sequence([item])
    with pytest.raises(NotDicom, match="longer than 2 MB"):
        read_facts(written(tmp_path / "long.dcm", ds, syntax))


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_pixels_lie_where_they_are_said_to(tmp_path: Path, syntax: str) -> None:
    path = written(tmp_path / "image.dcm", image(), syntax)
    _, place = bounded_reading.located(path)
    assert place is not None
    assert (place.keyword, place.length, place.deflated) == ("PixelData", 70, syntax == SYNTAXES[3])
    (pixels,) = decode(path, [None])
    assert np.array_equal(pixels, np.arange(35).reshape(5, 7))


def test_of_a_bomb_only_the_header_is_inflated(tmp_path: Path) -> None:
    """Checked in a process that may not have more: 300 MB of zeros in 300 KB, also as header."""
    ds = image()
    ds.PixelData = bytes(300 << 20)
    as_pixels = written(tmp_path / "pixels.dcm", ds, DeflatedExplicitVRLittleEndian)
    ds = image()
    ds.add_new(0x00991010, "OB", bytes(300 << 20))
    as_header = written(tmp_path / "header.dcm", ds, DeflatedExplicitVRLittleEndian)
    assert max(p.stat().st_size for p in (as_pixels, as_header)) < 1 << 20
    code = (
        "import sys, resource; from pathlib import Path; from pipeline.catalog import read_facts\n"
        "from pipeline.decoding import content_digest\n"
        "from pipeline.volumes.pixels import decode; from pipeline.errors import AxradError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in map(Path, sys.argv[1:]):\n"
        "    for work in (read_facts, content_digest, lambda p: list(decode(p, [None]))):\n"
        "        try: print(work(path) and 'read')\n"
        "        except AxradError as error: print(error.message)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(as_pixels), str(as_header)], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "read"
    assert "314572800 bytes, and its header asks for 70" in lines[2]
    assert "header is longer than 64 MB" in lines[3]
    assert int(done.stderr.split()[-1]) < 150 * 1024


def test_a_segmentation_of_twenty_thousand_frames_is_read_within_bounds(cases: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = cases / "faults2" / "dimse" / "seg_20k_frames.dcm"
    facts = read_facts(path)
    assert facts.frames == 20_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024
    last, first = decode(path, [20_000, 1])
    assert last.shape == first.shape == (96, 96)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=5000), reads=st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 3000)), max_size=8))
def test_any_part_of_an_inflated_stream_is_what_zlib_inflates(data: bytes, reads: list[tuple[int, int]]) -> None:
    stream = Inflated(io.BytesIO(b"head" + zlib.compress(data, 6, -15) + b"\0"), 4)
    for offset, size in reads:
        assert stream.at(offset, size) == data[offset : offset + size]


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=400), implicit=st.booleans(), big=st.booleans(), depth=st.integers(0, 12))
def test_whatever_the_bytes_counting_ends(data: bytes, implicit: bool, big: bool, depth: int) -> None:
    head = nested(depth, ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian, undefined=True)
    assert (
        structure_limits.count(head + data, 0, len(head + data), implicit=implicit, big_endian=big)
        <= len(head + data) // 8 + 1
    )


def test_a_file_in_memory_is_read_whole_unless_it_is_deflated(tmp_path: Path) -> None:
    for syntax in SYNTAXES[:3]:
        data = written(tmp_path / "image.dcm", image(), syntax).read_bytes()
        assert bounded_reading.whole(data).PixelData == pydicom.dcmread(io.BytesIO(data)).PixelData
    data = written(tmp_path / "image.dcm", image(), SYNTAXES[3]).read_bytes()
    with pytest.raises(NotDicom, match="deflated"):
        bounded_reading.whole(data)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("nesting", ["plain", "in a sequence", "in a sequence of undefined length"])
@pytest.mark.parametrize("vr", ["own", "UN", "UC"])
def test_a_text_or_number_longer_than_any_may_be_is_refused_before_it_becomes_objects(
    tmp_path: Path, syntax: str, nesting: str, vr: str
) -> None:
    """60 KB of deflated Image Type made 30 million strings, 5 GB, and a row of 150 MB in the ledger."""
    implicit, big = syntax == ImplicitVRLittleEndian, syntax == ExplicitVRBigEndian
    order = ">" if big else "<"
    value = b"1\\" * (structure_limits.MOST_LIST_BYTES // 2 + 1)
    for group, number in ((0x0008, 0x0008), (0x0020, 0x0032), (0x0008, 0x103E)):
        if implicit:
            element = struct.pack(order + "HHL", group, number, len(value)) + value
        elif vr == "own":
            continue  # explicit VR has no room for such a length
        else:
            element = struct.pack(order + "HH2sHL", group, number, vr.encode(), 0, len(value)) + value
        if nesting != "plain":
            undefined = nesting.endswith("undefined length")
            body = struct.pack(order + "HHL", 0xFFFE, 0xE000, len(element)) + element
            body += struct.pack(order + "HHL", 0xFFFE, 0xE0DD, 0) if undefined else b""
            length = structure_limits.UNDEFINED if undefined else len(body)
            head = (order + "HHL", 0x0099, 0x1010) if implicit else (order + "HH2sHL", 0x0099, 0x1010, b"SQ", 0)
            element = struct.pack(*head, length) + body
        with pytest.raises(NotDicom, match=r"is longer than any may be"):
            read_facts(written(tmp_path / "long.dcm", image(), syntax, element))


def test_a_contour_of_a_million_points_is_counted_and_not_converted(tmp_path: Path) -> None:
    """pydicom makes an object of every coordinate: 1.5 GB."""
    ds = base("1.2.840.10008.5.1.4.1.1.481.3", "1.2.3.5", "s")
    ds.Modality = "RTSTRUCT"
    roi, contours, contour = Dataset(), Dataset(), Dataset()
    roi.ROINumber, roi.ROIName = 1, "GTV"
    contour.ContourGeometricType = "CLOSED_PLANAR"
    contour.add_new(0x30060050, "UT", "\\".join(["1.5"] * 3_000_000))
    contours.ContourSequence, contours.ReferencedROINumber = [contour], 1
    ds.StructureSetROISequence, ds.ROIContourSequence = [roi], [contours]
    path = tmp_path / "rt.dcm"
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    ds.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=True)
    code = (
        "import sys, resource; from pathlib import Path; from pipeline.catalog import read_facts\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert 'no_region' not in read_facts(Path(sys.argv[1])).tags\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150 * 1024


def test_a_private_b_value_of_megabytes_is_none(tmp_path: Path) -> None:
    ds = image()
    ds.Manufacturer = "SIEMENS"
    ds.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
    ds.add_new(0x0019100C, "UN", b"800\\" * (1 << 18))
    assert "b_value" not in read_facts(written(tmp_path / "b.dcm", ds, ImplicitVRLittleEndian)).tags
    ds[0x0019100C].value = b"800 "
    assert read_facts(written(tmp_path / "b.dcm", ds, ImplicitVRLittleEndian)).tags["b_value"] == 800
