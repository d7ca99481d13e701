"""What keeps a browser from being turned against the console: headers, cookies, where a request came from."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, Literal

from starlette.datastructures import Headers
from starlette.responses import Response

from config.schema import Console

# No script at all, and nothing from elsewhere. Forms go to this server alone.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
STRICT_TRANSPORT: Final = "max-age=31536000"
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
Networks = Sequence[IPv4Network | IPv6Network]


def secured(response: Response, scheme: str) -> Response:
    """The response with every header that all pages have."""
    response.headers.update(HEADERS)
    if scheme == "https":
        response.headers["Strict-Transport-Security"] = STRICT_TRANSPORT
    return response


def host_names(console: Console) -> frozenset[str]:
    """Names that a request may be for: those that are allowed, and this machine's own where nobody else connects."""
    own = LOOPBACK_NAMES if console.host in LOOPBACK_NAMES else frozenset()
    return own | {name.lower() for name in console.allowed_hosts}


def cookie_name(scheme: str, kind: str = "session") -> str:
    """With HTTPS a name that browsers bind to this host and to HTTPS (RFC 6265bis 4.1.3.2).

    On this machine alone there may be no TLS, and not every browser takes a `Secure` cookie there: then without prefix.
    """
    return f"__Host-axrad-{kind}" if scheme == "https" else f"axrad-{kind}"


def set_cookie(
    response: Response,
    scheme: str,
    value: str,
    kind: str = "session",
    same_site: Literal["strict", "lax"] = "strict",
) -> None:
    response.set_cookie(
        cookie_name(scheme, kind), value, path="/", secure=scheme == "https", httponly=True, samesite=same_site
    )


def delete_cookie(response: Response, scheme: str, kind: str = "session") -> None:
    response.delete_cookie(
        cookie_name(scheme, kind), path="/", secure=scheme == "https", httponly=True, samesite="strict"
    )


def is_trusted(address: str, proxies: Networks) -> bool:
    ip = ip_address(address)
    return any(ip in network for network in proxies)


def scheme_of(headers: Headers, peer: str, proxies: Networks, of_connection: str) -> str:
    """How the browser reached us: over our own TLS, or a trusted proxy's."""
    if of_connection == "https":
        return "https"
    forwarded = _listed(headers, "x-forwarded-proto")
    return "https" if forwarded[-1:] == ["https"] and is_trusted(peer, proxies) else "http"


def client_of(headers: Headers, peer: str, proxies: Networks) -> str:
    """The address that the browser has: of what trusted proxies name, the last that is no such proxy."""
    address = peer
    named = _listed(headers, "x-forwarded-for")
    while named and is_trusted(address, proxies):
        try:
            address = str(ip_address(named.pop()))
        except ValueError:
            break
    return address


def _listed(headers: Headers, name: str) -> list[str]:
    """The values of a header in the order in which they were added. A proxy may add a line of its own below the one
    that a browser has made up.
    """
    return [part.strip().lower() for line in headers.getlist(name) for part in line.split(",") if part.strip()]


def is_same_origin(headers: Headers, scheme: str) -> bool:
    """Whether a form was sent by a page of ours, as the browser says (Origin, Fetch Metadata)."""
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = headers.get("origin")
    return origin is None or origin.lower() == f"{scheme}://{headers.get('host', '').lower()}"


def before_sign_in(secret: bytes, nonce: str) -> str:
    """The token in the form to sign in, for which there is no session yet: the cookie's nonce under our key."""
    return hmac.new(secret, nonce.encode(), hashlib.sha256).hexdigest()


def equal(one: str, other: str) -> bool:
    """Compared in a time that does not depend on where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())
