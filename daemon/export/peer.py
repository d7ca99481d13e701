"""Destinations resolved to an address, and associations opened to it for exactly what is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pynetdicom import AE
from pynetdicom.association import Association

from config.schema import Destination, Settings
from pipeline.errors import PeerUnreachable


@dataclass(frozen=True, slots=True)
class Address:
    """Where a destination listens, who we say we are, and what it can do."""

    name: str
    ae_title: str
    host: str
    port: int
    our_ae_title: str
    tls: bool = False
    dicomweb_url: str | None = None
    can: tuple[str, ...] = ()


class DestinationRefused(PeerUnreachable):
    """The association was rejected or a context was not accepted; an operator may mend that on the other side."""

    code = "destination-refused"


def address_of(destination: Destination, settings: Settings) -> Address:
    if destination.pacs is not None:
        pacs = next(p for p in settings.pacs if p.name == destination.pacs)
        return Address(
            destination.name,
            pacs.ae_title,
            pacs.host,
            pacs.port,
            settings.listen.ae_title,
            pacs.tls,
            pacs.dicomweb_url,
            pacs.can,
        )
    # The schema sees to it that a destination without a pacs has all three.
    assert destination.ae_title is not None
    assert destination.host is not None
    assert destination.port is not None
    return Address(destination.name, destination.ae_title, destination.host, destination.port, settings.listen.ae_title)


@contextmanager
def associated(
    address: Address, contexts: Sequence[tuple[str, Sequence[str]]], **options: Any
) -> Iterator[Association]:
    """An association with the given (abstract syntax, transfer syntaxes), released at the end.

    Raises PeerUnreachable if nobody answers, DestinationRefused if the peer rejects us or a context.
    """
    ae = AE(ae_title=address.our_ae_title)
    ae.acse_timeout = 20
    ae.dimse_timeout = 60
    ae.network_timeout = 60
    ae.connection_timeout = 10
    for abstract, transfer in contexts:
        ae.add_requested_context(abstract, list(transfer))
    association = ae.associate(address.host, address.port, ae_title=address.ae_title, **options)
    if not association.is_established:
        if association.is_rejected:
            raise DestinationRefused(
                f"{address.name} rejects our association; does it know the AE title {address.our_ae_title}?"
            )
        raise PeerUnreachable(f"{address.name} does not answer at {address.host} port {address.port}")
    hold = _Hold(association)
    try:
        accepted = {str(c.abstract_syntax) for c in association.accepted_contexts}
        refused = [abstract for abstract, _ in contexts if str(abstract) not in accepted]
        if refused:
            raise DestinationRefused(f"{address.name} does not accept {', '.join(refused)}")
        yield association
    finally:
        if association.is_established:
            association.release()
        hold.let_go()


class _Hold(threading.Event):
    """Keeps pynetdicom's association thread out of the way for as long as we are the ones who ask.

    pynetdicom 3.0.4 pauses that thread for each message by clearing an event and waiting for a flag that the thread
    lowers only *after* the event let it through. A thread that was just let through and has not run yet therefore
    looks paused, takes the peer's answer off the queue, and the sender waits for it until it times out.
    """

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._before = association._reactor_checkpoint
        self._before.clear()
        association._reactor_checkpoint = self
        # Twice: what is seen the first time may be the flag of a thread that is on its way.
        for _ in range(2):
            while association.is_alive() and not association._is_paused:
                time.sleep(0.001)
            time.sleep(0.005)

    def set(self) -> None:
        """pynetdicom asks to go on after each message; not yet."""

    def let_go(self) -> None:
        self._before.set()
        super().set()
