"""Audit messages to a syslog server: RFC 5424 to a local socket, over UDP, TCP, or TLS (RFC 5425)."""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import urlsplit

from config.schema import Audit
from daemon.network.tls_profile import apply_profile

# Facility 10 (security), severity 5 (notice) or 4 (warning), by outcome.
PRIORITY = {0: 85, 4: 84, 8: 84}
SYSLOG_TIMEOUT_S = 2.0


def rfc5424(line: str, outcome: int) -> bytes:
    """A syslog message (RFC 5424) with the JSON as its text."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = f"<{PRIORITY[outcome]}>1 {now} {socket.gethostname()} axrad {os.getpid()} AUDIT - "
    return head.encode("ascii", "replace") + b"\xef\xbb\xbf" + line.encode()


def send(settings: Audit, message: bytes) -> None:
    """To the server of the settings. A local socket takes datagrams; over TCP and TLS the length precedes each message.

    Raises OSError (ssl.SSLError among them): it was not sent.
    """
    where = settings.syslog
    assert where is not None
    if where.startswith("/"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix:
            unix.settimeout(SYSLOG_TIMEOUT_S)
            unix.sendto(message, where)
        return
    url = urlsplit(where)
    assert url.hostname is not None  # the schema sees to it
    assert url.port is not None
    if url.scheme in ("tcp", "tls"):
        with socket.create_connection((url.hostname, url.port), timeout=SYSLOG_TIMEOUT_S) as tcp:
            framed = f"{len(message)} ".encode() + message
            if url.scheme == "tcp":
                tcp.sendall(framed)
                return
            with context_of(settings).wrap_socket(tcp, server_hostname=url.hostname) as tls:
                tls.sendall(framed)
                # Many servers answer our end with that of the connection alone: they have read to it. A reset, or
                # nothing within the time, leaves open whether they have.
                with suppress(ssl.SSLEOFError):
                    tls.unwrap()
        return
    family, _, _, _, address = socket.getaddrinfo(url.hostname, url.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.sendto(message, address)


def context_of(settings: Audit) -> ssl.SSLContext:
    """TLS as BCP 195 wants it; the server's name and certificate are checked, ours is shown where there is one."""
    context = ssl.create_default_context(cafile=settings.syslog_ca)
    apply_profile(context)
    if settings.syslog_certificate is not None:
        context.load_cert_chain(settings.syslog_certificate, settings.syslog_key)
    return context
