"""Destinations resolved to an address, and associations opened to it for exactly what is sent."""

from __future__ import annotations

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
    try:
        accepted = {str(c.abstract_syntax) for c in association.accepted_contexts}
        refused = [abstract for abstract, _ in contexts if str(abstract) not in accepted]
        if refused:
            raise DestinationRefused(f"{address.name} does not accept {', '.join(refused)}")
        yield association
    finally:
        if association.is_established:
            association.release()
