"""Settings that are right one by one and do not go together. Only the settings are read, not the machine.

Every finding begins with the key that it is about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TypeVar
from urllib.parse import urlsplit

from config.schema import Console, Destination, Settings, Spool

T = TypeVar("T")
EVERYWHERE = ("", "0.0.0.0", "::")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
OIDC = ("oidc_issuer", "oidc_client_id", "oidc_client_secret")
THIS_MACHINE = (*LOOPBACK, *EVERYWHERE)


def disagreements(settings: Settings) -> Iterator[str]:
    yield from _ports(settings)
    yield from _peers(settings)
    yield from _limits(settings)
    yield from _secrets(settings)
    yield from _console(settings)
    for index, destination in enumerate(settings.destination):
        yield from _destination(f"destination.{index}", destination, settings)
        if "proposal" in destination.what and not settings.proposal.enabled:
            yield f'destination.{index}.what: "proposal" needs proposal.enabled = true; set it, or remove the entry'
    if settings.proposal.from_images != "off" and not settings.proposal.enabled:
        yield "proposal.from_images: nothing is proposed without proposal.enabled = true; set it, or leave the key out"
    if settings.signature.path is not None and settings.signature.registry is not None:
        yield "signature.path: signature.registry is set too; set one of the two"


def _ports(settings: Settings) -> Iterator[str]:
    """Ports of ours on one machine."""
    spool, metrics = settings.spool, settings.metrics
    ours = [("listen.port", settings.listen.host, settings.listen.port)]
    if spool.share_port is not None:
        ours.append(("spool.share_port", spool.share_host, spool.share_port))
    if metrics.enabled:
        ours.append(("metrics.port", metrics.host, metrics.port))
    ours.append(("console.port", settings.console.host, settings.console.port))
    ours.append(("flower.port", settings.flower.host, settings.flower.port))
    for number, (key, host, port) in enumerate(ours):
        for other, their_host, their_port in ours[:number]:
            if port and port == their_port and _meet(host, their_host):
                yield f"{key}: {port} is the port of {other} too; each needs one of its own"


def _meet(one: str, other: str) -> bool:
    same = {"localhost": "127.0.0.1"}
    return same.get(one, one) == same.get(other, other) or one in EVERYWHERE or other in EVERYWHERE


def _peers(settings: Settings) -> Iterator[str]:
    """One AE title may be listed for several networks."""
    for title in _twice([p.ae_title for p in settings.peer if not p.networks]):
        yield f"peer: {title} is listed twice without networks; give the networks of each, or list it once"
    pairs = [(p.ae_title, str(network)) for p in settings.peer for network in p.networks]
    for title, network in _twice(pairs):
        yield f"peer: {title} is listed twice for {network}; list it once"
    for index, peer in enumerate(settings.peer):
        if peer.feedback and peer.may is not None and "feedback" not in peer.may:
            yield f'peer.{index}.feedback: may does not list "feedback"; list it there, or remove this key'
        if peer.certificates and None in (settings.listen.tls_certificate, settings.listen.tls_client_ca):
            yield (
                f"peer.{index}.certificates: senders are asked for certificates only with listen.tls_certificate, "
                "tls_key and tls_client_ca; set these too"
            )


def _twice(items: list[T]) -> list[T]:
    return [item for item, number in Counter(items).items() if number > 1]


def _limits(settings: Settings) -> Iterator[str]:
    """Limits that contradict each other. A default is in nobody's way: it counts only where it decides what happens."""
    spool, keep, listen, align = settings.spool, settings.retention, settings.listen, settings.align
    if spool.warn_free_bytes < spool.refuse_free_bytes:
        yield _between("spool.warn_free_bytes", spool.warn_free_bytes, "spool.refuse_free_bytes", _refused(spool))
    if spool.warn_free_inodes < spool.refuse_free_inodes:
        words = f"({spool.refuse_free_inodes}), below which senders are refused"
        yield _between("spool.warn_free_inodes", spool.warn_free_inodes, "spool.refuse_free_inodes", words)
    if keep.keep_free_bytes is not None and keep.enabled and keep.keep_free_bytes < spool.refuse_free_bytes:
        yield _between("retention.keep_free_bytes", keep.keep_free_bytes, "spool.refuse_free_bytes", _refused(spool))
    if "at_least_days" in keep.model_fields_set and keep.at_least_days > keep.keep_days:
        yield (
            f"retention.at_least_days: {keep.at_least_days:g} is more than retention.keep_days ({keep.keep_days:g}); "
            "it is the shorter of the two"
        )
    if align.min_kept_volume > align.max_kept_volume:
        yield (
            f"align.min_kept_volume: {align.min_kept_volume:g} is more than align.max_kept_volume "
            f"({align.max_kept_volume:g})"
        )
    per_peer = listen.max_associations_per_peer
    if "max_associations_per_peer" in listen.model_fields_set and per_peer > listen.max_associations:
        yield (
            f"listen.max_associations_per_peer: {per_peer} is more than listen.max_associations "
            f"({listen.max_associations}), which all peers share"
        )
    wait = settings.assembly
    if "settle_s" in wait.model_fields_set and wait.settle_s > wait.quiet_s:
        yield (
            f"assembly.settle_s: {wait.settle_s:g} is more than assembly.quiet_s ({wait.quiet_s:g}); "
            "it is the shorter of the two"
        )


