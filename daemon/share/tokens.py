"""Who may do what with the shared spool: tokens from the environment and from files, read again when these change."""

from __future__ import annotations

import hmac
import re
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from config.schema import Spool
from daemon.network.file_state import file_state
from daemon.share.names import READ, WRITE
from pipeline.errors import InputRejected

log = structlog.get_logger("axrad.share")
BOTH = frozenset((READ, WRITE))
_TOKEN = re.compile(r"[\x21-\x7e]{16,}\Z")
# A file of tokens is no larger.
MAX_TOKEN_FILE_BYTES = 64 * 1024
LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    scopes: frozenset[str]

    def __repr__(self) -> str:
        return f"Token({sorted(self.scopes)})"


def tokens_in(path: Path) -> list[str]:
    """One a line; empty lines and comments (#) are passed over. Raises InputRejected, which quotes nothing."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_TOKEN_FILE_BYTES + 1).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise InputRejected(f"the tokens in {path} cannot be read ({type(error).__name__})", code="bad-token") from None
    lines = [line.strip() for line in text.splitlines()]
    tokens = [line for line in lines if line and not line.startswith("#")]
    if len(text) > MAX_TOKEN_FILE_BYTES or not tokens or not all(_TOKEN.match(token) for token in tokens):
        raise InputRejected(
            f"{path} must have one token a line, each of at least 16 characters without blanks", code="bad-token"
        )
    return tokens


def read_tokens(spool: Spool) -> list[Token]:
    """All that the settings name, what reads alone before what does both. Raises InputRejected."""
    files = (
        (spool.share_read_token_file, frozenset((READ,))),
        (spool.share_write_token_file, frozenset((WRITE,))),
    )
    tokens = [Token(text, scopes) for path, scopes in files if path is not None for text in tokens_in(path)]
    return [*tokens, *([Token(spool.share_token, BOTH)] if spool.share_token is not None else [])]


def scopes_of(authorization: str, tokens: Iterable[Token]) -> frozenset[str]:
    """What the token in a header may do; nothing with a wrong one. Takes the same time for each wrong one."""
    shown = authorization.encode("latin-1", "replace")
    scopes: frozenset[str] = frozenset()
    for token in tokens:
        right = hmac.compare_digest(shown, f"Bearer {token.text}".encode("ascii"))
        scopes = scopes | token.scopes if right else scopes
    return scopes


class CurrentTokens:
    """The tokens as they are now: a file that cannot be used leaves what was before, with an error in the log."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._lock = threading.Lock()
        self._looked_at = time.monotonic()
        self._state = self._on_disk()
        self._tokens = read_tokens(spool)

    def now(self) -> list[Token]:
        with self._lock:
            if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
                self._looked_at = time.monotonic()
                self._read_changes()
            return self._tokens

    def first(self, scope: str) -> str:
        """The token that a worker shows for a request."""
        return next(token.text for token in self.now() if scope in token.scopes)

    def _read_changes(self) -> None:
        on_disk = self._on_disk()
        if on_disk == self._state:
            return
        self._state = on_disk
        try:
            self._tokens = read_tokens(self._spool)
            log.info("share-tokens-read-again")
        except InputRejected as error:
            log.error("share-tokens-cannot-be-used", reason=error.message, action="the ones before stay in use")

    def _on_disk(self) -> list[tuple[int, int, int] | None]:
        spool = self._spool
        return [
            file_state(path) for path in (spool.share_read_token_file, spool.share_write_token_file) if path is not None
        ]
