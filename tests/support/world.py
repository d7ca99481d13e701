"""What the processes of a day of faults believe of their machine: its clock, its disks; and which of them live."""

from __future__ import annotations

import functools
import mmap
import os
import struct
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MARK = "FAULTS_CONTROL"
ROLES = ("up", "listen", "acceptor", "indexer", "analyse", "analyse-child", "deliver", "sweep", "beat", "broker")
DOUBLES = 3


@functools.cache
def shim() -> Path:
    """The library that fills disks and moves clocks (tests/support/faults.c)."""
    library = Path(tempfile.gettempdir()) / f"axrad-faults-{os.getuid()}-{os.getpid()}.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl", "-lm"], check=True)
    import atexit

    atexit.register(library.unlink, missing_ok=True)
    return library


@dataclass
class World:
    """Full disks and wrong clocks, for every process that has `environ` laid over its own."""

    control: Path
    root: Path
    _map: mmap.mmap = field(init=False, repr=False)
    _brokers: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.temporary.mkdir(parents=True, exist_ok=True)
        self.control.write_bytes(bytes(8 * DOUBLES))
        with self.control.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8 * DOUBLES)

    @property
    def temporary(self) -> Path:
        """Their folder for temporary files. The name is short: sockets lie in it, whose paths may have 107 bytes."""
        return self.root / "t"

    @property
    def environ(self) -> dict[str, str]:
        return {
            MARK: str(self.control),
            "FAULTS_ROOT": str(self.root),
            "LD_PRELOAD": str(shim()),
            "TMPDIR": str(self.temporary),
        }

    @property
    def clock_offset_s(self) -> float:
        return float(struct.unpack_from("d", self._map, 0)[0])

    def move_clock(self, by_s: float) -> None:
        struct.pack_into("d", self._map, 0, self.clock_offset_s + by_s)

    def fill_disk(self, full: bool) -> None:
        struct.pack_into("d", self._map, 8, float(full))

    def fill_ledgers_disk(self, full: bool) -> None:
        struct.pack_into("d", self._map, 16, float(full))

    def processes(self, role: str = "") -> list[psutil.Process]:
        """Living processes of this world, of one role or all."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = self._is_broker(process) or process.environ().get(MARK) == str(self.control)
                if ours and process.status() != psutil.STATUS_ZOMBIE and role in ("", role_of(process)):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def _is_broker(self, process: psutil.Process) -> bool:
        """A Valkey writes its title over its environment; but it lies in the folder that its address names."""
        if "valkey" not in process.name():
            return False
        with suppress(OSError):
            self._brokers.add(Path((self.root / "broker.url").read_text().strip()).parent.name)
        return Path(process.cwd()).name.removesuffix(" (deleted)") in self._brokers


def role_of(process: psutil.Process) -> str:
    """Which of ROLES a process has, or empty."""
    line = process.cmdline()
    text = " ".join(line)
    if "valkey" in process.name():
        return "broker"
    if "daemon.listener.acceptor" in text:
        return "acceptor"
    if "spawn_main" in text:
        return "indexer"
    if "work" in line:
        name = line[line.index("--role") + 1]
        parent = process.parent()
        return f"{name}-child" if parent is not None and "work" in parent.cmdline() else name
    return next((name for name in ("up", "listen", "beat") if name in line), "")