def _refused(spool: Spool) -> str:
    return f"({spool.refuse_free_bytes}), below which senders are refused"


def _between(key: str, value: int, other: str, words: str) -> str:
    return f"{key}: {value} is less than {other} {words}; it must be at least that"


def _secrets(settings: Settings) -> Iterator[str]:
    """What is of use only together, or only alone."""
    listen = settings.listen
    if (listen.tls_certificate is None) != (listen.tls_key is None):
        yield "listen.tls_certificate: certificate and listen.tls_key go together; set both or neither"
    if listen.tls_crl is not None and listen.tls_client_ca is None:
        yield "listen.tls_crl: certificates are checked only with listen.tls_client_ca; set that too"
    for index, pacs in enumerate(settings.pacs):
        key = f"pacs.{index}"
        if (pacs.dicomweb_user is None) != (pacs.dicomweb_password is None):
            yield f"{key}.dicomweb_user: user and dicomweb_password go together; set both or neither"
        if pacs.dicomweb_token is not None and pacs.dicomweb_user is not None:
            yield f"{key}.dicomweb_token: dicomweb_user is set too; set a token, or user and password"
        if pacs.dicomweb_url is None and (pacs.dicomweb_token or pacs.dicomweb_user):
            yield f"{key}.dicomweb_url: is missing, but the credentials for it are set"
    email = settings.notify.email
    if email is not None and (email.user is None) != (email.password is None):
        yield "notify.email.user: user and password go together; set both or neither"
    if settings.clinical.fhir_token is not None and settings.clinical.fhir_url is None:
        yield "clinical.fhir_url: is missing, but clinical.fhir_token is set"


def _console(settings: Settings) -> Iterator[str]:
    """Passwords and names of patients leave this machine encrypted or not at all."""
    console = settings.console
    if (console.certificate is None) != (console.key is None):
        yield "console.certificate: certificate and console.key go together; set both or neither"
    yield from _identity_provider(console)
    if console.host in LOOPBACK:
        return
    if console.certificate is None and not console.trusted_proxies:
        yield (
            "console.host: other machines reach the console only by TLS; set console.certificate and console.key, or "
            "console.trusted_proxies for a proxy that ends TLS"
        )
    if not console.allowed_hosts:
        yield "console.allowed_hosts: is empty; name the hosts by which browsers reach the console"


def _identity_provider(console: Console) -> Iterator[str]:
    given = [key for key in OIDC if getattr(console, key) is not None]
    if given and len(given) < len(OIDC):
        lacking = ", ".join(f"console.{key}" for key in OIDC if key not in given)
        yield f"console.{given[0]}: {lacking} must be set too"
    issuer = urlsplit(console.oidc_issuer or "https:")
    if issuer.scheme != "https" and issuer.hostname not in LOOPBACK:
        yield "console.oidc_issuer: must begin with https://, unless it is on this machine"


def _destination(key: str, destination: Destination, settings: Settings) -> Iterator[str]:
    if destination.pacs is not None:
        given = [k for k in ("ae_title", "host", "port") if getattr(destination, k) is not None]
        if given:
            yield f"{key}.{given[0]}: is not used, since pacs is set; remove one of them"
    ours = settings.listen
    here = destination.host is not None and (destination.host == ours.host or destination.host in THIS_MACHINE)
    if here and (destination.port, destination.ae_title) == (ours.port, ours.ae_title):
        yield f"{key}.host: this is axrad's own listener; results go to an archive"
