"""Signatures: their cards and evaluations, which are in use, and putting them into use."""

from __future__ import annotations

from starlette.responses import Response

from config.schema import Settings
from daemon.console.order_pages import carried_out
from daemon.console.visit import Visit
from pipeline.errors import InputRejected
from pipeline.signature import card, model_card
from pipeline.signature.registry import Entry, Registry


def _registry(settings: Settings) -> Registry | None:
    folder = settings.signature.registry
    return None if folder is None or not folder.is_dir() else Registry(folder, settings.signature.minimum_per_class)


def signatures(visit: Visit) -> Response:
    """The registry's signatures: active ones in the order in which they are asked, then the others."""
    registry = _registry(visit.settings)
    visit.viewed("signatures")
    entries = [] if registry is None else registry.entries()
    return visit.render("signatures.html", section="signatures", entries=entries, registry=registry is not None)


def signature(visit: Visit) -> Response:
    """The card of a signature, with what its evaluations say, and its state."""
    registry, entry = _entry(visit)
    text = model_card.markdown(entry.signature, card.merge(registry.evaluations(entry.signature.sha256)))
    visit.viewed("signatures")
    return visit.render("signature.html", section="signatures", entry=entry, card=text)


def _entry(visit: Visit) -> tuple[Registry, Entry]:
    registry = _registry(visit.settings)
    wanted = visit.named["digest"]
    entries = () if registry is None else registry.entries()
    entry = next((e for e in entries if e.signature.sha256 == wanted), None)
    if registry is None or entry is None:
        raise InputRejected("the registry has no such signature", code="no-such-signature")
    return registry, entry


USES = {"active": [], "shadow": ["--shadow"], "off": ["--off"]}


def ask_activate(visit: Visit) -> Response:
    _, entry = _entry(visit)
    use = visit.query.get("use", "active")
    if use not in USES:
        raise InputRejected("a signature is active, a shadow, or off", code="no-such-use")
    visit.viewed("signatures")
    return visit.render("activate.html", section="signatures", entry=entry, use=use)


def activate(visit: Visit) -> Response:
    """Make a signature active or a shadow, or take it out of use, by `axrad signature activate`."""
    _, entry = _entry(visit)
    use = USES.get(visit.form.get("use", ""))
    if use is None:
        raise InputRejected("a signature is active, a shadow, or off", code="no-such-use")
    digest = entry.signature.sha256
    return carried_out(visit, "activate", ["signature", "activate", digest, *use], f"/signatures/{digest}")
