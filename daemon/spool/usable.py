"""Whether a folder will do as a spool, said before anything is received into it."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

from config.schema.values import MAIN_SPOOL
from daemon.spool.identity import require_id
from daemon.spool.store import Spool
from pipeline.errors import InputRejected

# A disk that is full now may not be in an hour: senders are told to come back.
TEMPORARY_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT})


def check_usable(root: Path, spool_id: str = MAIN_SPOOL) -> None:
    """Make the spool's folders where they are missing, and try what receiving does.

    Raises InputRejected: no folder can be made there, nothing can be written there, files cannot have two names, or the
    folder is another spool.
    """
    try:
        require_id(root, spool_id)
        spool = Spool(root)
        if not os.access(spool.incoming, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        _try_link(Path(spool.incoming) / f"try-{secrets.token_hex(8)}")
    except OSError as error:
        if error.errno in TEMPORARY_ERRORS:
            return
        raise InputRejected(
            f"the spool {root} cannot be used: {error.strerror}; it must be on a file system with hard links, "
            "and this user must be allowed to write there (spool.path)",
            code="spool-unusable",
        ) from error


def _try_link(first: Path) -> None:
    second = first.with_suffix(".link")
    try:
        first.touch()
        os.link(first, second)
    finally:
        for path in (first, second):
            with suppress(OSError):
                path.unlink()
