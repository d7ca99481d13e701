"""Whose word on storage commitment is believed: the destination that was asked, or who is named for it."""

from __future__ import annotations

import socket
import time
from functools import lru_cache
from ipaddress import ip_address

from config.schema import Destination, Settings
from daemon.export.association import address_of

# A name of a host is asked for once a minute at most.
ASKED_S = 60.0


def believed_for(settings: Settings, calling_ae: str, address: str) -> frozenset[str]:
    """Names of the destinations on which a report by this AE title from this address is believed."""
    return frozenset(d.name for d in settings.destination if _believed(d, settings, calling_ae.strip(), address))


def _believed(destination: Destination, settings: Settings, calling_ae: str, address: str) -> bool:
    at = address_of(destination, settings)
    titles = destination.report_from or (at.ae_title,)
    if calling_ae and calling_ae in (title.strip() for title in titles):
        return True
    return any(_same_host(host, address) for host in destination.report_from or (at.host,))


def _same_host(host: str, address: str) -> bool:
    plain = _plain(address)
    return plain is not None and (_plain(host) == plain or plain in _resolved(host, int(time.monotonic() / ASKED_S)))


def _plain(text: str) -> str | None:
    """An IP address in its shortest form, IPv4 through IPv6 as itself; None where it is none."""
    try:
        ip = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return str(getattr(ip, "ipv4_mapped", None) or ip)


@lru_cache(maxsize=256)
def _resolved(host: str, _minute: int) -> frozenset[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    return frozenset(p for entry in found if (p := _plain(str(entry[4][0]))) is not None)
