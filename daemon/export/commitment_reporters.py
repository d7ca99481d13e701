"""Whose reports on storage commitment count: those of the destination itself, or of the peers in `report_from`."""

from __future__ import annotations

import socket
import time
from functools import lru_cache
from ipaddress import ip_address

from config.schema import Destination, Settings
from daemon.export.association import address_of

# A host's name is resolved at most once in this time.
RESOLVE_EVERY_S = 60.0


def destinations_believing(settings: Settings, calling_ae: str, address: str) -> frozenset[str]:
    """Names of the destinations on which a report of this AE title, from this address, counts."""
    return frozenset(d.name for d in settings.destination if _believes(d, settings, calling_ae.strip(), address))


def _believes(destination: Destination, settings: Settings, calling_ae: str, address: str) -> bool:
    destination_address = address_of(destination, settings)
    titles = destination.report_from or (destination_address.ae_title,)
    if calling_ae and calling_ae in (title.strip() for title in titles):
        return True
    return any(_same_host(host, address) for host in destination.report_from or (destination_address.host,))


def _same_host(host: str, address: str) -> bool:
    normalised = _normalised(address)
    return normalised is not None and (
        _normalised(host) == normalised or normalised in _resolved(host, int(time.monotonic() / RESOLVE_EVERY_S))
    )


def _normalised(text: str) -> str | None:
    """An IP address in its shortest form, IPv4 through IPv6 as itself; None where it is none."""
    try:
        ip = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return str(getattr(ip, "ipv4_mapped", None) or ip)


@lru_cache(maxsize=256)
def _resolved(host: str, _period: int) -> frozenset[str]:
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    return frozenset(p for entry in entries if (p := _normalised(str(entry[4][0]))) is not None)
