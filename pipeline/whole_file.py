"""Files that are replaced whole: a reader sees the old file or the new one, whatever dies in between."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(
    path: Path, *, synced: bool = True, mode: int | None = None, temporary: Path | None = None
) -> Iterator[BinaryIO]:
    """A new file, open for writing, that takes the place of `path` when the block ends. After an error nothing changes.

    Args:
        synced: the bytes are on the disk before the file gets its name.
        mode: permissions; without, those of the process's umask.
        temporary: the name until then; without, one in the same folder that no other thread or process uses.
    """
    unfinished = temporary or path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with open(
            unfinished, "wb", opener=lambda name, flags: os.open(name, flags, 0o666 if mode is None else mode)
        ) as file:
            yield file
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.flush()
            if synced:
                os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_whole(path: Path, data: bytes, *, synced: bool = True, mode: int | None = None) -> None:
    """Replace the content of a small file."""
    with replacing(path, synced=synced, mode=mode) as file:
        file.write(data)
