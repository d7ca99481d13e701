"""TLS as DICOM's Non-Downgrading BCP 195 profile wants it (PS3.15 B.12, RFC 9325), for connections in and out."""

from __future__ import annotations

import ssl
from pathlib import Path

# Of TLS 1.2: ephemeral keys, so that a stolen key opens no recorded traffic, and authenticated encryption.
# TLS 1.3 has nothing else.
TLS_1_2_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aNULL:!eNULL:!aDSS:!PSK:!SRP"


def accept_older_authorities(context: ssl.SSLContext) -> None:
    """Judge certificates alike on every Python.

    Python 3.13 sets VERIFY_X509_STRICT by default: it refuses an authority's certificate without a KeyUsage extension
    (RFC 5280, 4.2.1.3), which many hospitals' own authorities lack. Signature, dates, name and chain stay checked.
    """
    context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT


def apply_profile(context: ssl.SSLContext) -> None:
    accept_older_authorities(context)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(TLS_1_2_CIPHERS)
    # No compression, and no renegotiation at the other side's wish.
    context.options |= ssl.OP_NO_COMPRESSION | getattr(ssl, "OP_NO_RENEGOTIATION", 0)


def check_revocation(context: ssl.SSLContext, revoked: Path | None) -> None:
    """Refuse certificates on a revocation list (PEM); also every one whose authority has none there, or a late one."""
    if revoked is not None:
        context.load_verify_locations(revoked)
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
