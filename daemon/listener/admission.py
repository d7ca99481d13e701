"""Who may send, and when: AE titles, networks and certificates, room on the disk."""

from __future__ import annotations

import time
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

import structlog

from config.schema import Peer, Settings, Spool
from daemon.listener import statuses
from daemon.listener.statuses import Rejection
from daemon.machine import disk_space
from daemon.network.health_title import HEALTH_AE_TITLE
from daemon.network.peer_rights import ECHO, EVERYTHING, STORE, Rights, rights_together
from daemon.network.server_tls import NO_CERTIFICATE, ShownCertificate

log = structlog.get_logger("axrad.listener")
# Refused at the lower watermark, taken in again from this much above it: not instance by instance in turns.
RESUME_FACTOR = 1.05
# Of the health check; of storing, its own object alone (see `own_probe`).
HEALTH_RIGHTS = Rights(frozenset((ECHO, STORE)))
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for an association, by its own word, its address, and the certificate it showed."""

    address: str
    calling_ae: str
    called_ae: str = ""
    certificate: ShownCertificate = NO_CERTIFICATE


class DiskGauge:
    """Free bytes and inodes against the two watermarks; asked of the file system once a second at most."""

    def __init__(self, settings: Spool) -> None:
        self._settings = settings
        bytes_, inodes = settings.refuse_free_bytes * RESUME_FACTOR, settings.refuse_free_inodes * RESUME_FACTOR
        self._resume_limits = settings.model_copy(
            update={"refuse_free_bytes": int(bytes_), "refuse_free_inodes": int(inodes)}
        )
        self._checked_at = float("-inf")
        self._warned_at = float("-inf")
        self._refusing = False

    def refuses(self) -> bool:
        """Below the lower watermark nothing more is taken in, until a little more than it is free again.

        Below the upper one a warning is logged, hourly. A spool that cannot be asked takes nothing in either.
        """
        now = time.monotonic()
        if now - self._checked_at >= 1.0:
            self._checked_at = now
            try:
                room = disk_space.room(self._settings.path)
            except OSError as error:
                self._refusing = True
                self._warn(now, "the spool is not there", errno=error.errno)
                return True
            level = disk_space.level_of(room, self._settings)
            too_short = disk_space.level_of(room, self._resume_limits) == "fail"
            self._refusing = level == "fail" or (self._refusing and too_short)
            if level != "ok":
                self._warn(now, "disk space is low", free_bytes=room.free_bytes, free_inodes=room.free_inodes)
        return self._refusing

    def _warn(self, now: float, message: str, **details: object) -> None:
        if now - self._warned_at >= 3600.0:
            self._warned_at = now
            log.warning(message, **details)


def with_health_probe(settings: Settings) -> Settings:
    """Where peers are listed, the probe of our own health may come as well, from this machine."""
    if not settings.peer:
        return settings
    probe = Peer(ae_title=HEALTH_AE_TITLE, networks=LOOPBACK)
    return settings.model_copy(update={"peer": (*settings.peer, probe)})


def may_connect(address: str, peers: tuple[Peer, ...]) -> bool:
    """Whether any peer may come from this address."""
    return any(_network_allows(address, peer) for peer in peers) if peers else _is_loopback(address)


def admit(caller: Caller, peers: tuple[Peer, ...]) -> Rights | Rejection:
    """What a caller may do, or why it is not let in. No peers listed: everything, for this machine only."""
    if not peers and not _is_loopback(caller.address):
        return statuses.UNKNOWN_PEER
    if caller.calling_ae == HEALTH_AE_TITLE and (not peers or _listed(caller, peers)):
        return HEALTH_RIGHTS
    if not peers:
        return EVERYTHING
    listed = _listed(caller, peers)
    if not listed:
        return statuses.UNKNOWN_PEER
    owners = frozenset(p.ae_title for p in peers if caller.certificate.is_one_of(p.certificates))
    proven = [p for p in listed if _certificate_fits(caller, p, owners)]
    if not proven:
        return statuses.NOT_ITS_CERTIFICATE
    called = [p for p in proven if p.called_ae in (None, caller.called_ae)]
    return rights_together(called) if called else statuses.OTHER_CALLED_TITLE


def _listed(caller: Caller, peers: tuple[Peer, ...]) -> list[Peer]:
    return [p for p in peers if p.ae_title.strip() == caller.calling_ae and _network_allows(caller.address, p)]


def _certificate_fits(caller: Caller, peer: Peer, owners: frozenset[str]) -> bool:
    """Whether the caller showed a certificate of this peer; of a peer without one, that it is not somebody else's."""
    if peer.certificates:
        return caller.certificate.is_one_of(peer.certificates)
    return not owners or peer.ae_title in owners


def _network_allows(address: str, peer: Peer) -> bool:
    """A peer without networks may come from anywhere."""
    ip = ip_address(_normalised(address))
    return not peer.networks or any(ip in network for network in peer.networks)


def _is_loopback(address: str) -> bool:
    return ip_address(_normalised(address)).is_loopback


def _normalised(address: str) -> str:
    """Without the zone, and an IPv4 address that came through an IPv6 socket as itself."""
    ip = ip_address(address.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    return str(mapped or ip)
