"""Which spool a folder is: its id in the ledger, and a random name of its own that no other folder has.

Written into the folder when it is first used, so that neither a folder that is not mounted nor another host's with the
same settings is taken for it.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from daemon.spool.sync import sync_folder
from pipeline.errors import InputRejected

NAME = "spool.id"
_CONTENT = re.compile(r"([A-Za-z0-9_-]{1,16}) ([0-9a-f]{32})\n?\Z")


class SpoolRefused(InputRejected):
    """A folder that is not the spool that settings and ledger say it is."""

    code = "other-spool"


def identity_of(root: Path) -> tuple[str, str] | None:
    """Id and name of a folder; None for one that was never used as a spool. Raises SpoolRefused, OSError."""
    try:
        content = (root / NAME).read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    except UnicodeError:
        content = ""
    if (match := _CONTENT.match(content)) is None:
        raise SpoolRefused(f"{root / NAME} is damaged: take it from a backup of the spool's folder")
    return match[1], match[2]


def require_id(root: Path, spool_id: str) -> str | None:
    """The name of a folder that is the spool of this id; None where it has none yet. Raises SpoolRefused, OSError."""
    identity = identity_of(root)
    if identity is not None and identity[0] != spool_id:
        raise SpoolRefused(
            f"the folder {root} is the spool {identity[0]}, and spool.id says {spool_id}: an id stays with its folder"
        )
    return identity[1] if identity is not None else None


def name_of(root: Path, spool_id: str) -> str:
    """As `require_id`; a folder that has no name gets one. Of several processes that start together one gives it."""
    if (name := require_id(root, spool_id)) is not None:
        return name
    unnamed = root / f".{NAME}.{secrets.token_hex(8)}"
    try:
        fd = os.open(unnamed, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="ascii") as file:
            file.write(f"{spool_id} {secrets.token_hex(16)}\n")
            file.flush()
            os.fsync(fd)
        with suppress(FileExistsError):
            os.link(unnamed, root / NAME)
    finally:
        unnamed.unlink(missing_ok=True)
    sync_folder(root)
    name = require_id(root, spool_id)
    assert name is not None
    return name
