"""A forked process ends with the one that forked it, however that went, and lets go of what it inherited.

What a fork inherits includes standard output: whoever reads that through a pipe would wait for ever.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from functools import cache

PR_SET_PDEATHSIG = 1


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def prepare() -> None:
    """Load before forking what `end_with` needs."""
    if sys.platform == "linux":
        _libc()


def end_with(parent: int) -> None:
    """In a fork: be killed as soon as the thread ends that has forked, and at once if its process has ended already."""
    if sys.platform != "linux":
        return
    _libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
