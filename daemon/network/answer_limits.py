"""Limits on HTTP answers: bytes after inflating, time until the headers, and the least rate at which a body must come.

A timeout of a socket bounds one wait only: a peer that sends a byte a minute, or a body without an end, is never
stopped by it. So a watch beside each exchange shuts the connection down once the peer is too slow, and the body is
counted while it is read.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any  # Any: classes and answers of requests and urllib3, which are made at run time

from requests import PreparedRequest, Response
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from daemon.network.http_tls import TlsAdapter
from pipeline.errors import PeerUnreachable

CHUNK_BYTES = 1 << 16


class AnswerTooLarge(PeerUnreachable):
    """The peer's answer has more bytes than such an answer may have."""

    code = "answer-too-large"


class AnswerTooSlow(PeerUnreachable):
    """The peer's answer comes more slowly than can be waited for."""

    code = "answer-too-slow"


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """`max_bytes`: of a body, inflated. `max_wait_s`: until the headers are there; after that, `min_bytes_per_s`.

    `max_total_s`: for all of it, however much comes.
    """

    max_bytes: int = 64 << 20
    max_wait_s: float = 240.0
    min_bytes_per_s: float = 4096.0
    max_total_s: float = 6 * 3600.0


class _Watch:
    """Shuts a connection down when its answer is too slow. `received`: bytes of the body so far; -1 before it."""

    def __init__(self, connection: socket.socket, limits: AnswerLimits) -> None:
        self._connection, self._limits = connection, limits
        self._ended = threading.Event()
        self.received = -1
        self.expired = False
        threading.Thread(target=self._run, name="answer-watch", daemon=True).start()

    def _run(self) -> None:
        started = time.monotonic()
        limits = self._limits
        while not self._ended.wait(min(1.0, limits.max_wait_s / 4)):
            spent_s = time.monotonic() - started
            late_s = spent_s - limits.max_wait_s
            if spent_s > limits.max_total_s or (late_s > 0 and self.received < late_s * limits.min_bytes_per_s):
                self.expired = True
                with contextlib.suppress(OSError):
                    # Not SSLSocket.shutdown, which takes the object away that another thread is reading from.
                    socket.socket.shutdown(self._connection, socket.SHUT_RDWR)
                return

    def end(self) -> None:
        self._ended.set()


class _LimitedBody:
    """urllib3's response, as far as requests uses it, with limits on its body."""

    def __init__(self, raw: Any, name: str, limits: AnswerLimits, watch: _Watch) -> None:
        self._raw, self._name, self._limits, self._watch = raw, name, limits, watch

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._raw, attribute)

    def stream(self, amt: int = CHUNK_BYTES, decode_content: bool | None = None) -> Iterator[bytes]:
        received = 0
        try:
            for piece in self._raw.stream(min(amt, CHUNK_BYTES), decode_content=decode_content):
                received += len(piece)
                if received > self._limits.max_bytes:
                    raise AnswerTooLarge(f"{self._name} sends an answer of more than {self._limits.max_bytes} bytes")
                self._watch.received = received
                yield piece
            self._require_in_time()
        except Exception:
            # Nobody reads on: a peer that still sends would hold the connection until garbage is collected.
            self._raw.close()
            self._require_in_time()
            raise
        finally:
            self._watch.end()

    def _require_in_time(self) -> None:
        if self._watch.expired:
            raise too_slow(self._name)

    def read(self, amt: int | None = None, decode_content: bool | None = None, **_: Any) -> bytes:
        return b"".join(self.stream(amt or CHUNK_BYTES, decode_content))

    def close(self) -> None:
        self._watch.end()
        self._raw.close()

    def release_conn(self) -> None:
        self._watch.end()
        self._raw.release_conn()


def too_slow(name: str) -> AnswerTooSlow:
    return AnswerTooSlow(f"{name} sends its answer too slowly; it was given up")


class LimitedAdapter(TlsAdapter):
    """Sends requests as requests does, and holds the answers to `limits`. `name`: the peer in messages."""

    def __init__(self, name: str, limits: AnswerLimits) -> None:
        self._name, self._limits = name, limits
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {
            "http": _watching(HTTPConnectionPool, self._name, self._limits),
            "https": _watching(HTTPSConnectionPool, self._name, self._limits),
        }

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        response = super().send(request, *args, **options)
        response.raw = _LimitedBody(response.raw, self._name, self._limits, response.raw.answer_watch)
        return response


def _watching(pool: Any, name: str, limits: AnswerLimits) -> Any:
    """A class of connection pools whose connections watch for slow answers."""

    class Connection(pool.ConnectionCls):  # type: ignore[misc]
        def getresponse(self) -> Any:
            watch = _Watch(self.sock, limits)
            try:
                response = super().getresponse()
            except Exception as error:
                watch.end()
                if watch.expired:
                    raise too_slow(name) from error
                raise
            watch.received = 0
            response.answer_watch = watch
            return response

    return type(pool.__name__, (pool,), {"ConnectionCls": Connection})
