"""Small files that become gigabytes (deflate, RLE, JPEG 2000), sent to a daemon: it reads on in little memory."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import psutil
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless
from pynetdicom import AE

from tests.support.daemon import running
from tests.support.slices import MR, base, pixel_module, save

pytestmark = pytest.mark.timeout(1200)
HUGE = 1 << 30
# What no process of the daemon may come to have, far below what each file becomes.
MOST_BYTES = HUGE // 2


def rle() -> bytes:
    """One frame of two segments, each a run of the longest kind repeated: 1 GB of zeros."""
    runs = b"\x81\x00" * (HUGE // 128 // 2)
    return struct.pack("<16I", 2, 64, 64 + len(runs), *[0] * 13) + runs + runs


def jpeg2000() -> bytes:
    """A codestream that declares 60,000 x 60,000 samples and has one empty tile of as many."""
    size = struct.pack(">HIIIIIIIIH", 0, 60000, 60000, 0, 0, 60000, 60000, 0, 0, 1) + bytes([15, 1, 1])
    coding = bytes([0, 0, 0, 1, 0, 5, 4, 4, 0, 1])
    quantised = bytes([0x40]) + bytes([0x80]) * 16
    marked = b"".join(
        mark + struct.pack(">H", len(body) + 2) + body
        for mark, body in ((b"\xff\x51", size), (b"\xff\x52", coding), (b"\xff\x5c", quantised))
    )
    return b"\xff\x4f" + marked + b"\xff\x90" + struct.pack(">HHIBB", 10, 0, 14, 0, 1) + b"\xff\x93\xff\xd9"


def bombs(folder: Path) -> list[Path]:
    """Each under a SOP Instance UID of its own, twice with different data sets, so that their pixels are compared."""
    made = []
    for number, (name, syntax) in enumerate(
        (("deflate", DeflatedExplicitVRLittleEndian), ("rle", RLELossless), ("j2k", JPEG2000Lossless))
    ):
        for again in ("first", "again"):
            dataset = base(MR, f"1.2.3.77.{number}", "s")
            pixel_module(dataset, np.zeros((64, 64), np.int16))
            dataset.ImageComments = again
            path = folder / f"{name}-{again}.dcm"
            save(dataset, path)
            dataset = pydicom.dcmread(path)
            dataset.file_meta.TransferSyntaxUID = syntax
            if name == "deflate":
                dataset.PixelData = bytes(HUGE // 4)
            else:
                dataset.PixelData = encapsulate([rle() if name == "rle" else jpeg2000()])
                dataset["PixelData"].is_undefined_length = True
                dataset["PixelData"].VR = "OB"
            dataset.save_as(path)
            made.append(path)
    return made


def send(port: int, path: Path) -> None:
    """In the syntax that the file has, and no other."""
    dataset = pydicom.dcmread(path)
    sender = AE(ae_title="SCANNER")
    sender.add_requested_context(MR, dataset.file_meta.TransferSyntaxUID)
    association = sender.associate("127.0.0.1", port, ae_title="AXRAD")
    assert association.is_established
    assert association.send_c_store(dataset).Status == 0
    association.release()


def most_memory() -> int:
    """The largest share of memory that a process of the daemon has."""
    mine = [p for p in psutil.Process().children(recursive=True) if p.is_running()]
    return max((p.memory_info().rss for p in mine if p.status() != psutil.STATUS_ZOMBIE), default=0)


def test_bombs_are_taken_up_read_and_compared_in_little_memory_and_a_good_image_comes_after_them(
    tmp_path: Path,
) -> None:
    made = bombs(tmp_path)
    assert all(path.stat().st_size < 20 << 20 for path in made)
    good = tmp_path / "good.dcm"
    dataset = base(MR, "1.2.3.78", "s")
    pixel_module(dataset, np.zeros((64, 64), np.int16))
    save(dataset, good)
    assert pydicom.dcmread(good).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    with running(tmp_path / "house") as daemon:
        for path in made:
            send(daemon.port, path)
        daemon.wait_for_instances(len(made))
        daemon.wait_for_sweep()
        send(daemon.port, good)
        daemon.wait_for_instances(len(made) + 1)
        daemon.wait_for_sweep()
        assert most_memory() < MOST_BYTES
        assert daemon.axrad("status", "--json").returncode == 0
