"""Files of the daemon are its user's alone: images, results, ledger and backups tell of patients."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# What nobody but the owner may do with a new file, and the modes that are left.
UMASK = 0o077
FILE, FOLDER = 0o600, 0o700


@contextmanager
def private_files() -> Iterator[None]:
    """New files and folders of this process and its children, until the block ends, are the user's alone."""
    before = os.umask(UMASK)
    try:
        yield
    finally:
        os.umask(before)
