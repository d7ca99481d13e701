"""A process of `axrad up` ends when `axrad up` is gone, however it went; nothing is left that nobody looks after.

The supervisor names itself in the environment of its children. They watch who their parent is: that changes when it
dies. (Linux could send a signal instead, but when the *thread* ends that started the child, and only Linux.)
"""

from __future__ import annotations

import os
import signal
import threading
import time

VARIABLE = "AXRAD_FOLLOW"
EVERY_S = 1.0


def following() -> dict[str, str]:
    """What to lay into a child's environment so that it follows this process."""
    return {VARIABLE: str(os.getpid())}


def follow() -> None:
    """End this process in order (SIGTERM to itself) once the supervisor that started it is gone."""
    # Taken out, so that what this process starts does not take it for its own.
    named = os.environ.pop(VARIABLE, "")
    if not named.isdecimal():
        return
    parent = int(named)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(EVERY_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
