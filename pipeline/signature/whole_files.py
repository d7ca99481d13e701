"""Files of signatures: replaced whole, and readable by every process of the daemon, whatever the umask."""

from __future__ import annotations

from pathlib import Path

from pipeline.whole_file import write_whole

READABLE = 0o644


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file, and make its folder where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data, mode=READABLE)
