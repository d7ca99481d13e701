"""TCP lines to a port of this machine as if another machine were there: answers come later, or no faster than so."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized

PIECE = 1 << 20
# Of a line with a limit: what is passed on at once.
SMALL_PIECE = 1 << 15


@dataclass(frozen=True)
class Line:
    """`answered`: bytes that came back over it."""

    port: int
    answered: Synchronized[int]


@contextmanager
def delayed(port: int, seconds: float) -> Iterator[int]:
    """The port of a line to `port`, carried by a process of its own; every answer waits so long."""
    with _line(port, seconds, 0.0) as line:
        yield line.port


@contextmanager
def throttled(port: int, mbit_per_s: float) -> Iterator[Line]:
    """A line to `port` whose answers, of all its connections together, come no faster than so."""
    with _line(port, 0.0, mbit_per_s * 1e6 / 8) as line:
        yield line


@contextmanager
def _line(port: int, delay_s: float, bytes_per_s: float) -> Iterator[Line]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    answered: Synchronized[int] = context.Value("q", 0)
    process = context.Process(target=_carry, args=(port, delay_s, bytes_per_s, answered, theirs), daemon=True)
    process.start()
    try:
        yield Line(int(ours.recv()), answered)
    finally:
        process.terminate()
        process.join()


class _Pace:
    """Bytes go one after another, whatever connection they belong to."""

    def __init__(self, bytes_per_s: float, answered: Synchronized[int]) -> None:
        self._bytes_per_s, self._answered = bytes_per_s, answered
        self._free_at = 0.0

    def wait_for(self, size: int) -> None:
        with self._answered.get_lock():
            self._answered.value += size
            if not self._bytes_per_s:
                return
            self._free_at = max(self._free_at, time.monotonic()) + size / self._bytes_per_s
            wait_s = self._free_at - time.monotonic()
        time.sleep(max(0.0, wait_s))


def _carry(port: int, delay_s: float, bytes_per_s: float, answered: Synchronized[int], pipe: Connection) -> None:
    pace = _Pace(bytes_per_s, answered)
    piece = SMALL_PIECE if bytes_per_s else PIECE
    with socket.create_server(("127.0.0.1", 0)) as server:
        pipe.send(server.getsockname()[1])
        while True:
            near, _ = server.accept()
            far = socket.create_connection(("127.0.0.1", port))
            for start, end, delay, by in ((near, far, 0.0, None), (far, near, delay_s, pace)):
                start.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=_pass_on, args=(start, end, delay, by, piece), daemon=True).start()


def _pass_on(start: socket.socket, end: socket.socket, delay: float, pace: _Pace | None, most: int) -> None:
    with suppress(OSError):
        while piece := start.recv(most):
            if delay:
                time.sleep(delay)
            if pace is not None:
                pace.wait_for(len(piece))
            end.sendall(piece)
        end.shutdown(socket.SHUT_WR)
