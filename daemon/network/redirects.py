"""Redirects of peers: a request that changes something goes to exactly one address, a question to one origin at most.

A redirect turns a POST into a GET (301, 302, 303), leads to a login page, or to a host that nobody configured. So it is
never followed for a request that changes something, and for a question only within the origin that was configured.
"""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import requests

from daemon.network.answer_limits import AnswerLimits, LimitedAdapter
from pipeline.errors import PeerUnreachable

QUESTIONS = ("GET", "HEAD", "OPTIONS")
MAX_SHOWN = 200
DEFAULT_LIMITS = AnswerLimits()


class Redirected(PeerUnreachable):
    """The peer sends us elsewhere with a request that must not be sent elsewhere."""

    code = "redirected"


class CarefulSession(requests.Session):  # type: ignore[misc]
    """Raises Redirected instead of following a redirect that could change what a request does, or who answers it.

    Args:
        name: how the peer is called in messages.
        setting: the setting that holds its address.
        paths: whether a message may have the target's path; not where that may identify a patient.
        limits: what an answer may cost; an answer beyond that raises AnswerTooLarge or AnswerTooSlow.
    """

    def __init__(self, name: str, setting: str, *, paths: bool = True, limits: AnswerLimits = DEFAULT_LIMITS) -> None:
        super().__init__()
        for scheme in ("http://", "https://"):
            self.mount(scheme, LimitedAdapter(name, limits))
        self._name, self._setting, self._paths = name, setting, paths
        # Proxies and .netrc of whoever started us are none of a hospital network's business.
        self.trust_env = False

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """requests asks here for every redirect, followed or not."""
        target = super().get_redirect_target(resp)
        if target is None:
            return None
        try:
            target = str(urljoin(resp.url, target))
        except ValueError:  # such an address is shown as what it is, and leads nowhere
            target = ""
        if target and resp.request.method in QUESTIONS and origin(target) == origin(resp.url):
            return target
        resp.close()
        raise Redirected(
            f"{self._name} redirects a {resp.request.method} with HTTP status {resp.status_code} to "
            f"{shown(target, path=self._paths)}; "
            f"it was not followed. Set {self._setting} to the address that takes requests itself"
        )


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port (RFC 6454)."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ("", url, None)
    return parts.scheme.lower(), (parts.hostname or "").lower(), port or {"http": 80, "https": 443}.get(parts.scheme)


def shown(url: str, *, path: bool = True) -> str:
    """A URL as a person may see it: without user, query and fragment, which may hold secrets or identifiers."""
    scheme, host, port = origin(url)
    if not scheme or not host:
        return "an address that is none"
    rest = urlsplit(url).path if path else ""
    place = f"{scheme}://{host}" + ("" if port in (None, 80, 443) else f":{port}")
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in f"{place}{rest}")[:MAX_SHOWN]
