"""Images received per second: our listener against DCMTK's storescp, sent by DCMTK's storescu in the same run.

Both ends of DCMTK run with TCP_NODELAY=1; without it they stall on each other's acknowledgements. Our listener runs as
it is shipped (two acceptors, `durability = association`: all of it is on the disk when the association ends), storescp
as it is shipped (it never syncs). Both stay up while rounds alternate between them, the file system synced before
each, so that neither pays for the other's writes; the medians are compared. `indexer beside`: all of `axrad listen`,
whose indexer gives way to the acceptors; `lag_s`: how long after the last sender had ended the ledger had every image.
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from config.schema import Listen, Settings, Spool
from daemon.listener import serve, state
from daemon.processes.listening import receive
from daemon.spool.part10 import header

ROUNDS = 5
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
# matrix, associations, images per association
CASES = ((512, 1, 240), (512, 4, 120), (192, 1, 500), (192, 4, 300))


def run() -> Iterator[dict[str, object]]:
    """One row per matrix and number of associations; empty, with a word on stderr, where DCMTK is missing."""
    if not (shutil.which("storescu") and shutil.which("storescp")):
        print("intake: storescu and storescp (dcmtk) are needed", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix="axrad-intake-") as name:
        folder = Path(name)
        for (matrix, associations, images), indexing in itertools.product(CASES, (False, True)):
            yield _case(folder, matrix, associations, images, indexing=indexing)
            for used in folder.iterdir():
                shutil.rmtree(used) if used.is_dir() else used.unlink()


def _case(folder: Path, matrix: int, associations: int, images: int, *, indexing: bool) -> dict[str, object]:
    ours, reference, lags = [], [], []
    spool = folder / "spool"
    with _axrad(spool, indexing=indexing) as mine_at, _storescp(folder / "out", forking=associations > 1) as theirs_at:
        for number in range(ROUNDS):
            # What the ledger knows already would not be read again.
            here = folder / f"in-{number}"
            sets = [_images(here / str(n), matrix, images, 10 * number + n) for n in range(associations)]
            ours.append(_round(sets, mine_at, images))
            lags.append(_lag_s(spool, images * associations * (number + 1)) if indexing else 0.0)
            _empty(spool / "instances")
            reference.append(_round(sets, theirs_at, images))
            _empty(folder / "out")
            shutil.rmtree(here)
    mine, theirs = statistics.median(ours), statistics.median(reference)
    beside = ", indexer beside" if indexing else ""
    return {
        "name": f"intake {matrix}x{matrix}, {associations} association{'s' if associations > 1 else ''}{beside}",
        "ours": round(mine, 1),
        "reference": round(theirs, 1),
        "unit": "/s",
        "ratio": round(mine / theirs, 3),
        **({"lag_s": round(statistics.median(lags), 1)} if indexing else {}),
    }


def _lag_s(spool: Path, images: int) -> float:
    """Seconds until the ledger has so many instances."""
    began = time.perf_counter()
    with closing(sqlite3.connect(f"file:{spool.parent / 'ledger.sqlite'}?mode=ro", uri=True)) as ledger:
        while ledger.execute("SELECT count(*) FROM instances").fetchone()[0] < images:
            time.sleep(0.05)
    return time.perf_counter() - began


def _images(folder: Path, matrix: int, count: int, number: int) -> Path:
    """MR images with a header of the usual size (some 130 elements) and noise as pixels; UIDs differ between sets."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(number)
    for index in range(count):
        uid = f"2.25.{matrix}{number}{index + 100000}"
        pixels = rng.integers(0, 4096, matrix * matrix, dtype=np.uint16).tobytes()
        data_set = (
            _header_elements(uid, matrix) + b"\xe0\x7f\x10\x00OW\0\0" + len(pixels).to_bytes(4, "little") + pixels
        )
        (folder / f"{index:05d}.dcm").write_bytes(header(MR_IMAGE, uid, EXPLICIT_LE, "BENCH") + data_set)
    return folder


