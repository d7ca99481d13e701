"""Who may send, and which peers have no `may` yet."""

from __future__ import annotations

from collections.abc import Iterator

from config.schema import Peer, Settings
from daemon.finding import Finding
from daemon.network.health_title import HEALTH_AE_TITLE
from daemon.network.peer_rights import rights_of


def examine(settings: Settings) -> Iterator[Finding]:
    """One line for all peers, and one for each whose rights nobody has said."""
    if not settings.peer:
        yield Finding("peers", "ok", "no [[peer]] is listed: only this machine may send")
        return
    yield Finding("peers", "ok", f"{len(settings.peer)} may send: {', '.join(p.ae_title for p in settings.peer)}")
    for peer in settings.peer:
        # Of this title the listener takes the health check's own object alone, whatever is listed.
        if peer.may is None and peer.ae_title != HEALTH_AE_TITLE:
            yield _without_may(peer)


def _without_may(peer: Peer) -> Finding:
    words = ", ".join(f'"{right}"' for right in rights_of(peer))
    limits = f", networks {', '.join(map(str, peer.networks))}" if peer.networks else ""
    return Finding(
        "peers",
        "warn",
        f"{peer.ae_title}{limits} has no `may`, so it keeps {', '.join(rights_of(peer))}",
        f"add `may = [{words}]` to its [[peer]], or fewer",
        peer.ae_title,
    )
