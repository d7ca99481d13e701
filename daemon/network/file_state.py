"""Whether a file is another one than before."""

from __future__ import annotations

from pathlib import Path


def file_state(path: Path) -> tuple[int, int, int] | None:
    """Time of change (ns), size and inode, which differ where a file was written again or replaced; None: no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
