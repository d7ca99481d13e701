"""Compressed frames are decoded by a child process, which may die of them, to the pixels that pydicom finds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, JPEGLSLossless, RLELossless

from pipeline.codestream import Broken
from pipeline.decoding import (
    Died,
    NotDecoded,
    content_digest,
    content_of,
    frames,
    in_process,
    limits,
    pixels_of,
    worker,
)
from pipeline.errors import PixelsRejected
from pipeline.volumes.pixels import decode
from tests.support.slices import base, pixel_module, save

MR = "1.2.840.10008.5.1.4.1.1.4"
DATA = Path(pydicom.__file__).parent / "data" / "test_files"


def compressed_files() -> list[Path]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        headers = {p: pydicom.dcmread(p, stop_before_pixels=True, force=True) for p in sorted(DATA.glob("*.dcm"))}
    syntaxes = {p: UID(ds.file_meta.get("TransferSyntaxUID", "1.2")) for p, ds in headers.items() if "Rows" in ds}
    return [p for p, s in syntaxes.items() if s.is_transfer_syntax and s.is_encapsulated]


def image(path: Path, syntax: str = JPEGLSLossless, values: Any = None, **headers: Any) -> Path:
    ds = base(MR, "1.2.3.4", "s")
    rng = np.random.default_rng(7)
    pixel_module(ds, rng.integers(0, 4000, (40, 30), dtype=np.int16).astype(np.uint16) if values is None else values)
    ds.PixelRepresentation = 0
    save(ds, path)
    ds = pydicom.dcmread(path)
    ds.compress(syntax, generate_instance_uid=False)
    for keyword, value in headers.items():
        setattr(ds, keyword, value)
    ds.save_as(path)
    return path


def children() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if any("decoding.worker_process" in word for word in p.cmdline())]


@pytest.fixture(autouse=True)
def _no_helper_left() -> Iterator[None]:
    yield
    worker._one.close()
    assert not children()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", compressed_files(), ids=lambda p: p.name)
def test_images_of_many_makers_decode_to_the_last_bit_as_in_this_process(path: Path) -> None:
    count = int(pydicom.dcmread(path, stop_before_pixels=True).get("NumberOfFrames") or 1)
    try:
        theirs = [pixel_array(path, index=n, raw=True) for n in range(count)]
    except (RuntimeError, ValueError):
        with pytest.raises((Broken, NotDecoded)):
            list(pixels_of(path, [1]))
        return
    ours = list(pixels_of(path, range(1, len(theirs) + 1)))
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    assert np.array_equal(next(pixels_of(path, [1], raw=False)), pixel_array(path, index=0))


def test_every_lossless_syntax_is_decoded_by_the_child_as_in_this_process(cases: Path) -> None:
    for path in sorted((cases / "mr" / "transfer_syntaxes").iterdir()):
        (ours,), (theirs,) = pixels_of(path, [None]), pixels_of(path, [None], in_process.decode)
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)


def test_one_child_decodes_one_frame_after_the_other(tmp_path: Path) -> None:
    path = image(tmp_path / "a")
    first = next(pixels_of(path, [None]))
    (child,) = children()
    for _ in range(3):
        assert np.array_equal(next(pixels_of(path, [None])), first)
    assert children() == [child]


def test_uncompressed_pixels_need_no_child(tmp_path: Path) -> None:
    ds = base(MR, "1.2.3.4", "s")
    pixel_module(ds, np.arange(35, dtype=np.int16).reshape(5, 7))
    assert next(decode(save(ds, tmp_path / "x"), [None])).shape == (5, 7)
    assert not children()


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV, signal.SIGKILL])
def test_a_child_that_dies_is_an_error_that_names_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    code = f"import os, sys; sys.stdin.buffer.read(1); os.kill(os.getpid(), {int(number)})"
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, "-c", code))
    with pytest.raises(PixelsRejected, match=f"image 1.2.3.4 .*{number.name}") as caught:
        list(decode(image(tmp_path / "a"), [None]))
    assert (caught.value.uid, caught.value.code) == ("1.2.3.4", "decoder-died")


def test_a_child_that_was_killed_once_is_replaced(tmp_path: Path) -> None:
    path = image(tmp_path / "a")
    first = next(decode(path, [None]))
    for child in children():
        child.kill()
    assert np.array_equal(next(decode(path, [None])), first)


def test_a_codec_that_ends_its_process_ends_the_child_alone(cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """These codestreams are refused before anyone decodes them; without that, this is what becomes of them."""
    monkeypatch.setattr(frames, "check", lambda data, syntax, shape: None)
    folder = cases / "faults2" / "codecs"
    for name in ("abort_first", "abort_second", "abort_slice"):
        uid = str(pydicom.dcmread(folder / f"{name}.dcm", specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
        with pytest.raises(PixelsRejected, match=uid):
            list(decode(folder / f"{name}.dcm", [None]))
    with pytest.raises(PixelsRejected, match=r"2\.25\.777"):
        list(decode(folder / "huge_codestream.dcm", [None]))


def test_codestreams_that_contradict_their_header_reach_no_decoder(
    cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(worker._one, "ask", lambda *given: asked.append(given))
    for path in sorted((cases / "faults2" / "codecs").glob("*.dcm")):
        with pytest.raises(PixelsRejected, match=r"codestream has .* its header says 96 x 96") as caught:
            list(decode(path, [None]))
        assert caught.value.code == "pixels-contradict-header"
        assert caught.value.uid
        assert content_digest(path) is None
    assert not asked


def test_memory_and_time_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = image(tmp_path / "a", values=np.zeros((3000, 3000), np.uint16))
    monkeypatch.setattr(limits, "for_frame", lambda size: (0, 10))
    with pytest.raises(PixelsRejected, match=r"1\.2\.3\.4"):
        list(decode(path, [None]))
    worker._one.close()
    busy = (
        "import os; from pipeline.decoding import worker_process\n"
        "def spin(message, data):\n    while True: pass\n"
        "worker_process._WORKS['frame'] = spin; worker_process.main()"
    )
    monkeypatch.setattr(limits, "for_frame", lambda size: (1 << 30, 0))
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, "-c", busy))
    with pytest.raises(PixelsRejected, match="SIGXCPU"):
        list(decode(path, [None]))
    worker._one.close()
    monkeypatch.setattr(limits, "WALL_S", 0.5)
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, "-c", "import time; time.sleep(1000)"))
    with pytest.raises(PixelsRejected, match="no answer within"):
        list(decode(path, [None]))


def test_the_child_of_one_that_is_killed_ends(tmp_path: Path) -> None:
    code = (
        "import sys, os; from pathlib import Path; from pipeline.decoding import pixels_of, worker\n"
        "next(pixels_of(Path(sys.argv[1]), [None]))\n"
        "if os.fork() == 0: import time; time.sleep(1000)\n"  # a fork must not keep its pipe open
        "print(worker._one.helper.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(image(tmp_path / "a"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        process.kill()
        child.wait()
        os.killpg(process.pid, signal.SIGKILL)


def test_values_beyond_the_bits_of_the_header_are_refused(tmp_path: Path) -> None:
    values = np.full((8, 8), 5000, np.uint16)
    path = image(tmp_path / "a", values=values)
    assert next(decode(path, [None])).max() == 5000
    image(tmp_path / "b", values=values, BitsStored=12, HighBit=11)
    with pytest.raises(PixelsRejected, match="12 bits"):
        list(decode(tmp_path / "b", [None]))


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), frames_said=st.integers(1, 3))
def test_only_a_header_that_fits_is_decoded(
    tmp_path_factory: pytest.TempPathFactory, rows: int, columns: int, frames_said: int
) -> None:
    for syntax in (JPEGLSLossless, RLELossless):
        path = image(
            tmp_path_factory.mktemp("fit") / "a", syntax, Rows=rows, Columns=columns, NumberOfFrames=frames_said
        )
        fits = (rows, columns) == (40, 30) if syntax == JPEGLSLossless else rows * columns == 1200
        if fits and frames_said == 1:
            assert next(decode(path, [1])).shape == (rows, columns)
        else:
            with pytest.raises(PixelsRejected):
                list(decode(path, [1]))


def test_frames_that_are_deflated_one_by_one_are_inflated_as_far_as_the_header_says(tmp_path: Path) -> None:
    values = np.arange(2 * 6 * 5, dtype=np.uint16).reshape(2, 6, 5)
    for name, pieces in (
        ("good", [v.tobytes() for v in values]),
        ("bomb", [values[0].tobytes(), bytes(50 << 20)]),
        ("short", [values[0].tobytes(), values[1].tobytes()[:-2]]),
    ):
        ds = base(MR, "1.2.3.4", "s")
        pixel_module(ds, values[0].astype(np.int16))
        ds.PixelRepresentation, ds.NumberOfFrames = 0, 2
        save(ds, tmp_path / name)
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.8.1"
        ds.PixelData = encapsulate([zlib.compress(piece, 9, -15) for piece in pieces])
        ds["PixelData"].is_undefined_length = True
        ds["PixelData"].VR = "OB"
        file = DicomBytesIO(b"\0" * 128 + b"DICM")
        file.seek(0, 2)
        write_file_meta_info(file, ds.file_meta)
        file.is_little_endian, file.is_implicit_VR = True, False
        write_dataset(file, ds)
        (tmp_path / name).write_bytes(file.getvalue())
        if name == "good":
            assert np.array_equal(np.stack(list(decode(tmp_path / name, [1, 2]))), values)
        else:
            with pytest.raises(PixelsRejected, match="does not inflate to the 60 bytes"):
                list(decode(tmp_path / name, [1, 2]))


def test_content_is_compared_by_the_child_too(tmp_path: Path) -> None:
    path = image(tmp_path / "a")
    assert content_of(path) == content_digest(path) is not None
    assert content_of(tmp_path / "missing") is None
    for child in children():
        child.kill()
    assert content_of(path) == content_digest(path)


def test_a_codec_that_ends_its_process_is_told_apart_from_a_file_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, "-c", "import os; os.abort()"))
    with pytest.raises(Died, match="SIGABRT"):
        content_of(image(tmp_path / "a"))


def test_a_child_that_nobody_asks_ends_and_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = "from pipeline.decoding import worker_process; worker_process.IDLE_S = 0.05; worker_process.main()"
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, "-c", short))
    path = image(tmp_path / "a")
    first = next(pixels_of(path, [None]))
    for child in children():
        child.wait()
    assert np.array_equal(next(pixels_of(path, [None])), first)
