"""The intake host's endpoint for workers without the spool.

    GET /instances/{SOP Instance UID}/{digest}   the file as it was received (application/dicom)
    GET /results/{revision}/{name}               a file of a result
    PUT /results/{revision}/{name}               the same, written whole or not at all

Every request carries a token, which reads, writes, or both. Errors are a status and nothing else. Nothing that is asked
for is a path: UIDs become hashes, digests and revisions are checked, names come from a list.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import structlog
from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from config.schema import Spool as SpoolSettings
from daemon.network.server_tls import NO_CERTIFICATE, CurrentTls, ShownCertificate, share_files, shown_by
from daemon.serving.connections import Connection
from daemon.serving.limits import HttpLimits
from daemon.serving.request_bounds import status_only
from daemon.serving.server import HttpServer
from daemon.share.digests import Incomplete, announced_digest
from daemon.share.names import READ, WRITE, is_digest, is_result_file
from daemon.share.planes import BLOCK_BYTES, CODING, Packer
from daemon.share.refusals import Report, reported_in_background
from daemon.share.result_upload import receive_file
from daemon.share.tokens import CurrentTokens, scopes_of
from daemon.share.tries import Tries
from daemon.spool.instance_files import relative_path
from daemon.spool.uids import is_uid
from pipeline.errors import InputRejected

log = structlog.get_logger("axrad.share")
# Results are numbers, pictures and reports; nothing of them comes near this.
MAX_RESULT_BYTES = 256 * 1024**2
# Requests that are served at once; one beyond that waits so long, then it is asked to come back.
REQUESTS_AT_ONCE, MAX_WAIT_S, SHARE_COME_BACK_S = 32, 5.0, 1
PIECE_BYTES = 1024 * 1024
# What does not become smaller than this share (JPEG is small already) is sent as it is.
WORTH_PACKING = 0.9
SCOPES = {"GET": READ, "PUT": WRITE}
WRONG_TOKEN, OTHER_SCOPE, NOT_ITS_CERTIFICATE = "wrong-token", "token-lacks-scope", "not-its-certificate"


class Share:
    """ASGI: what is done with one request."""

    def __init__(self, spool: SpoolSettings, tokens: CurrentTokens, report: Report) -> None:
        self._root: Path = spool.path
        self._certificates = spool.share_certificates
        self._tokens = tokens
        self._report = report
        self._wrong = Tries()
        self._turns = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = self._refusal(request)
        if response is None:
            try:
                async with asyncio.timeout(MAX_WAIT_S):
                    await self._turns.acquire()
            except TimeoutError:
                response = _refused(request, HTTPStatus.SERVICE_UNAVAILABLE, SHARE_COME_BACK_S)
        if response is not None:
            await response(scope, receive, send)
            return
        try:
            response = await self._answer(request)
            await response(scope, receive, send)
        finally:
            self._turns.release()

    def _refusal(self, request: Request) -> Response | None:
        """Why somebody may not ask for anything, or not for this."""
        connection: Connection = request.state.connection
        if self._certificates and not certificate_of(connection).is_one_of(self._certificates):
            self._report(connection.address, NOT_ITS_CERTIFICATE)
            return _refused(request, HTTPStatus.FORBIDDEN)
        scopes = scopes_of(request.headers.get("Authorization", ""), self._tokens.now())
        connection.trusted = bool(scopes)
        if not scopes:
            return self._wrong_token(request, connection.address)
        if request.method not in SCOPES:
            return _refused(request, HTTPStatus.NOT_IMPLEMENTED)
        if SCOPES[request.method] not in scopes:
            self._report(connection.address, OTHER_SCOPE)
            return _refused(request, HTTPStatus.FORBIDDEN)
        return None

    def _wrong_token(self, request: Request, address: str) -> Response:
        """A right token is not counted and always opens: a neighbour's mistake locks nobody out."""
        self._report(address, WRONG_TOKEN)
        wait_s = self._wrong.count(address)
        if wait_s:
            return _refused(request, HTTPStatus.TOO_MANY_REQUESTS, wait_s)
        return _refused(request, HTTPStatus.UNAUTHORIZED)

    async def _answer(self, request: Request) -> Response:
        """By the path as it was written: nothing in it is decoded or tidied up."""
        parts = tuple(request.scope["raw_path"].decode("latin-1").removeprefix("/").split("/"))
        if request.scope["query_string"]:
            parts = ()
        match request.method, parts:
            case "GET", ("instances", uid, digest) if is_uid(uid) and is_digest(digest):
                return _file(request, self._root / relative_path(uid, digest), "application/dicom", _kind_of(request))
            case "GET", ("results", revision, name) if is_result_file(revision, name):
                return _file(request, self._root / "results" / revision / name, "application/octet-stream")
            case "PUT", ("results", revision, name) if is_result_file(revision, name):
                return await _keep(request, self._root / "results" / revision / name)
            case _:
                return _refused(request, HTTPStatus.BAD_REQUEST)


