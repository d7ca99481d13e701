"""Compressed frames are held against their header before anything decodes them."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames

from pipeline.codestream import Broken, Shape, check, fragments, jpeg, jpeg2000

LOSSLESS, LS, J2K, RLE = (f"1.2.840.10008.1.2.{n}" for n in ("4.70", "4.80", "4.90", "5"))
SIZES = st.integers(1, 65_535)


def shape(rows: int = 48, columns: int = 96, **changes: Any) -> Shape:
    values = {"samples": 1, "allocated": 16, "stored": 12, "signed": False, "photometric": "MONOCHROME2"} | changes
    return Shape(rows=rows, columns=columns, **({"high": values["stored"] - 1} | values))


def segment(marker: int, body: bytes, fill: int = 0) -> bytes:
    return b"\xff" * fill + bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def frame(marker: int, rows: int, columns: int, bits: int = 12, components: int = 1) -> bytes:
    body = struct.pack(">BHHB", bits, rows, columns, components)
    return segment(marker, body + b"".join(bytes((n + 1, 0x11, 0)) for n in range(components)))


def scan(components: int = 1, near: int = 0, data: bytes = b"\x12\x34") -> bytes:
    body = bytes((components,)) + b"".join(bytes((n + 1, 0)) for n in range(components)) + bytes((near, 0, 0))
    return segment(0xDA, body) + data


def jpeg_of(*parts: bytes, end: bytes = b"\xff\xd9") -> bytes:
    return b"\xff\xd8" + b"".join(parts) + end


def siz(
    rows: int, columns: int, components: int = 1, bits: int = 12, tile: int = 65_536, signed: bool = False
) -> bytes:
    body = struct.pack(">H8LH", 0, columns, rows, 0, 0, tile, tile, 0, 0, components)
    return segment(0x51, body + bytes((bits - 1 | signed << 7, 1, 1)) * components)


def j2k_of(*header: bytes, data: bytes = b"\xff\x93\x01\x02") -> bytes:
    part = b"\xff\x90" + struct.pack(">HHLBB", 10, 0, 12 + len(data), 0, 1) + data
    return b"\xff\x4f" + b"".join(header) + part + b"\xff\xd9"


def boxed(stream: bytes) -> bytes:
    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">L", len(body) + 8) + kind + body

    boxes = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ") + box(b"jp2h", b"\0" * 30)
    return boxes + box(b"jp2c", stream)


def packbits(values: bytes) -> bytes:
    """Runs and literals mixed."""
    found, at = bytearray(), 0
    while at < len(values):
        run = 1
        while run < 128 and at + run < len(values) and values[at + run] == values[at]:
            run += 1
        if run > 1:
            found += bytes((257 - run, values[at]))
        else:
            found += bytes((0, values[at]))
        at += run
    return bytes(found) + b"\0" * (len(found) % 2)


def rle_of(*planes: bytes) -> bytes:
    packed = [packbits(plane) for plane in planes]
    offsets = [64 + sum(map(len, packed[:n])) for n in range(len(packed))]
    return struct.pack("<16L", len(packed), *offsets, *[0] * (15 - len(offsets))) + b"".join(packed)


STREAMS = {
    LOSSLESS: jpeg_of(frame(0xC3, 48, 96), scan()),
    LS: jpeg_of(frame(0xF7, 48, 96), scan()),
    J2K: j2k_of(siz(48, 96)),
    RLE: rle_of(bytes(48 * 96), bytes(range(96)) * 48),
}


@pytest.mark.parametrize("syntax", STREAMS)
def test_a_codestream_of_the_size_that_the_header_gives_is_taken(syntax: str) -> None:
    check(STREAMS[syntax], syntax, shape())


@settings(max_examples=200, deadline=None)
@given(rows=SIZES, columns=SIZES, said=st.tuples(SIZES, SIZES))
def test_any_other_size_is_refused(rows: int, columns: int, said: tuple[int, int]) -> None:
    for syntax, data in (
        (LOSSLESS, jpeg_of(frame(0xC3, rows, columns), scan())),
        (LS, jpeg_of(frame(0xF7, rows, columns), scan())),
        (J2K, j2k_of(siz(rows, columns))),
        (J2K, boxed(j2k_of(siz(rows, columns)))),
    ):
        check(data, syntax, shape(rows, columns))
        if said != (rows, columns):
            with pytest.raises(Broken, match="header says"):
                check(data, syntax, shape(*said))


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 20), columns=st.integers(1, 20), more=st.integers(-3, 3), seed=st.integers(0, 999))
def test_rle_segments_are_as_long_as_the_frame_has_pixels(rows: int, columns: int, more: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = max(1, rows * columns + more)
    planes = [rng.integers(1, 4, size, dtype=np.uint8).tobytes() for _ in range(2)]
    if size == rows * columns:
        check(rle_of(*planes), RLE, shape(rows, columns))
    else:
        with pytest.raises(Broken, match="segment"):
            check(rle_of(*planes), RLE, shape(rows, columns))
    with pytest.raises(Broken, match="segments"):
        check(rle_of(*planes, planes[0]), RLE, shape(rows, columns))


@pytest.mark.parametrize("syntax", STREAMS)
def test_a_codestream_that_was_cut_anywhere_is_refused(syntax: str) -> None:
    data = STREAMS[syntax]
    if syntax == J2K:
        # The end marker may be missing.
        data = data[:-2]
    for end in range(len(data)):
        with pytest.raises(Broken):
            check(data[:end] if syntax != RLE else data[: end & ~1], syntax, shape())


@settings(max_examples=400, deadline=None)
@given(syntax=st.sampled_from(sorted(STREAMS)), data=st.binary(max_size=200), at=st.integers(0, 80))
def test_whatever_the_bytes_they_are_taken_or_refused(syntax: str, data: bytes, at: int) -> None:
    whole = STREAMS[syntax]
    for attempt in (data, whole[:at] + data, whole[:at] + data + whole[at + len(data) :]):
        try:
            check(attempt, syntax, shape())
        except Broken:
            continue


@pytest.mark.parametrize(
    ("why", "syntax", "data"),
    [
        ("several frame headers", LOSSLESS, jpeg_of(frame(0xC3, 48, 96), frame(0xC3, 48, 96), scan())),
        ("several frame headers", LS, jpeg_of(frame(0xF7, 48, 96), scan(), frame(0xF7, 400, 400), scan())),
        ("another way", LOSSLESS, jpeg_of(frame(0xC0, 48, 96), scan())),
        ("another way", LS, jpeg_of(frame(0xC3, 48, 96), scan())),
        ("with loss", LS, jpeg_of(frame(0xF7, 48, 96), scan(near=2))),
        ("components", LS, jpeg_of(frame(0xF7, 48, 96, components=3), scan(3))),
        ("bits", LS, jpeg_of(frame(0xF7, 48, 96, bits=8), scan())),
        ("bits", LS, jpeg_of(frame(0xF7, 48, 96, bits=14), scan())),
        ("second image", LS, jpeg_of(frame(0xF7, 48, 96), scan()) * 2),
        ("second image", LS, jpeg_of(b"\xff\xd8", frame(0xF7, 48, 96), scan())),
        ("before the frame header", LS, jpeg_of(scan(), frame(0xF7, 48, 96))),
        ("no frame header", LS, jpeg_of()),
        ("several sizes", LS, jpeg_of(segment(0xF8, b"\x04\x02\x01\x90\x01\x90"), frame(0xF7, 48, 96), scan())),
        ("several sizes", LOSSLESS, jpeg_of(frame(0xC3, 48, 96), scan(), segment(0xDC, b"\x00\x31"))),
        ("names no size", LOSSLESS, jpeg_of(frame(0xC3, 0, 96), scan())),
        ("several sizes", J2K, j2k_of(siz(48, 96), siz(480, 960))),
        ("tiles", J2K, j2k_of(siz(48_000, 96_000, tile=1))),
        ("does not begin with its size", J2K, j2k_of(segment(0x52, b"\0"), siz(48, 96))),
        ("boxes", J2K, boxed(j2k_of(siz(48, 96)))[:-30]),
        ("components", J2K, j2k_of(siz(48, 96, components=3))),
        ("bits", J2K, j2k_of(siz(48, 96, bits=30))),
    ],
)
def test_what_contradicts_itself_or_the_header_is_refused(why: str, syntax: str, data: bytes) -> None:
    with pytest.raises(Broken, match=why):
        check(data, syntax, shape())


@pytest.mark.parametrize(
    ("syntax", "data"),
    [
        # A thumbnail within APPn has a frame header of its own.
        (LOSSLESS, jpeg_of(segment(0xE0, b"JFIF\0" + jpeg_of(frame(0xC0, 9, 9), scan())), frame(0xC3, 48, 96), scan())),
        # Bytes FF before a marker are padding (T.81 B.1.1.2).
        (LOSSLESS, jpeg_of(b"\xff\xff", frame(0xC3, 48, 96), scan(), b"\xff\xff\xff")),
        (LOSSLESS, jpeg_of(frame(0xC3, 48, 96), scan(data=b"\x12\xff\x00\xff\xd0\x34"))),
        (LOSSLESS, jpeg_of(frame(0xC3, 0, 96), scan(), segment(0xDC, b"\x00\x30"))),
        (LOSSLESS, jpeg_of(frame(0xC3, 48, 96), scan()) + b"\0"),
        (LS, jpeg_of(segment(0xF8, b"\x01" + bytes(10)), frame(0xF7, 48, 96), scan(data=b"\xff\x7f\xff\x01"))),
        (LS, jpeg_of(segment(0xF8, b"\x04\x02\x00\x30\x00\x60"), frame(0xF7, 0, 0), scan())),
        (LS, jpeg_of(frame(0xF7, 48, 96, bits=16), scan())),
        (LS, jpeg_of(frame(0xF7, 48, 96, bits=11), scan())),
        (J2K, boxed(j2k_of(siz(48, 96)))),
        (J2K, j2k_of(siz(48, 96)) + b"\0"),
    ],
)
def test_what_the_standards_allow_is_taken(syntax: str, data: bytes) -> None:
    check(data, syntax, shape())


def test_fewer_bits_are_refused_where_the_sign_would_be_lost() -> None:
    with pytest.raises(Broken, match="bits"):
        check(jpeg_of(frame(0xF7, 48, 96, bits=11), scan()), LS, shape(signed=True))
    check(j2k_of(siz(48, 96, bits=11, signed=True)), J2K, shape(signed=True))


def test_the_size_of_an_image_offset_on_its_grid_is_that_of_the_image() -> None:
    body = struct.pack(">H8LH", 0, 196, 148, 100, 100, 256, 256, 0, 0, 1) + bytes((11, 1, 1))
    found = jpeg2000.size_of(j2k_of(segment(0x51, body)))
    assert (found.rows, found.columns, found.bits) == (48, 96, 12)


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    pieces=st.integers(1, 3),
    table=st.sampled_from(["basic", "extended", "none"]),
)
def test_frames_are_found_as_pydicom_finds_them(sizes: list[int], pieces: int, table: str) -> None:
    frames = [b"\xff\xd8\xff" + bytes((n + 1,)) * 2 * size + b"\x01" for n, size in enumerate(sizes)]
    extended = b""
    if table == "extended":
        data, extended, _ = encapsulate_extended(frames)
    else:
        data = encapsulate(frames, fragments_per_frame=1 if table == "none" else pieces, has_bot=table == "basic")
    found = fragments.frames_of(io.BytesIO(data), 0, len(frames), extended)
    ours = [fragments.read(io.BytesIO(data), places) for places in found]
    if table != "extended":
        assert ours == list(generate_frames(data, number_of_frames=len(frames)))
    assert [frame.rstrip(b"\0") for frame in ours] == frames
    for wrong in (len(frames) + 1, len(frames) - 1):
        if wrong > 1:
            with pytest.raises(Broken):
                fragments.frames_of(io.BytesIO(data), 0, wrong, extended)


def test_tables_that_contradict_the_fragments_are_refused() -> None:
    data = encapsulate([b"\xff\xd8\xff\x01"] * 3)
    for offsets in ((0, 12, 12), (0, 12, 13), (4, 12, 24), (0, 24, 12)):
        wrong = data[:8] + struct.pack("<3L", *offsets) + data[20:]
        with pytest.raises(Broken, match="table"):
            fragments.frames_of(io.BytesIO(wrong), 0, 3)
    with pytest.raises(Broken, match="table"):
        fragments.frames_of(io.BytesIO(data), 0, 3, struct.pack("<2Q", 0, 12))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=120), frames=st.integers(1, 4), cut=st.integers(0, 60))
def test_whatever_the_fragments_they_are_taken_or_refused(data: bytes, frames: int, cut: int) -> None:
    whole = encapsulate([b"\xff\xd8\xff\x01"] * 3)
    for attempt in (data, whole[:cut] + data):
        try:
            fragments.frames_of(io.BytesIO(attempt), 0, frames)
        except Broken:
            continue


def test_a_marker_search_takes_no_longer_than_the_data_are_long() -> None:
    data = jpeg_of(frame(0xC3, 48, 96), scan(data=b"\xff\x00" * 500_000 + b"\xff" * 500_000 + b"\x00"))
    assert jpeg.size_of(data, LOSSLESS).rows == 48
