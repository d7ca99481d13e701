"""Files of the spool that are whole or absent, whatever dies."""

from __future__ import annotations

from pathlib import Path

from daemon.spool.sync import sync_folder
from pipeline.whole_file import write_whole


def write_synced(path: Path, data: bytes) -> None:
    """Write a file; its bytes and its name are on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)
    sync_folder(path.parent)