def certificate_of(connection: Connection) -> ShownCertificate:
    ssl_object = connection.transport.get_extra_info("ssl_object") if connection.transport is not None else None
    return NO_CERTIFICATE if ssl_object is None else shown_by(ssl_object)


def _refused(request: Request, status: HTTPStatus, retry_after_s: int | None = None) -> Response:
    connection: Connection = request.state.connection
    log.warning("share-refused", status=int(status), peer=connection.address)
    return status_only(status) if retry_after_s is None else status_only(status, Retry_After=str(retry_after_s))


def _kind_of(request: Request) -> type[FileAnswer]:
    codings = {coding.strip() for coding in request.headers.get("Accept-Encoding", "").split(",")}
    return PackedAnswer if CODING in codings else FileAnswer


def _file(request: Request, path: Path, kind: str, answer: type[FileAnswer] | None = None) -> Response:
    if "content-length" in request.headers or "transfer-encoding" in request.headers:
        # A body that nobody reads would be taken for the next request.
        return _refused(request, HTTPStatus.BAD_REQUEST)
    try:
        # Not in a thread: a task that is cancelled meanwhile would leave the file open.
        return (answer or FileAnswer)(path.open("rb"), kind)
    except FileNotFoundError:
        return Response(status_code=HTTPStatus.NOT_FOUND)


class FileAnswer(StreamingResponse):
    """The file from its first byte to its last; closed however the answer ends, before its first piece too."""

    def __init__(self, file: BinaryIO, kind: str) -> None:
        self._file = file
        size = os.fstat(file.fileno()).st_size
        super().__init__(self._pieces(), headers={"Content-Length": str(size)}, media_type=kind)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)

    async def _pieces(self) -> AsyncIterator[bytes]:
        while piece := await to_thread.run_sync(self._file.read, PIECE_BYTES):
            yield piece


class PackedAnswer(FileAnswer):
    """The file made smaller for the way, where its first block says that this is worth it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        packer = Packer()
        with self._file:
            first = await to_thread.run_sync(self._file.read, BLOCK_BYTES)
            packed = await to_thread.run_sync(packer.pack, first)
            if len(packed) < WORTH_PACKING * len(first):
                del self.headers["Content-Length"]
                self.headers["Content-Encoding"] = CODING
                self.body_iterator = self._packed(packer, packed)
            else:
                self._file.seek(0)
            await super().__call__(scope, receive, send)

    async def _packed(self, packer: Packer, packed: bytes) -> AsyncIterator[bytes]:
        yield packed
        while block := await to_thread.run_sync(self._file.read, BLOCK_BYTES):
            yield await to_thread.run_sync(packer.pack, block)
        yield packer.end()


async def _keep(request: Request, path: Path) -> Response:
    length = request.headers.get("Content-Length", "")
    if not (length.isascii() and length.isdigit()):
        return _refused(request, HTTPStatus.LENGTH_REQUIRED)
    if int(length) > MAX_RESULT_BYTES:
        return _refused(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    try:
        digest = announced_digest(request.headers.get("Content-Digest"))
        await receive_file(request.stream(), path, int(length), digest)
    except (Incomplete, ClientDisconnect):
        return _refused(request, HTTPStatus.BAD_REQUEST)
    except OSError as error:
        log.error("share-not-written", error=error.strerror)
        return _refused(request, HTTPStatus.INSUFFICIENT_STORAGE)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def share_limits(spool: SpoolSettings) -> HttpLimits:
    return HttpLimits(
        connections=spool.share_connections,
        connections_per_address=spool.share_connections_per_address,
        networks=spool.share_networks,
    )


def bound_server(spool: SpoolSettings, report: Report, limits: HttpLimits) -> HttpServer:
    """Not yet serving. Raises InputRejected where tokens, certificate or address cannot be used."""
    assert spool.share_port is not None
    tokens = CurrentTokens(spool)
    try:
        tls = CurrentTls(share_files(spool))
    except (OSError, ValueError) as error:
        raise InputRejected(f"spool.share_certificate cannot be used: {error}", code="bad-certificate") from error
    address = (spool.share_host, spool.share_port)
    try:
        return HttpServer(address, Share(spool, tokens, report), limits, tls=tls, refused=report)
    except OSError as error:
        raise InputRejected(
            f"cannot share the spool on {spool.share_host}:{spool.share_port}: {error.strerror}", code="cannot-listen"
        ) from error


@contextmanager
def sharing(
    spool: SpoolSettings, report: Report = lambda address, reason: None, limits: HttpLimits | None = None
) -> Iterator[HttpServer | None]:
    """Serve in a thread while the body runs; nothing where the spool is not shared."""
    if spool.share_port is None:
        yield None
        return
    with reported_in_background(report) as tell, bound_server(spool, tell, limits or share_limits(spool)) as server:
        log.info("sharing", host=spool.share_host, port=server.server_port, tls=spool.share_certificate is not None)
        yield server
