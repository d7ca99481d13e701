"""Who gives the orders of this process: a user of the operating system, or of the console, which started it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

# The console sets it for the commands that it runs.
CONSOLE_USER = "AXRAD_CONSOLE_USER"
# The kernel's login uid of a process that no login started.
NO_LOGIN = 2**32 - 1


def operating_user() -> tuple[str, str]:
    """Who gives the orders, and under which account.

    A user of the console, and the account that runs it. Else who logged in, which sudo keeps, and as whom the process
    runs; the same where the kernel knows no login. Whoever sets the variable without being the console is named beside
    it, as the account.
    """
    login, acting = _accounts()
    user = os.environ.get(CONSOLE_USER, "")
    return (user, f"{login} through the console") if user else (login, acting)


def _accounts() -> tuple[str, str]:
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
