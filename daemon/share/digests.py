"""The digest that goes along with a result (Content-Digest, RFC 9530)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

DIGEST = re.compile(r"\s*sha-256=:([A-Za-z0-9+/=]{44}):\s*\Z")


class Incomplete(Exception):
    """Other bytes came than were announced."""


def content_digest(data: bytes) -> str:
    """The value of Content-Digest (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode('ascii')}:"


def announced_digest(header: str | None) -> bytes | None:
    """The SHA-256 that a Content-Digest announces; None without one. Raises Incomplete for one that cannot be read."""
    if header is None:
        return None
    value = DIGEST.match(header)
    try:
        if value is None:
            raise Incomplete
        return base64.b64decode(value.group(1), validate=True)
    except binascii.Error:
        raise Incomplete from None
