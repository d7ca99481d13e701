"""Destinations resolved to an address, and associations opened to it for exactly what is sent."""

from __future__ import annotations

import math
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar  # pynetdicom ships no types

from pynetdicom import AE
from pynetdicom.association import Association

from config.schema import Destination, Pacs, Settings
from daemon.export.message_limits import MAX_MESSAGE_BYTES, MAX_TOTAL_BYTES, MessageLimits
from daemon.network.tls_profile import apply_profile, check_revocation
from pipeline.errors import InputRejected, PeerUnreachable

MAX_ACSE_S = 30.0
BEYOND = "answers one request with more than can be taken; it was given up"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a peer listens, our own AE title towards it, what it can do, and how long we wait for it."""

    name: str
    ae_title: str
    host: str
    port: int
    our_ae_title: str
    tls: bool = False
    dicomweb_url: str | None = None
    can: tuple[str, ...] = ()
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_crl: Path | None = None
    dicomweb_user: str | None = None
    dicomweb_password: str | None = field(default=None, repr=False)
    dicomweb_token: str | None = field(default=None, repr=False)
    connect_timeout_s: float = 10.0
    answer_timeout_s: float = 60.0


class DestinationRefused(PeerUnreachable):
    """The peer rejects our association; an operator may change that on the other side."""

    code = "destination-refused"


def address_of(destination: Destination, settings: Settings) -> Address:
    """The address of a destination: its archive's, or that of an AE of its own."""
    if destination.pacs is not None:
        pacs = next(p for p in settings.pacs if p.name == destination.pacs)
        address = replace(address_of_pacs(pacs, settings), name=destination.name)
    else:
        # The schema sees to it that a destination without a pacs has all three.
        assert destination.ae_title is not None
        assert destination.host is not None
        assert destination.port is not None
        address = Address(
            destination.name, destination.ae_title, destination.host, destination.port, settings.listen.ae_title
        )
    return replace(
        address, connect_timeout_s=destination.connect_timeout_s, answer_timeout_s=destination.answer_timeout_s
    )


def address_of_pacs(pacs: Pacs, settings: Settings) -> Address:
    """An archive's address, with the default timeouts."""
    listen = settings.listen
    return Address(
        name=pacs.name,
        ae_title=pacs.ae_title,
        host=pacs.host,
        port=pacs.port,
        our_ae_title=listen.ae_title,
        tls=pacs.tls,
        dicomweb_url=pacs.dicomweb_url,
        can=pacs.can,
        tls_ca=pacs.tls_ca or listen.tls_client_ca,
        tls_certificate=listen.tls_certificate,
        tls_key=listen.tls_key,
        # The list is of that authority.
        tls_crl=listen.tls_crl if pacs.tls_ca in (None, listen.tls_client_ca) else None,
        dicomweb_user=pacs.dicomweb_user,
        dicomweb_password=pacs.dicomweb_password,
        dicomweb_token=pacs.dicomweb_token,
    )


def tls_context(address: Address) -> ssl.SSLContext:
    """TLS as BCP 195 wants it (PS3.15 B.12), the peer's certificate and name checked, ours shown if we have one.

    Raises InputRejected where a certificate's file cannot be read.
    """
    try:
        context = ssl.create_default_context(
            ssl.Purpose.SERVER_AUTH, cafile=str(address.tls_ca) if address.tls_ca else None
        )
        apply_profile(context)
        if address.tls_certificate is not None:
            context.load_cert_chain(address.tls_certificate, address.tls_key)
        check_revocation(context, address.tls_crl)
    except OSError as error:  # ssl.SSLError is one
        raise InputRejected(f"the certificates for TLS to {address.name} cannot be read; check tls_ca") from error
    return context


class ContextsRefused(DestinationRefused):
    """The peer answers, and accepts none of the presentation contexts that were proposed."""


class AnswersBeyondLimits(PeerUnreachable):
    """The peer answers one request too often, or for too long."""

    code = "too-many-answers"


