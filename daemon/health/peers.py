"""Ask a destination for everything that a delivery uses of it, in requests that change nothing there."""

from __future__ import annotations

from collections.abc import Iterator

from pynetdicom.sop_class import Verification  # type: ignore[attr-defined,unused-ignore]

from config.schema import Destination, Settings
from daemon.export.peer import address_of, associated
from daemon.health.finding import Finding
from pipeline.errors import AxradError, TryLater


def ask_destination(destination: Destination, settings: Settings) -> Iterator[Finding]:
    """One record per way in which it is used."""
    try:
        yield Finding("to", "ok", _echo(destination, settings), subject=destination.name)
    except AxradError as error:
        yield Finding("to", "fail", error.message, "is it up, does it know our AE title?", destination.name)


def _echo(destination: Destination, settings: Settings) -> str:
    address = address_of(destination, settings)
    with associated(address, [(str(Verification), ["1.2.840.10008.1.2"])]) as association:
        status = association.send_c_echo()
    if getattr(status, "Status", None) != 0:
        raise TryLater(f"{address.name} does not answer C-ECHO")
    return f"{address.ae_title} at {address.host}:{address.port} answers C-ECHO; proof of delivery: {destination.proof}"
