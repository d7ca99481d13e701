"""The shared spool: who may read and write it, and whether that can be overheard."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from config.schema import Settings
from daemon.finding import Finding
from daemon.share.tokens import BOTH, read_tokens
from pipeline.errors import InputRejected


def examine(settings: Settings) -> Iterator[Finding]:
    """Nothing where the spool is not shared; else one line."""
    spool = settings.spool
    if spool.share_port is None:
        return
    try:
        both = any(token.scopes == BOTH for token in read_tokens(spool))
    except InputRejected as error:
        yield Finding(
            "share", "fail", error.message, "write one token a line into it, as `openssl rand -hex 32` makes them"
        )
        return
    where = f"the spool is shared at {spool.share_host}:{spool.share_port}"
    if spool.share_certificate is None and not _is_loopback(spool.share_host):
        where += " without TLS, so images and tokens can be read on the way"
    if both:
        text = f"{where}; one token both reads and writes it"
        yield Finding("share", "warn", text, "set spool.share_read_token_file and spool.share_write_token_file instead")
    else:
        level_ok = spool.share_certificate is not None or _is_loopback(spool.share_host)
        remedy = "" if level_ok else "set spool.share_certificate and spool.share_key"
        yield Finding("share", "ok" if level_ok else "warn", f"{where}; one token reads, another writes", remedy)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
