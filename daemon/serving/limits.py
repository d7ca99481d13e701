"""What a connection to one of our HTTP endpoints may cost: how many there are, how long each step may take."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Times are totals, so that a byte now and then buys none.

    `header_s`: from the connection, or the first byte of a further request, to the end of its header; the TLS handshake
    is part of it. `idle_s`: between two requests. A body, of a request or an answer, has `grace_s`, and beyond that one
    second for each `least_bytes_per_s` that have come or gone.
    """

    connections: int = 256
    connections_per_address: int = 64
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    header_s: float = 10.0
    idle_s: float = 10.0
    grace_s: float = 30.0
    least_bytes_per_s: int = 16 * 1024
    max_header_bytes: int = 16 * 1024
    # Of an operating system's queue of connections that were not accepted yet.
    backlog: int = 128
