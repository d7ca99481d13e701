"""A process of `axrad up` does not outlive it, even one that hangs when it is told to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

# Prints its process id and waits; `stubborn` does not hear that it should end.
CHILD = """
import os, signal, sys, time
from daemon.machine import parent_watch
parent_watch.PARENT_POLL_S, parent_watch.END_AFTER_S = 0.05, 0.5
if sys.argv[1] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
parent_watch.follow()
print(os.getpid(), flush=True)
time.sleep(600)
"""
PARENT = """
import os, subprocess, sys, time
from daemon.machine.parent_watch import following
subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], env={**os.environ, **following()})
time.sleep(600)
"""


def is_there(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("manner", ["obedient", "stubborn"])
def test_a_process_whose_supervisor_was_killed_ends_also_where_it_hangs(manner: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD, manner], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert is_there(pid)
    parent.kill()
    parent.wait()
    try:
        while is_there(pid):
            time.sleep(0.05)
    finally:
        parent.stdout.close()
        if is_there(pid):
            os.kill(pid, signal.SIGKILL)
