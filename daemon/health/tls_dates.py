"""How long certificates and revocation lists of our endpoints hold: past the end of any of them nobody gets in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from config.schema import Settings
from daemon.finding import Finding
from daemon.network.server_tls import TlsFiles, console_files, listener_files, share_files

# A new certificate takes some people some weeks. A list is renewed within days or hours by its authority.
SOON = timedelta(days=30)
LISTS = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)
FOREVER = datetime.max.replace(tzinfo=UTC)


def examine(settings: Settings, now: float) -> Iterator[Finding]:
    """One line for each file of `listen`, of the shared spool and of the console; `now`: seconds since 1970."""
    moment = datetime.fromtimestamp(now, UTC)
    yield from _of_endpoint(listener_files(settings.listen), "listen.tls_", moment)
    if settings.spool.share_port is not None:
        yield from _of_endpoint(share_files(settings.spool), "spool.share_", moment)
    yield from _of_endpoint(console_files(settings.console), "console.", moment)


def _of_endpoint(files: TlsFiles, prefix: str, now: datetime) -> Iterator[Finding]:
    if files.certificate is not None:
        yield _judged(f"{prefix}certificate", files.certificate, _end_of_certificate, now, SOON)
    if files.client_ca is not None:
        yield _judged(f"{prefix}client_ca", files.client_ca, _end_of_authorities, now, SOON)
    if files.crl is not None:
        yield _judged(f"{prefix}crl", files.crl, _end_of_lists, now, timedelta())


def _judged(key: str, path: Path, end_of: Callable[[bytes], datetime], now: datetime, soon: timedelta) -> Finding:
    try:
        end = end_of(path.read_bytes())
    except OSError as error:
        return Finding("tls", "fail", f"{path} cannot be read: {error.strerror}", "put the file there", key)
    except (ValueError, IndexError):
        return Finding("tls", "fail", f"{path} holds nothing of this kind in PEM", "put such a file there", key)
    if end == FOREVER:
        return Finding("tls", "ok", f"{path} has no end", subject=key)
    day = f"{end:%Y-%m-%d %H:%M} UTC"
    if end <= now:
        text = f"{path} held until {day}: who needs it is refused"
        return Finding("tls", "fail", text, "replace the file; no restart is needed", key)
    if end - now <= soon:
        return Finding("tls", "warn", f"{path} holds until {day}", "have it renewed; no restart is needed", key)
    return Finding("tls", "ok", f"{path} holds until {day}", subject=key)


def _end_of_certificate(pem: bytes) -> datetime:
    """Ours is the first; those that signed it may follow."""
    return x509.load_pem_x509_certificates(pem)[0].not_valid_after_utc


def _end_of_authorities(pem: bytes) -> datetime:
    """Beside a new authority the old one may stay."""
    return max(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(pem))


def _end_of_lists(pem: bytes) -> datetime:
    """A list that is late has all of its authority refused."""
    return min(x509.load_pem_x509_crl(one).next_update_utc or FOREVER for one in LISTS.findall(pem))
