"""The worker's side of the intake host's endpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import requests

from pipeline.errors import PeerUnreachable

# An intake host that is being restarted is waited for; the exam's lease is renewed meanwhile.
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
TIMEOUTS_S = (5.0, 60.0)
CHUNK_BYTES = 1024 * 1024
# What a second attempt may mend.
_RETRYABLE = (408, 429, 500, 502, 503, 504)


T = TypeVar("T")


class ShareRefused(PeerUnreachable):
    """The intake host answers, and does not do what it is asked."""

    code = "share-refused"


class ShareClient:
    """Requests with the token, on a connection that is kept. For one thread at a time."""

    def __init__(self, url: str, token: str, ca: Path | None = None, pauses_s: Sequence[float] = PAUSES_S) -> None:
        self._url = url.rstrip("/")
        self._pauses_s = tuple(pauses_s)
        self._session = requests.Session()
        # No proxy, and no password from ~/.netrc instead of the token.
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {token}"
        # What is digested must be what was sent.
        self._session.headers["Accept-Encoding"] = "identity"
        if ca is not None:
            self._session.verify = str(ca)

    def fetch(self, path: str, to: Path) -> int | None:
        """Write what lies at `path` into a new file; its size in bytes, or None where the intake host has no such file.

        Raises:
            PeerUnreachable: no answer, or one that breaks off, however often it is tried.
            ShareRefused: wrong token, or a request that the other side does not take.
        """
        return self._with_retries(lambda: self._fetch_once(path, to))

    def put(self, path: str, data: bytes) -> None:
        """Have `data` kept at `path`. Raises PeerUnreachable, ShareRefused."""
        self._with_retries(lambda: self._put_once(path, data))

    def close(self) -> None:
        self._session.close()

    def _fetch_once(self, path: str, to: Path) -> int | None:
        with self._answer("GET", path, None) as answer:
            if answer.status_code == 404:
                return None
            _require(answer)
            size = 0
            with to.open("wb") as file:
                for piece in answer.iter_content(CHUNK_BYTES):
                    size += file.write(piece)
            return size

    def _put_once(self, path: str, data: bytes) -> None:
        with self._answer("PUT", path, data) as answer:
            _require(answer)

    @contextmanager
    def _answer(self, method: str, path: str, data: bytes | None) -> Iterator[requests.Response]:
        """Errors of the network as ours, also those that come while the answer is read."""
        try:
            with self._session.request(
                method, self._url + path, data=data, timeout=TIMEOUTS_S, stream=True, allow_redirects=False
            ) as answer:
                yield answer
        except requests.RequestException as error:
            raise PeerUnreachable(f"the intake host does not answer: {type(error).__name__}") from None

    def _with_retries(self, attempt: Callable[[], T]) -> T:
        for pause_s in self._pauses_s:
            try:
                return attempt()
            except ShareRefused:
                raise
            except PeerUnreachable:
                time.sleep(pause_s)
        return attempt()


def _require(answer: requests.Response) -> None:
    if answer.status_code in (200, 204):
        return
    if answer.status_code == 401:
        raise ShareRefused("the intake host refuses our token; spool.share_token must be the same on both machines")
    if answer.status_code in _RETRYABLE:
        raise PeerUnreachable(f"the intake host answers {answer.status_code}")
    raise ShareRefused(f"the intake host refuses a request with status {answer.status_code}")
