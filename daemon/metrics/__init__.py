"""Figures for Prometheus: counted where things happen, or read from the ledger; served by `axrad observe`.

Every process counts into files of its own (prometheus_client's multiprocess mode) in one folder per machine. Nothing
has to listen, a process that is killed loses nothing, and what `axrad observe` serves is the sum.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from config.schema import Settings
from pipeline.errors import InputRejected

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def root(settings: Settings) -> Path:
    """Where the folders of all machines (or containers) that share it lie."""
    return settings.metrics.folder or settings.spool.path.parent / "metrics"


def set_up(settings: Settings) -> None:
    """Have this process and those it starts count into files. Before prometheus_client is imported: it looks once.

    Raises InputRejected where their folder cannot be made.
    """
    if not settings.metrics.enabled:
        return
    folder = root(settings) / socket.gethostname()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"{folder} cannot be made: {error.strerror}; name another folder in metrics.folder"
        raise InputRejected(text, code="metrics-folder") from error
    os.environ[VARIABLE] = str(folder.absolute())
    from daemon.metrics import reserved_files

    reserved_files.install()


def clear(settings: Settings) -> int:
    """Remove what processes of this machine that are gone have counted; for a start of everything. How many files."""
    removed = 0
    for path in (root(settings) / socket.gethostname()).glob("*.db"):
        pid = path.stem.rpartition("_")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            path.unlink(missing_ok=True)
            removed += 1
    return removed
