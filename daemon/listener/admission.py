"""Who may send, and when: AE titles and networks, room on the disk, TLS."""

from __future__ import annotations

import ssl
import time
from ipaddress import ip_address, ip_network

import structlog

from config.schema import Listen, Peer, Settings, Spool
from daemon.machine import disk_space
from daemon.network.health_title import HEALTH_AE_TITLE

log = structlog.get_logger("axrad.listener")
# Refused at the lower watermark, taken in again from this much above it: not instance by instance in turns.
RESUME_FACTOR = 1.05
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


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


def may_send(address: str, calling_ae: str, peers: tuple[Peer, ...]) -> bool:
    """Whether this AE title may come from this address. No peers listed: any AE title, this machine only."""
    if not peers:
        return _is_loopback(address)
    return any(peer.ae_title.strip() == calling_ae and _network_allows(address, peer) for peer in peers)


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


def tls_context(listen: Listen) -> ssl.SSLContext | None:
    """TLS 1.2 or newer; with a client CA, only senders that show a certificate of it (BCP 195 as PS3.15 B.9 says)."""
    if listen.tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(listen.tls_certificate, listen.tls_key)
    if listen.tls_client_ca is not None:
        context.load_verify_locations(listen.tls_client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_tls_context(listen: Listen) -> ssl.SSLContext:
    """For associations that we open: our certificate shown, the peer's checked against the same CA or the system's."""
    ca = str(listen.tls_client_ca) if listen.tls_client_ca else None
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if listen.tls_certificate is not None:
        context.load_cert_chain(listen.tls_certificate, listen.tls_key)
    return context
