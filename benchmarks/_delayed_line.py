"""A TCP line to a port of this machine whose answers come later: a network between two machines, on one."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

PIECE = 1 << 20


@contextmanager
def delayed(port: int, seconds: float) -> Iterator[int]:
    """The port of a line to `port`, carried by a process of its own; every answer waits so long."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_carry, args=(port, seconds, theirs), daemon=True)
    process.start()
    try:
        yield int(ours.recv())
    finally:
        process.terminate()
        process.join()


def _carry(port: int, seconds: float, pipe: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        pipe.send(server.getsockname()[1])
        while True:
            near, _ = server.accept()
            far = socket.create_connection(("127.0.0.1", port))
            for start, end, delay in ((near, far, 0.0), (far, near, seconds)):
                start.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=_pass_on, args=(start, end, delay), daemon=True).start()


def _pass_on(start: socket.socket, end: socket.socket, delay: float) -> None:
    with suppress(OSError):
        while piece := start.recv(PIECE):
            if delay:
                time.sleep(delay)
            end.sendall(piece)
        end.shutdown(socket.SHUT_WR)
