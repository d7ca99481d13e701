"""The worker's side of the intake host's endpoint."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import requests

from daemon.network.http_tls import TlsAdapter
from daemon.share.digests import content_digest
from daemon.share.names import READ, WRITE
from daemon.share.planes import CODING, DamagedCoding, Unpacker
from pipeline.errors import PeerUnreachable

# An intake host that is being restarted is waited for; the exam's lease is renewed meanwhile.
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
TIMEOUTS_S = (5.0, 60.0)
CHUNK_BYTES = 1024 * 1024
# What a second attempt may mend.
_RETRYABLE = (408, 500, 502, 504)
# Longer than this it is not waited at once, whatever the intake host says.
MAX_COME_BACK_S = 30.0


T = TypeVar("T")


class IntakeHostAway(PeerUnreachable):
    """No answer of the intake host, or none that can be used: no fault of the archive that waits for a result."""


class ShareRefused(IntakeHostAway):
    """The intake host answers, and does not do what it is asked."""

    code = "share-refused"


class _ComeBack(IntakeHostAway):
    """The intake host has too much to do, and says how long to wait."""

    def __init__(self, message: str, after_s: float) -> None:
        super().__init__(message)
        self.after_s = after_s


class ShareClient:
    """Requests with a token, on a connection that is kept. For one thread at a time.

    Args:
        token: one that reads and writes, or what gives the token for "read" and for "write".
        ca: who signed the intake host's certificate; without it the system's authorities.
        certificate: files of our own certificate and its key.
        packed: have images made smaller for the way.
    """

    def __init__(
        self,
        url: str,
        token: str | Callable[[str], str],
        ca: Path | None = None,
        pauses_s: Sequence[float] = PAUSES_S,
        certificate: tuple[Path, Path] | None = None,
        *,
        packed: bool = False,
    ) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._pauses_s = tuple(pauses_s)
        self._session = requests.Session()
        # No proxy, and no password from ~/.netrc instead of the token.
        self._session.trust_env = False
        self._session.mount("https://", TlsAdapter())
        self._session.headers["Accept-Encoding"] = f"{CODING}, identity" if packed else "identity"
        if ca is not None:
            self._session.verify = str(ca)
        if certificate is not None:
            self._session.cert = (str(certificate[0]), str(certificate[1]))

    def fetch(self, path: str, to: Path) -> int | None:
        """Write what lies at `path` into a new file; its size in bytes, or None where the intake host has no such file.

        Raises:
            IntakeHostAway: no answer, or one that breaks off, however often it is tried.
            ShareRefused: wrong token, or a request that the other side does not take.
        """
        return self._with_retries(lambda: self._fetch_once(path, to))

    def put(self, path: str, data: bytes) -> None:
        """Have `data` kept at `path`. Raises IntakeHostAway, ShareRefused."""
        self._with_retries(lambda: self._put_once(path, data))

    def close(self) -> None:
        self._session.close()

    def _fetch_once(self, path: str, to: Path) -> int | None:
        with self._answer("GET", path, None, self._authorised(READ)) as answer:
            if answer.status_code == 404:
                return None
            _require(answer)
            with to.open("wb") as file:
                return sum(file.write(piece) for piece in _content(answer))

    def _put_once(self, path: str, data: bytes) -> None:
        headers = self._authorised(WRITE) | {"Content-Digest": content_digest(data)}
        with self._answer("PUT", path, data, headers) as answer:
            _require(answer)

    def _authorised(self, scope: str) -> dict[str, str]:
        token = self._token if isinstance(self._token, str) else self._token(scope)
        return {"Authorization": f"Bearer {token}"}

    @contextmanager
    def _answer(
        self, method: str, path: str, data: bytes | None, headers: dict[str, str]
    ) -> Iterator[requests.Response]:
        """Errors of the network as ours, also those that come while the answer is read."""
        try:
            with self._session.request(
                method,
                self._url + path,
                data=data,
                headers=headers,
                timeout=TIMEOUTS_S,
                stream=True,
                allow_redirects=False,
            ) as answer:
                yield answer
        except requests.RequestException as error:
            raise IntakeHostAway(f"the intake host does not answer: {type(error).__name__}") from None

    def _with_retries(self, attempt: Callable[[], T]) -> T:
        for pause_s in self._pauses_s:
            try:
                return attempt()
            except ShareRefused:
                raise
            except _ComeBack as error:
                time.sleep(max(pause_s, error.after_s))
            except IntakeHostAway:
                time.sleep(pause_s)
        return attempt()


def _content(answer: requests.Response) -> Iterator[bytes]:
    """The file, whatever was done to it for the way. Raises IntakeHostAway where that broke."""
    pieces = answer.iter_content(CHUNK_BYTES)
    if answer.headers.get("Content-Encoding") != CODING:
        yield from pieces
        return
    unpacker = Unpacker()
    try:
        for piece in pieces:
            yield from unpacker.unpack(piece)
        yield unpacker.end()
    except DamagedCoding:
        raise IntakeHostAway("the intake host's answer is damaged") from None


def _require(answer: requests.Response) -> None:
    if answer.status_code in (200, 204):
        return
    if answer.status_code == 401:
        raise ShareRefused("the intake host refuses our token; spool.share_token must be the same on both machines")
    if answer.status_code == 403:
        raise ShareRefused(
            "the intake host does not let us do this: spool.share_write_token_file lets results be written, "
            "spool.share_certificates names the certificates of workers"
        )
    if answer.status_code == 429:
        raise ShareRefused(
            "the intake host refuses our token, as it did several times before; spool.share_token must be the same on "
            "both machines"
        )
    if answer.status_code == 503:
        after = answer.headers.get("Retry-After", "")
        after_s = float(after) if re.fullmatch("[0-9]{1,4}", after) else 0.0
        raise _ComeBack(f"the intake host answers {answer.status_code}", min(after_s, MAX_COME_BACK_S))
    if answer.status_code in _RETRYABLE:
        raise IntakeHostAway(f"the intake host answers {answer.status_code}")
    raise ShareRefused(f"the intake host refuses a request with status {answer.status_code}")
