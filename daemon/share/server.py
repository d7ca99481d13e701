"""The intake host's endpoint for workers without the spool.

    GET /instances/{SOP Instance UID}/{digest}   the file as it was received (application/dicom)
    GET /results/{revision}/{name}               a file of a result
    PUT /results/{revision}/{name}               the same, written whole or not at all

Every request carries the token. Errors are a status and nothing else. Nothing that is asked for is a path: UIDs become
hashes, digests and revisions are checked, names come from a list.
"""

from __future__ import annotations

import hmac
import shutil
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any  # Any: an address, whose form depends on the family of the socket

import structlog

from config.schema import Spool as SpoolSettings
from daemon.network.accept_backoff import RestingServer
from daemon.share.names import is_digest, is_result_file
from daemon.spool.instance_files import relative_path
from daemon.spool.uids import is_uid
from daemon.spool.whole_files import write_synced
from pipeline.errors import InputRejected

log = structlog.get_logger("axrad.share")
# Results are numbers, pictures and reports; nothing of them comes near this.
MAX_RESULT_BYTES = 256 * 1024**2
MAX_CONNECTIONS = 64
# How long a connection beyond that waits for a place.
MAX_WAIT_FOR_ROOM_S = 5.0
# A connection on which nothing moves for so long is closed; also one that is kept for further requests.
IDLE_TIMEOUT_S = 10.0


class ShareServer(RestingServer):
    """Serves one spool until it is shut down. `server_port` is the port it really has."""

    request_queue_size = 128

    def __init__(self, spool: SpoolSettings) -> None:
        assert spool.share_port is not None
        assert spool.share_token is not None
        self.root: Path = spool.path
        self.writing = threading.Lock()
        self._expected = f"Bearer {spool.share_token}".encode()
        self._tls = _tls(spool)
        self._room = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in spool.share_host else socket.AF_INET
        try:
            super().__init__((spool.share_host, spool.share_port), _Handler)
        except OSError as error:
            raise InputRejected(
                f"cannot share the spool on {spool.share_host}:{spool.share_port}: {error.strerror}",
                code="cannot-listen",
            ) from error

    def accepts(self, authorization: str) -> bool:
        """Compared in constant time."""
        return hmac.compare_digest(authorization.encode("latin-1", "replace"), self._expected)

    def get_request(self) -> tuple[socket.socket, Any]:
        """The handshake happens in the connection's own thread, so that a slow one keeps nobody waiting."""
        connection, address = super().get_request()
        if self._tls is not None:
            connection.settimeout(IDLE_TIMEOUT_S)
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        if not self._room.acquire(timeout=MAX_WAIT_FOR_ROOM_S):
            log.warning("share-full", connections=MAX_CONNECTIONS)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """A connection that broke is the other side's to repeat; its text may quote what was asked for."""
        log.warning("share-connection-broken", error=type(sys.exception()).__name__)


def _tls(spool: SpoolSettings) -> ssl.SSLContext | None:
    if spool.share_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(spool.share_certificate, spool.share_key)
    except (OSError, ValueError) as error:
        raise InputRejected(f"spool.share_certificate cannot be used: {error}", code="bad-certificate") from error
    return context


class _Handler(BaseHTTPRequestHandler):
    server: ShareServer
    protocol_version = "HTTP/1.1"
    timeout = IDLE_TIMEOUT_S
    server_version = "axrad"
    sys_version = ""

    def do_GET(self) -> None:
        match self._authorised_path():
            case ("instances", uid, digest) if is_uid(uid) and is_digest(digest):
                self._send(self.server.root / relative_path(uid, digest), "application/dicom")
            case ("results", revision, name) if is_result_file(revision, name):
                self._send(self.server.root / "results" / revision / name, "application/octet-stream")
            case None:
                self._answer_status(HTTPStatus.UNAUTHORIZED)
            case _:
                self._answer_status(HTTPStatus.BAD_REQUEST)

    def do_PUT(self) -> None:
        match self._authorised_path():
            case ("results", revision, name) if is_result_file(revision, name):
                self._write_result(self.server.root / "results" / revision / name)
            case None:
                self._answer_status(HTTPStatus.UNAUTHORIZED)
            case _:
                self._answer_status(HTTPStatus.BAD_REQUEST)

    def _authorised_path(self) -> tuple[str, ...] | None:
        """The parts of the path; None without the token."""
        if not self.server.accepts(self.headers.get("Authorization", "")):
            return None
        return tuple(self.path.removeprefix("/").split("/"))

    def _send(self, path: Path, kind: str) -> None:
        try:
            file = path.open("rb")
        except FileNotFoundError:
            self._answer_status(HTTPStatus.NOT_FOUND)
            return
        with file:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(file.seek(0, 2)))
            self.end_headers()
            file.seek(0)
            shutil.copyfileobj(file, self.wfile, 1024 * 1024)

    def _write_result(self, path: Path) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self._answer_status(HTTPStatus.LENGTH_REQUIRED)
            return
        if int(length) > MAX_RESULT_BYTES:
            self._answer_status(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        data = self.rfile.read(int(length))
        if len(data) < int(length):
            self._answer_status(HTTPStatus.BAD_REQUEST)
            return
        try:
            with self.server.writing:
                write_synced(path, data)
        except OSError as error:
            log.error("share-not-written", error=error.strerror)
            self._answer_status(HTTPStatus.INSUFFICIENT_STORAGE)
            return
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()

    def _answer_status(self, status: HTTPStatus) -> None:
        """A status without details. The connection ends: what else was sent on it is not read."""
        if status is not HTTPStatus.NOT_FOUND:
            log.warning("share-refused", status=int(status), peer=self.client_address[0])
            self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses: unknown methods, lines that are no HTTP."""
        self.close_connection = True
        self.send_response(code, HTTPStatus(code).phrase)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """No line per request: it would hold UIDs."""


@contextmanager
def sharing(spool: SpoolSettings) -> Iterator[ShareServer | None]:
    """Serve in a thread while the body runs; nothing where the spool is not shared."""
    if spool.share_port is None:
        yield None
        return
    with ShareServer(spool) as server:
        thread = threading.Thread(target=server.serve_forever, name="share", daemon=True)
        thread.start()
        log.info("sharing", host=spool.share_host, port=server.server_port, tls=spool.share_certificate is not None)
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
