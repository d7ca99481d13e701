"""The user of the operating system who runs this process."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

# The kernel's login uid of a process that no login started.
NO_LOGIN = 2**32 - 1


def operating_user() -> tuple[str, str]:
    """Who logged in, which sudo keeps, and as whom the process runs; the same where the kernel knows no login."""
    acting = _name_of(os.getuid())
    try:
        login = int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        login = NO_LOGIN
    return (acting if login == NO_LOGIN else _name_of(login)), acting


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