@contextmanager
def associated(
    address: Address,
    contexts: Sequence[tuple[str, Sequence[str]]],
    *,
    all_contexts: bool = True,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    brings_instances: bool = False,
    evt_handlers: Sequence[tuple[object, object]] = (),
    **options: object,
) -> Iterator[Association]:
    """An association with the given (abstract syntax, transfer syntaxes), released at the end.

    Args:
        all_contexts: a context that the peer does not accept is an error; otherwise the caller looks at
            `accepted_contexts`.
        max_message_bytes: of one message that the peer sends.
        brings_instances: all its messages together have no limit here.

    Raises PeerUnreachable if the peer does not answer, DestinationRefused if the peer rejects us or a context,
    AnswersBeyondLimits if it sends more, or more slowly, than a peer may.
    """
    ae = AE(ae_title=address.our_ae_title)
    ae.acse_timeout = min(address.answer_timeout_s, MAX_ACSE_S)
    ae.dimse_timeout = address.answer_timeout_s
    ae.network_timeout = address.answer_timeout_s
    ae.connection_timeout = address.connect_timeout_s
    for abstract, transfer in contexts:
        ae.add_requested_context(abstract, list(transfer))
    tls_args = (tls_context(address), address.host) if address.tls else None
    max_total_bytes = math.inf if brings_instances else MAX_TOTAL_BYTES
    limits = MessageLimits(max_message_bytes, address.answer_timeout_s, max_total_bytes)
    options |= {"tls_args": tls_args, "evt_handlers": [*limits.handlers(), *evt_handlers]}
    try:
        association = ae.associate(address.host, address.port, ae_title=address.ae_title, **options)
    except (OSError, UnicodeError) as error:  # pynetdicom lets the errors of a name's look-up through
        raise PeerUnreachable(
            f"the host {address.host} of {address.name} has no address ({type(error).__name__})"
        ) from error
    if not association.is_established:
        if limits.exceeded:
            raise AnswersBeyondLimits(f"{address.name} {BEYOND}")
        _raise_not_established(address, association)
    parked = _ParkedReactor(association)
    try:
        accepted = {str(c.abstract_syntax) for c in association.accepted_contexts}
        refused = [abstract for abstract, _ in contexts if str(abstract) not in accepted]
        if refused and all_contexts:
            raise DestinationRefused(f"{address.name} does not accept {', '.join(refused)}")
        yield association
        if limits.exceeded:
            raise AnswersBeyondLimits(f"{address.name} {BEYOND}")
    except PeerUnreachable as error:
        if limits.exceeded and type(error) is PeerUnreachable:
            raise AnswersBeyondLimits(f"{address.name} {BEYOND}") from error
        raise
    finally:
        if association.is_established:
            # What `release` does, without its wait for a flag that a report served meanwhile may have lowered for good.
            association.acse.negotiate_release()
        parked.resume()


def within_limits(
    address: Address, association: Association, answers: Iterable[T], *, max_count: int, max_s: float
) -> Iterator[T]:
    """The answers to one request, as they come. Aborts and raises AnswersBeyondLimits for too many, or too long."""
    deadline = time.monotonic() + max_s
    for number, answer in enumerate(answers, 1):
        if number > max_count or time.monotonic() > deadline:
            association.abort(block=False)
            raise AnswersBeyondLimits(f"{address.name} {BEYOND}")
        yield answer


def _raise_not_established(address: Address, association: Association) -> None:
    """Raise the error that says why there is no association."""
    if association.is_rejected:
        raise DestinationRefused(
            f"{address.name} rejects our association; does it know the AE title {address.our_ae_title}?"
        )
    if association.rejected_contexts and not association.accepted_contexts:
        classes = dict.fromkeys(str(context.abstract_syntax) for context in association.rejected_contexts)
        raise ContextsRefused(f"{address.name} does not accept {', '.join(classes)}")
    over = " over TLS" if address.tls else ""
    raise PeerUnreachable(f"{address.name} does not answer{over} at {address.host} port {address.port}")


class _ParkedReactor(threading.Event):
    """Keeps pynetdicom's association thread parked while this thread sends requests.

    pynetdicom 3.0.4 pauses that thread for each message by clearing an event and waiting for a flag that the thread
    lowers only *after* the event let it through. A thread that was just let through and has not run yet therefore
    looks paused, takes the peer's answer off the queue, and the sender waits for it until it times out. Here the thread
    is parked once, before the first message, and stays so.
    """

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._parked = threading.Event()
        self._before, association._reactor_checkpoint = association._reactor_checkpoint, self
        while association.is_alive() and not self._parked.wait(0.01):
            continue

    def wait(self, timeout: float | None = None) -> bool:
        """Called by the association's thread at its next turn; it stays here until `resume`."""
        self._parked.set()
        return super().wait(timeout)

    def set(self) -> None:
        """pynetdicom calls this after each message; the thread stays parked."""

    def resume(self) -> None:
        super().set()
