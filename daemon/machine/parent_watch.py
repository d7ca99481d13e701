"""A process of `axrad up` ends when `axrad up` has ended, in whatever way: no process is left without a supervisor.

The supervisor names itself in the environment of its children. They watch who their parent is: that changes when it
dies. (Linux could send a signal instead, but when the *thread* ends that started the child, and only Linux.)
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

VARIABLE = "AXRAD_FOLLOW"
PARENT_POLL_S = 1.0
# A program of others does not watch its parent. A shell does, by the pipe that it reads: it lets the workers finish,
# and ends the program, if that is still the one that works in this folder, which nobody else does.
KILL_AFTER_S = 30.0
END_AFTER_S = KILL_AFTER_S + 15.0
GUARD = """cat >/dev/null; sleep "$3"
[ "$(readlink "/proc/$1/cwd")" = "$2" ] && kill -KILL "$1" && rm -rf "$2"
"""


def following() -> dict[str, str]:
    """What to lay into a child's environment so that it follows this process."""
    return {VARIABLE: str(os.getpid())}


def follow() -> None:
    """End this process once the supervisor that started it is gone.

    In order (SIGTERM to itself), and at once where it has not ended after END_AFTER_S.
    """
    # Taken out, so that what this process starts does not take it for its own.
    named = os.environ.pop(VARIABLE, "")
    if not named.isdecimal():
        return
    parent = int(named)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_S)
        os.kill(os.getpid(), signal.SIGTERM)
        # The broker of its `axrad up` is gone by then: what it still holds is another's by its lease. One that hangs
        # would stay for ever, since nobody else ends it.
        time.sleep(END_AFTER_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


class Guard:
    """Ends a program that this process has started when this process ends, in whatever way."""

    def __init__(self) -> None:
        self._shell: subprocess.Popen[bytes] | None = None

    def watch(self, pid: int, folder: Path) -> None:
        """Watch the process `pid`, which works in `folder`, and nothing else. Both go when this process ends."""
        self.end()
        arguments = (str(pid), str(folder.resolve()), f"{KILL_AFTER_S:g}")
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "axrad-guard", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C is for its parent.
            start_new_session=True,
        )

    def end(self) -> None:
        """Watch nothing any more."""
        if self._shell is None:
            return
        self._shell.kill()
        self._shell.wait()
        if self._shell.stdin is not None:
            self._shell.stdin.close()
        self._shell = None
