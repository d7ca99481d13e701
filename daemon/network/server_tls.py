"""TLS of what others connect to: its context, read again when a file of it changes, and the names in certificates."""

from __future__ import annotations

import hashlib
import ssl
import threading
import time
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any  # Any: what `getpeercert` gives

import structlog

from config.schema import Console, Listen, Spool
from daemon.network.file_state import file_state
from daemon.network.tls_profile import apply_profile, check_revocation

log = structlog.get_logger("axrad.tls")
# How often it is asked whether a file has changed.
LOOK_EVERY_S = 1.0
# The reason in log, metrics and audit trail; more stands beside it.
TLS_HANDSHAKE = "tls-handshake"
SHA256 = "sha256:"
# Kinds of subject alternative names that are compared; the other kinds do not name a node.
ALTERNATIVE_NAMES = ("DNS", "IP Address", "URI")


@dataclass(frozen=True, slots=True)
class ShownCertificate:
    """Names in a certificate that was shown and verified, and its SHA-256. Without one, nothing."""

    names: frozenset[str] = frozenset()
    sha256: str = ""

    def is_one_of(self, listed: tuple[str, ...]) -> bool:
        """Whether one of the names or digests that a `[[peer]]` lists is this certificate's."""
        return any(
            entry == SHA256 + self.sha256 if entry.startswith(SHA256) else _comparable(entry) in self.names
            for entry in listed
        )


NO_CERTIFICATE = ShownCertificate()


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Certificate and key of an endpoint of ours, whose certificates it asks for, and which of those are revoked."""

    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    crl: Path | None = None

    @property
    def named(self) -> list[Path]:
        return [path for path in (self.certificate, self.key, self.client_ca, self.crl) if path is not None]


def listener_files(listen: Listen) -> TlsFiles:
    return TlsFiles(listen.tls_certificate, listen.tls_key, listen.tls_client_ca, listen.tls_crl)


def share_files(spool: Spool) -> TlsFiles:
    return TlsFiles(spool.share_certificate, spool.share_key, spool.share_client_ca, spool.share_crl)


def console_files(console: Console) -> TlsFiles:
    return TlsFiles(console.certificate, console.key)


def shown_by(connection: ssl.SSLSocket | ssl.SSLObject) -> ShownCertificate:
    """What the other side of a connection showed. Names count only where it was verified, as Python sees to."""
    raw = connection.getpeercert(binary_form=True)
    if not raw:
        return NO_CERTIFICATE
    return ShownCertificate(names_of(connection.getpeercert() or {}), hashlib.sha256(raw).hexdigest())


def names_of(certificate: dict[str, Any]) -> frozenset[str]:
    """Subject alternative names; the common name only where there is none of them (RFC 6125 6.4.4)."""
    alternative = [value for kind, value in certificate.get("subjectAltName", ()) if kind in ALTERNATIVE_NAMES]
    common = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    return frozenset(_comparable(name) for name in alternative or common)


def _comparable(name: str) -> str:
    """Names of hosts without regard to case and to the dot at their end, addresses in their shortest form."""
    try:
        return str(ip_address(name.strip()))
    except ValueError:
        return name.rstrip(".").casefold()


def server_context(files: TlsFiles) -> ssl.SSLContext | None:
    """For connections to us; with a client CA, only those that show a certificate of it. None: no TLS.

    Raises OSError or ValueError where a file cannot be used.
    """
    if files.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    apply_profile(context)
    context.load_cert_chain(files.certificate, files.key)
    if files.client_ca is not None:
        context.load_verify_locations(files.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    check_revocation(context, files.crl)
    return context


def client_context(listen: Listen) -> ssl.SSLContext:
    """For associations that we open: our certificate shown, the peer's checked against the same CA or the system's."""
    ca = str(listen.tls_client_ca) if listen.tls_client_ca else None
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    apply_profile(context)
    if listen.tls_certificate is not None:
        context.load_cert_chain(listen.tls_certificate, listen.tls_key)
    check_revocation(context, listen.tls_crl)
    return context


def handshake_failure(error: ssl.SSLError) -> str:
    """Why a handshake failed, in OpenSSL's words, which quote nothing that was sent."""
    detail = getattr(error, "verify_message", "")
    reason = (error.reason or type(error).__name__).replace("_", " ").lower()
    return f"{reason} ({detail})" if detail else reason


class CurrentTls:
    """An endpoint's context, made anew when certificate, key, authority or revocation list has changed on the disk.

    Files that cannot be used, a certificate whose key has not come yet for one, leave the context as it was; they are
    looked at again until they can.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._looked_at = time.monotonic()
        self._read = self._failed = self._on_disk()
        self._context = server_context(files)

    @property
    def enabled(self) -> bool:
        return self._context is not None

    def context(self) -> ssl.SSLContext | None:
        with self._lock:
            now = time.monotonic()
            if self._context is not None and now - self._looked_at >= LOOK_EVERY_S:
                self._looked_at = now
                self._read_changes()
            return self._context

    def _read_changes(self) -> None:
        on_disk = self._on_disk()
        if on_disk == self._read:
            return
        try:
            self._context = server_context(self._files)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            if on_disk != self._failed:
                self._failed = on_disk
                reason = getattr(error, "reason", None) or type(error).__name__
                log.error("new TLS files cannot be used", reason=reason, action="the ones before stay in use")
            return
        self._read = on_disk
        log.info("TLS files read again")

    def _on_disk(self) -> list[tuple[int, int, int] | None]:
        return [file_state(path) for path in self._files.named]