def _header_elements(uid: str, matrix: int, study_uid: str = "2.25.1") -> bytes:
    numbers = {0x0002: 1, 0x0010: matrix, 0x0011: matrix, 0x0100: 16, 0x0101: 12, 0x0102: 11, 0x0103: 0}
    elements = [
        (0x0008, 0x0008, "CS", "ORIGINAL\\PRIMARY\\M\\ND"),
        (0x0008, 0x0016, "UI", MR_IMAGE),
        (0x0008, 0x0018, "UI", uid),
        *((0x0008, element, "DA", "20200101") for element in (0x0020, 0x0021, 0x0022, 0x0023)),
        *((0x0008, element, "TM", "101010.000000") for element in (0x0030, 0x0031, 0x0032, 0x0033)),
        (0x0008, 0x0060, "CS", "MR"),
        *((0x0008, element, "LO", "Benchmark") for element in (0x0070, 0x1030, 0x103E, 0x1090)),
        (0x0010, 0x0010, "PN", "Bench^Mark"),
        (0x0010, 0x0020, "LO", "BENCH"),
        *((0x0018, element, "DS", "1.25") for element in (0x0050, 0x0080, 0x0081, 0x0083, 0x0084, 0x0087, 0x0088)),
        *((0x0018, element, "DS", "90") for element in (0x0093, 0x0094, 0x0095, 0x1314, 0x1316)),
        (0x0019, 0x0010, "LO", "BENCHMARK PRIVATE"),
        *((0x0019, 0x1000 + element, "DS", f"{element}.5") for element in range(80)),
        (0x0020, 0x000D, "UI", study_uid),
        (0x0020, 0x000E, "UI", "2.25.2"),
        (0x0020, 0x0032, "DS", "-128.5\\-99.25\\12.75"),
        (0x0020, 0x0037, "DS", "1\\0\\0\\0\\1\\0"),
        (0x0020, 0x0052, "UI", "2.25.3"),
        (0x0028, 0x0004, "CS", "MONOCHROME2"),
        (0x0028, 0x0030, "DS", "0.7\\0.7"),
        *((0x0028, element, "US", value) for element, value in numbers.items()),
    ]
    return b"".join(_element(*element) for element in sorted(elements, key=lambda e: e[:2]))


def _element(group: int, element: int, vr: str, value: str | int) -> bytes:
    raw = value.to_bytes(2, "little") if isinstance(value, int) else value.encode("ascii")
    raw += (b"\0" if vr == "UI" else b" ") * (len(raw) % 2)
    return struct.pack("<HH2sH", group, element, vr.encode("ascii"), len(raw)) + raw


def _round(sets: list[Path], port: int, images: int) -> float:
    """One round, on a file system that has nothing left to write for anybody."""
    os.sync()
    return _rate(sets, port, images)


def _empty(kept: Path) -> None:
    for path in kept.rglob("*"):
        if path.is_file():
            path.unlink()


def _rate(sets: list[Path], port: int, images: int) -> float:
    """Images per second over all senders, from the first start to the last end (release confirmed)."""
    command = ["storescu", "-aec", "AXRAD", "+sd", "127.0.0.1", str(port)]
    started = time.perf_counter()
    senders = [subprocess.Popen([*command, str(folder)], env=ENVIRONMENT) for folder in sets]
    codes = [sender.wait() for sender in senders]
    if any(codes):
        raise RuntimeError("a sender failed")
    return images * len(sets) / (time.perf_counter() - started)


@contextmanager
def _axrad(folder: Path, *, indexing: bool) -> Iterator[int]:
    """The acceptors alone, or all of `axrad listen`."""
    settings = Settings(listen=Listen(port=0), spool=Spool(path=folder, warn_free_bytes=0, refuse_free_bytes=0))
    stop = threading.Event()
    listener = threading.Thread(target=receive if indexing else serve, args=(settings, stop))
    listener.start()
    try:
        while (known := state(settings)) is None or not _answers(int(str(known["port"]))):
            time.sleep(0.1)
        time.sleep(2.0)  # both acceptors are up, not just the first
        yield int(str(known["port"]))
    finally:
        stop.set()
        listener.join()


def _answers(port: int) -> bool:
    echo = ["echoscu", "-aec", "AXRAD", "127.0.0.1", str(port)]
    return subprocess.run(echo, env=ENVIRONMENT, stderr=subprocess.DEVNULL, check=False).returncode == 0


@contextmanager
def _storescp(folder: Path, *, forking: bool) -> Iterator[int]:
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["storescp", *(["--fork"] if forking else []), "-od", str(folder), str(port)]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _answers(port):
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()
