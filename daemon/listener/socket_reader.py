"""Reading one association's socket: waiting for bytes or for a wake-up, in a buffer that is allocated once."""

from __future__ import annotations

import os
import select
import socket
import ssl
import time

from daemon.listener.association_wakeup import MAX_ROUND_S

BUFFER_BYTES = 256 * 1024


class PollWakeup:
    """Wakes a thread out of its poll. The descriptor stays open as long as anyone can still call `wake`."""

    fd = -1  # stays so where the system has no descriptor left: then there is nothing to close

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def wake(self) -> None:
        os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        os.eventfd_read(self.fd)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class SocketReader:
    """Reads from the socket of one association; `wake`, from any thread, ends its waiting early."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._wakeup = PollWakeup()
        self._poll = select.poll()
        self._poll.register(self._wakeup.fd, select.POLLIN)
        self._polled_socket = -1
        self._buffer = memoryview(bytearray(BUFFER_BYTES))

    def wake(self) -> None:
        self._wakeup.wake()

    def is_readable(self, sock: socket.socket) -> bool:
        """Wait until the socket has bytes, `wake` is called, or MAX_ROUND_S is over; whether there are bytes."""
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True
        if sock.fileno() != self._polled_socket:
            self._polled_socket = sock.fileno()
            self._poll.register(sock, select.POLLIN)
        ready = False
        for descriptor, _ in self._poll.poll(MAX_ROUND_S * 1000):
            if descriptor == self._wakeup.fd:
                self._wakeup.clear()
            else:
                ready = True
        return ready

    def read_available(self, sock: socket.socket) -> memoryview | None:
        """The bytes that have come, valid until the next call; empty at the end of the stream, None if none came.

        Reading is tried before waiting: while images flow, the next bytes are there already.
        """
        try:
            if isinstance(sock, ssl.SSLSocket):
                count = sock.recv_into(self._buffer) if self.is_readable(sock) else None
            else:
                count = self._read_plain(sock)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except OSError:
            count = 0
        return None if count is None else self._buffer[:count]

    def _read_plain(self, sock: socket.socket) -> int | None:
        try:
            return os.readv(sock.fileno(), (self._buffer,))
        except BlockingIOError:
            return os.readv(sock.fileno(), (self._buffer,)) if self.is_readable(sock) else None

    def read_exactly(self, sock: socket.socket, size: int, deadline: float) -> bytearray:
        """`size` bytes. Raises TimeoutError at the deadline (monotonic clock), EOFError at the end of the stream."""
        raw = bytearray()
        while len(raw) < size:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                raise TimeoutError
            sock.settimeout(remaining_s)
            piece = sock.recv(min(size - len(raw), 65536))
            if not piece:
                raise EOFError
            raw += piece
        sock.settimeout(self._timeout_s)
        return raw
