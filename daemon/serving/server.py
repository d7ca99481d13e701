"""An HTTP endpoint in a thread of its own: it accepts, secures and hands over connections until it is closed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import Self

import structlog
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from daemon.logs import Recurring
from daemon.network.accept_backoff import REST_S, SHORT
from daemon.network.server_tls import TLS_HANDSHAKE, CurrentTls, TlsFiles, handshake_failure
from daemon.serving.connections import Connection, Connections, address_of
from daemon.serving.limits import HttpLimits
from daemon.serving.protocol import BoundedProtocol, bare_answer
from daemon.serving.request_bounds import BoundedRequests, HostRule

log = structlog.get_logger("axrad.http")
# So many are accepted before those that are open are served again.
ACCEPT_AT_ONCE = 32
# A TLS connection that we close, and whose other side does not confirm, is given up.
TLS_CLOSE_S = 2.0
# Time for requests under way when the endpoint closes.
REQUESTS_STOP_S = 5.0
NOT_LISTED = "address-not-listed"
BUSY = bare_answer(HTTPStatus.SERVICE_UNAVAILABLE, "Retry-After: 1")
# Address and reason of who was refused before it could ask for anything.
Refused = Callable[[str, str], None]


class HttpServer:
    """Bound when made, serving inside `with`. `server_port` is the port it really has. Raises OSError, ValueError."""

    def __init__(
        self,
        address: tuple[str, int],
        app: ASGIApp,
        limits: HttpLimits,
        *,
        tls: CurrentTls | None = None,
        host_rule: HostRule = None,
        refused: Refused = lambda address, reason: None,
    ) -> None:
        self._tls = tls or CurrentTls(TlsFiles())
        self._limits = limits
        self._refused = refused
        self._connections = Connections(limits)
        self._state = ServerState()
        self._config = Config(
            BoundedRequests(app, limits, host_rule),
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=limits.max_header_bytes,
            # Ours is the shorter one.
            timeout_keep_alive=int(limits.idle_s) + 60,
        )
        self._config.load()
        self._full = Recurring(log, "connections-full")
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._securing: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._listening = socket.create_server(address, family=family, backlog=limits.backlog)
        self._listening.setblocking(False)
        self.server_port: int = self._listening.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End: what is being answered has a few seconds, everything else goes at once."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        self._listening.close()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve_until_stop())
        finally:
            self._loop.close()

    async def _serve_until_stop(self) -> None:
        self._listen()
        await self._stop.wait()
        self._loop.remove_reader(self._listening)
        self._listening.close()
        for protocol in tuple(self._state.connections):
            protocol.shutdown()
        if self._state.tasks:
            await asyncio.wait(tuple(self._state.tasks), timeout=REQUESTS_STOP_S)
        self._connections.cut_all()
        if self._securing:
            await asyncio.wait(tuple(self._securing), timeout=REQUESTS_STOP_S)
        for task in tuple(self._state.tasks):
            task.cancel()
        # What was cut or cancelled says so to its protocol.
        await asyncio.sleep(0)

    # Accepting

    def _listen(self) -> None:
        if self._listening.fileno() >= 0:
            self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPT_AT_ONCE):
            try:
                sock, peer = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in SHORT:
                    self._rest()
                return
            self._take(sock, address_of(peer))

    def _rest(self) -> None:
        """Without descriptors or memory: who is idle goes, and accepting pauses."""
        self._connections.give_up_one()
        self._loop.remove_reader(self._listening)
        self._loop.call_later(REST_S, self._listen)

    def _take(self, sock: socket.socket, address: str) -> None:
        sock.setblocking(False)
        if not self._connections.listed(address):
            self._refused(address, NOT_LISTED)
            sock.close()
            return
        if not self._connections.make_room(address):
            self._full.note("full", peer=address, connections=len(self._connections))
            self._say_busy(sock)
            return
        connection = Connection(sock, address, self._limits, self._loop)
        self._connections.add(connection)
        task = self._loop.create_task(self._serve(sock, connection))
        self._securing.add(task)
        task.add_done_callback(self._securing.discard)

    def _say_busy(self, sock: socket.socket) -> None:
        if not self._tls.enabled:
            with contextlib.suppress(OSError):
                sock.send(BUSY)
        sock.close()

    async def _serve(self, sock: socket.socket, connection: Connection) -> None:
        """Secure a connection, where we listen so, and hand it to its protocol."""
        context = self._tls.context()
        try:
            await self._loop.connect_accepted_socket(
                lambda: BoundedProtocol(self._config, self._state, connection, self._connections, self._loop),
                sock,
                ssl=context,
                ssl_handshake_timeout=None if context is None else self._limits.header_s,
                ssl_shutdown_timeout=None if context is None else TLS_CLOSE_S,
            )
        except OSError as error:  # ssl.SSLError is one, and so is a connection that was reset
            self._connections.remove(connection)
            sock.close()
            if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
                self._refused(connection.address, f"{TLS_HANDSHAKE}: {handshake_failure(error)}")
            elif context is not None and connection.has_gone:
                self._refused(connection.address, f"{TLS_HANDSHAKE}: given up")
