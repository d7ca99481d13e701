"""Sessions: kept in this process alone, named by a random token of which only the digest is kept."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from daemon.console.rights import Role

# Together, and of one user; beyond that the one that rested longest ends.
MOST, MOST_OF_A_USER = 1000, 10


@dataclass(slots=True)
class Session:
    """Who is signed in. `generation`: of the user when it began; `csrf`: every form of it carries this.

    `notice`: what came of the last order, shown once. `local`: a user of the file, else of the identity provider.
    """

    user: str
    role: Role
    generation: str
    csrf: str = field(repr=False)
    began_at: float
    used_at: float
    language: str = "en"
    local: bool = True
    notice: tuple[bool, str] | None = None


class Sessions:
    """All that are open. `idle_s` without a request ends one, and `longest_s` in any case."""

    def __init__(self, idle_s: float, longest_s: float, clock: Callable[[], float]) -> None:
        self._idle_s, self._longest_s, self._clock = idle_s, longest_s, clock
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}

    def begin(
        self, user: str, role: Role, generation: str, language: str, *, local: bool = True
    ) -> tuple[str, Session]:
        """The token of a new session, which exists nowhere else, and the session."""
        token, now = secrets.token_urlsafe(32), self._clock()
        session = Session(user, role, generation, secrets.token_urlsafe(32), now, now, language, local)
        with self._lock:
            self._forget_over(now)
            self._make_room([d for d, s in self._open.items() if s.user == user], MOST_OF_A_USER)
            self._make_room(list(self._open), MOST)
            self._open[_digest(token)] = session
        return token, session

    def get(self, token: str) -> Session | None:
        """The session of a token, from now on used now; None where it has ended."""
        now = self._clock()
        with self._lock:
            session = self._open.get(_digest(token))
            if session is None:
                return None
            if self._is_over(session, now):
                del self._open[_digest(token)]
                return None
            session.used_at = now
            return session

    def end(self, token: str) -> None:
        with self._lock:
            self._open.pop(_digest(token), None)

    def end_session(self, session: Session) -> None:
        with self._lock:
            self._open = {digest: other for digest, other in self._open.items() if other is not session}

    def __len__(self) -> int:
        return len(self._open)

    def _is_over(self, session: Session, now: float) -> bool:
        return now - session.used_at >= self._idle_s or now - session.began_at >= self._longest_s

    def _forget_over(self, now: float) -> None:
        for digest in [d for d, s in self._open.items() if self._is_over(s, now)]:
            del self._open[digest]

    def _make_room(self, digests: list[str], most: int) -> None:
        for digest in sorted(digests, key=lambda d: self._open[d].used_at)[: max(0, len(digests) - most + 1)]:
            del self._open[digest]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
