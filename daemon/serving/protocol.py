"""uvicorn's HTTP/1.1 (h11) on a connection that has deadlines. What is no HTTP gets a status and no words."""

from __future__ import annotations

import asyncio
import sys
from http import HTTPStatus
from typing import Any  # Any: a transport, of TCP or of TLS

import h11
import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from daemon.logs import Recurring
from daemon.serving.connections import Connection, Connections

log = structlog.get_logger("axrad.http")
# What is said before an end is on its way by then, or the other side does not read.
LAST_WORDS_S = 1.0
BROKEN = Recurring(log, "no-http")


def bare_answer(status: HTTPStatus, *headers: str) -> bytes:
    """A whole answer for a connection that ends with it."""
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *headers, "Connection: close", "Content-Length: 0"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


class BoundedProtocol(H11Protocol):
    """Tells its connection what happens, and answers what breaks the rules itself."""

    def __init__(
        self,
        config: Config,
        state: ServerState,
        connection: Connection,
        connections: Connections,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(config, state, {"connection": connection}, loop)
        self._connection = connection
        self._connections_open = connections
        self._header_began = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._connection.transport = transport
        self._connection.timed_out = self._time_is_up
        if self._connection.has_gone:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections_open.remove(self._connection)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._header_began = True
        self._connection.bytes_come()
        super().data_received(data)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Whoever stops sending in the middle of a request has broken it off; after one, the answer is still sent."""
        cycle = self.cycle
        if self.transport.is_closing() or cycle is None or cycle.response_complete:
            return None
        if cycle.more_body:
            self._say(HTTPStatus.BAD_REQUEST)
            cycle.disconnected = True
            cycle.message_event.set()
            return None
        cycle.keep_alive = False
        # TLS knows no connection that is closed on one side.
        return self.scheme != "https"

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        raise AssertionError("no WebSockets here")

    def _should_upgrade(self) -> bool:
        """An upgrade that is wished for is passed over (RFC 9110 7.8)."""
        return False

    def send_400_response(self, msg: str) -> None:
        """Called where h11 cannot read what came."""
        error = sys.exception()
        status = getattr(error, "error_status_hint", 400)
        BROKEN.note(str(status), peer=self._connection.address)
        self._say(HTTPStatus(status))

    def _time_is_up(self) -> None:
        if self._connection.active or not self._header_began:
            self._connection.cut()
        else:
            self._say(HTTPStatus.REQUEST_TIMEOUT)

    def _say(self, status: HTTPStatus) -> None:
        """A last answer, unless one is under way."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(bare_answer(status))
        self.transport.close()
        self.loop.call_later(LAST_WORDS_S, self._connection.cut)
