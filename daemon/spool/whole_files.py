"""Files that are whole or absent, whatever dies."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from daemon.spool.sync import sync_folder


def write_synced(path: Path, data: bytes) -> None:
    """Write a file, on the disk when this returns; two writers of one file do no harm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)
