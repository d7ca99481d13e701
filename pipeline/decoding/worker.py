"""Asking the process that decodes: one for this process, started when it is needed and again when it has died."""

from __future__ import annotations

import atexit
import fcntl
import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.codestream import Shape
from pipeline.decoding import limits
from pipeline.decoding.wire_format import LENGTH, MOST_JSON, SIZE, Message, packed, unpacked

# Not from the working directory, whatever lies there.
COMMAND = (sys.executable, "-P", "-c", "from pipeline.decoding.worker_process import main; main()")
# Threads of libraries that decode nothing only take memory.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
PIPE_BYTES = 1 << 20
# How long a child may take to end when nobody asks any more.
END_LIMIT_S = 2.0
F_SETPIPE_SZ = 1031


class Died(RuntimeError):
    """The process that decodes did not survive this, twice, or had to be ended. `reason` is a noun phrase."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the decoder ended with {reason}")
        self.reason = reason


class NotDecoded(RuntimeError):
    """What the decoder says of data that it does not take."""


class _Gone(Exception):
    """The child is no more."""


class Helper:
    """One child. Not for several threads at once."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **ENVIRONMENT},
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._asks, self._answers = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._late = False
        for fd in (self._asks, self._answers):
            os.set_blocking(fd, False)
            _widen(fd)

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, message: Message, data: bytes = b"") -> tuple[Message, bytes]:
        """The answer. Raises _Gone if there is none."""
        end = time.monotonic() + limits.WALL_S
        try:
            for piece in (packed(message, data), data):
                self._write(piece, end)
            (length,) = LENGTH.unpack(self._read(LENGTH.size, end))
            if length > MOST_JSON:
                raise _Gone
            answer = unpacked(self._read(length, end))
            if not 0 <= answer[SIZE] <= limits.MOST_FRAME_BYTES:
                raise _Gone
            return answer, self._read(answer[SIZE], end)
        except (OSError, ValueError) as error:
            raise _Gone from error

    def _write(self, data: bytes, end: float) -> None:
        view = memoryview(data)
        while view:
            self._wait(self._asks, select.POLLOUT, end)
            with suppress(BlockingIOError):
                view = view[os.write(self._asks, view) :]

    def _read(self, size: int, end: float) -> bytes:
        received = bytearray()
        while len(received) < size:
            self._wait(self._answers, select.POLLIN, end)
            piece = os.read(self._answers, min(PIPE_BYTES, size - len(received)))
            if not piece:
                raise _Gone
            received += piece
        return bytes(received)

    def _wait(self, fd: int, events: int, end: float) -> None:
        poll = select.poll()
        poll.register(fd, events)
        if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
            self._late = True
            raise _Gone

    def end(self) -> str:
        """See it end, or end it; what became of it, as a noun phrase."""
        had_to_be_killed = self.close()
        code = self._process.returncode
        if self._late:
            return f"no answer within {limits.WALL_S:g} s"
        if had_to_be_killed:
            return "an answer that is none"
        if code == -signal.SIGXCPU:
            return "more processor time than it may take (SIGXCPU)"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def close(self) -> bool:
        """Let it end, as it does when nobody asks any more; whether it had to be killed."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        if not self._late:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_LIMIT_S)
                return False
        self._process.kill()
        self._process.wait()
        return True

    def forget(self) -> None:
        """In a fork of the process that started it: not ours, and it must notice when its parent ends."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.returncode = 0


class _One:
    """The helper of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.helper: Helper | None = None

    def ask(self, message: Message, data: bytes = b"") -> tuple[Message, bytes]:
        """Raises Died where a second child does not survive it either: the first may have died of something else."""
        reason = ""
        with self.lock:
            for _ in range(2):
                if self.helper is None or not self.helper.alive():
                    self.close()
                    self.helper = Helper()
                try:
                    return self.helper.ask(message, data)
                except _Gone:
                    reason, self.helper = self.helper.end(), None
                except BaseException:
                    # Interrupted half way: the answer would be taken for the next one.
                    self.close()
                    raise
        raise Died(reason)

    def close(self) -> None:
        if self.helper is not None:
            self.helper.close()
        self.helper = None

    def after_fork(self) -> None:
        if self.helper is not None:
            self.helper.forget()
        self.lock, self.helper = threading.Lock(), None


_one = _One()
atexit.register(_one.close)
os.register_at_fork(after_in_child=_one.after_fork)


def _widen(fd: int) -> None:
    """A pipe that holds a whole slice; where the system has no more for us, what it has."""
    if sys.platform == "linux":
        with suppress(OSError):
            fcntl.fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES)


def decode(data: bytes, syntax: str, shape: Shape, *, raw: bool = True) -> npt.NDArray[np.generic]:
    """As `pipeline.decoding.in_process.decode`, in the child. Raises Died, NotDecoded."""
    memory, cpu_s = limits.for_frame(shape.frame_bytes)
    message = {"do": "frame", "syntax": syntax, "shape": asdict(shape), "raw": raw, "memory": memory, "cpu_s": cpu_s}
    answer, pixels = _one.ask(message, data)
    if "error" in answer:
        raise NotDecoded(answer["error"])
    return np.frombuffer(pixels, np.dtype(answer["dtype"])).reshape(answer["shape"])


def content_of(path: Path) -> str | None:
    """As `content_digest`, in the child. Raises Died."""
    message = {"do": "content", "path": str(path), "memory": limits.FILE_MEMORY_BYTES, "cpu_s": limits.FILE_CPU_S}
    digest = _one.ask(message)[0].get("digest")
    return digest if isinstance(digest, str) else None
