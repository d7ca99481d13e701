"""The open connections of an endpoint: who is let in, who has to go when there are too many, what time is left to each.

Everything here runs in the endpoint's event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address

from daemon.serving.limits import HttpLimits


class Connection:
    """One connection. `trusted`: its last request showed a right token; `active`: requests that are being answered."""

    def __init__(self, sock: socket.socket, address: str, limits: HttpLimits, loop: asyncio.AbstractEventLoop) -> None:
        self.address = address
        self.trusted = False
        self.active = 0
        self.transport: asyncio.Transport | None = None
        self.timed_out: Callable[[], None] = self.cut
        self._socket = sock
        self._limits = limits
        self._loop = loop
        self._is_idle = False
        self._is_cut = False
        self._timer: asyncio.TimerHandle | None = None
        self.used_at = loop.time()
        self._deadline: float | None = self.used_at + limits.header_s
        self._watch()

    def bytes_come(self) -> None:
        """The first bytes of a further request begin its header."""
        if self._is_idle and not self.active:
            self._is_idle = False
            self._set(self._limits.header_s)

    def request_begins(self) -> None:
        self.active += 1
        self._is_idle = False
        self._set(None)

    def request_ends(self) -> None:
        self.active -= 1
        if not self.active:
            self._is_idle = True
            self.used_at = self._loop.time()
            self._set(self._limits.idle_s)

    def body_moves(self, since: float, moved: int) -> None:
        """`moved` bytes of a body that began at `since` have come or gone; more must follow in time."""
        limits = self._limits
        self._set(since + limits.grace_s + moved / limits.least_bytes_per_s - self._loop.time())

    def we_work(self) -> None:
        """Nothing is expected of the other side."""
        self._set(None)

    def cut(self) -> None:
        """End it at once, in whatever state it is; also in the middle of a TLS handshake."""
        self._is_cut = True
        if self.transport is not None:
            self.transport.abort()
            return
        with contextlib.suppress(OSError):  # it may have gone already
            self._socket.shutdown(socket.SHUT_RDWR)

    @property
    def has_gone(self) -> bool:
        return self._is_cut

    def closed(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _set(self, seconds: float | None) -> None:
        self._deadline = None if seconds is None else self._loop.time() + seconds
        if self._timer is None or (self._deadline is not None and self._deadline < self._timer.when()):
            self._watch()

    def _watch(self) -> None:
        """One timer a connection: it looks whether the deadline was moved meanwhile."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._deadline is not None:
            self._timer = self._loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._watch()
        else:
            self._deadline = None
            self.timed_out()


class Connections:
    """Those that are open. A newcomer may take the place of one that showed no token, or of one at rest."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._open: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._open)

    def listed(self, address: str) -> bool:
        """Whether the networks allow an address."""
        ip = ip_address(address)
        return not self._limits.networks or any(ip in network for network in self._limits.networks)

    def make_room(self, address: str) -> bool:
        """Whether there is a place for one more from this address, if need be another's."""
        own = [c for c in self._open if c.address == address]
        if len(own) >= self._limits.connections_per_address:
            return self._cut_one(own)
        if len(self._open) >= self._limits.connections:
            return self.give_up_one()
        return True

    def give_up_one(self) -> bool:
        """End one of the address that has the most; whether there was one that could go."""
        movable = [c for c in self._open if self._may_go(c)]
        if not movable:
            return False
        most, _ = Counter(c.address for c in movable).most_common(1)[0]
        return self._cut_one([c for c in movable if c.address == most])

    def add(self, connection: Connection) -> None:
        self._open.add(connection)

    def remove(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.closed()

    def cut_all(self) -> None:
        for connection in tuple(self._open):
            connection.cut()

    def _cut_one(self, of: list[Connection]) -> bool:
        """First those without a token and without a request, the oldest first."""
        movable = [c for c in of if self._may_go(c)]
        if not movable:
            return False
        victim = min(movable, key=lambda c: (c.trusted, c.active, c.used_at))
        self._open.discard(victim)
        victim.cut()
        return True

    @staticmethod
    def _may_go(connection: Connection) -> bool:
        return not (connection.trusted and connection.active)


def address_of(peer: object) -> str:
    """The IP address in what `accept` tells: without its zone, and an IPv4 address as itself."""
    text = str(peer[0]) if isinstance(peer, tuple) and peer else "0.0.0.0"
    ip = ip_address(text.partition("%")[0])
    return str(getattr(ip, "ipv4_mapped", None) or ip)
