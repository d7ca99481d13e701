"""In front of an application: requests that two readers could take differently are refused, bodies are timed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus

import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.logs import place_of
from daemon.serving.connections import Connection
from daemon.serving.limits import HttpLimits

log = structlog.get_logger("axrad.http")
# Of a request that is refused, so much of its body is read; results are seldom larger.
READ_AWAY_BYTES = 8 << 20
# RFC 9110 7.2, without names that belong elsewhere in a URL.
HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::[0-9]{0,5})?")
CLOSES = (b"connection", b"close")
# Whether a host name in a request may be one that leads here; None: any.
HostRule = Callable[[str], bool] | None


def status_only(status: HTTPStatus, **headers: str) -> Response:
    """A status without details. The connection ends: what else was sent on it is not read."""
    return Response(
        status_code=status, headers={"Connection": "close", **{k.replace("_", "-"): v for k, v in headers.items()}}
    )


class BoundedRequests:
    """ASGI: one request of a connection, from its header to the end of its answer."""

    def __init__(self, app: ASGIApp, limits: HttpLimits, host_rule: HostRule = None) -> None:
        self._app, self._limits, self._host_rule = app, limits, host_rule

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection: Connection = scope["state"]["connection"]
        connection.request_begins()
        exchange = _Exchange(connection, receive, send, unread=_may_be_read_away(scope))
        try:
            refusal = refusal_of(scope, self._limits, self._host_rule)
            app: ASGIApp = self._app if refusal is None else status_only(refusal)
            await app(scope, exchange.receive, exchange.send)
        except Exception as error:  # noqa: BLE001 - uvicorn would log its text, which may quote what was asked for
            log.error("request-failed", error=type(error).__name__, at=place_of(error))
            if not exchange.answered:
                await status_only(HTTPStatus.INTERNAL_SERVER_ERROR)(scope, receive, send)
            else:
                connection.cut()
        finally:
            connection.request_ends()


def refusal_of(scope: Scope, limits: HttpLimits, host_rule: HostRule) -> HTTPStatus | None:
    """Why a request is not looked at: its header is ambiguous, too long, or for somebody else."""
    size = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    if size + len(scope["raw_path"]) + len(scope["query_string"]) > limits.max_header_bytes:
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    lengths, encodings, hosts = (
        [value for name, value in scope["headers"] if name == wanted]
        for wanted in (b"content-length", b"transfer-encoding", b"host")
    )
    # h11 has compared several lengths, and reads no coding but "chunked". Both together are how requests are smuggled.
    if encodings and (lengths or len(encodings) > 1 or scope["http_version"] != "1.1"):
        return HTTPStatus.BAD_REQUEST
    if not scope["raw_path"].startswith(b"/"):
        return HTTPStatus.BAD_REQUEST
    names = [_name_of(host) for host in hosts]
    if len(names) > 1 or None in names:
        return HTTPStatus.BAD_REQUEST
    if host_rule is not None and any(name is not None and not host_rule(name) for name in names):
        return HTTPStatus.MISDIRECTED_REQUEST
    return None


def _name_of(host: bytes) -> str | None:
    """The name or address of a host with or without a port; None where it is no such thing."""
    match = HOST.fullmatch(host)
    return None if match is None else match[1].decode("ascii").lower().strip("[]")


def _may_be_read_away(scope: Scope) -> bool:
    """Whether a refusal first reads the body: who is still sending when we close never sees what we said."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    if b"transfer-encoding" in headers or b"expect" in headers or not length.isdigit():
        return False
    return 0 < int(length) <= READ_AWAY_BYTES


class _Exchange:
    """`receive` and `send` of one request, with the time that each may take."""

    def __init__(self, connection: Connection, receive: Receive, send: Send, *, unread: bool) -> None:
        self._connection, self._receive, self._send = connection, receive, send
        self._reads_away = unread
        self._clock = asyncio.get_running_loop().time
        self._received_since: float | None = None
        self._received = self._sent = 0
        self._all_received = False
        self._sent_since = 0.0
        self.answered = False

    async def receive(self) -> Message:
        """After the body, and once the answer is under way, this only waits for the other side to leave."""
        if self._all_received or self.answered:
            return await self._receive()
        if self._received_since is None:
            self._received_since = self._clock()
        self._connection.body_moves(self._received_since, self._received)
        message = await self._receive()
        self._received += len(message.get("body", b""))
        self._all_received = not message.get("more_body", False)
        if not self.answered:
            self._connection.we_work()
        return message

    async def send(self, message: Message) -> None:
        if self._reads_away and CLOSES in message.get("headers", ()):
            await self._read_away()
        self._sent_since = self._sent_since if self.answered else self._clock()
        self.answered = True
        self._connection.body_moves(self._sent_since, self._sent)
        await self._send(message)
        self._sent += len(message.get("body", b""))
        self._connection.we_work()

    async def _read_away(self) -> None:
        while not self._all_received:
            message = await self.receive()
            if message["type"] != "http.request":
                return
