"""The ways in which results travel to a destination, one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from config.schema.peers import Via
from daemon.export import c_find, cstore, stow
from daemon.export.association import Address
from daemon.export.send_outcome import Item, Sent


@dataclass(frozen=True, slots=True)
class Transport:
    """`send`: the outcome of each item. `listed`: which of the sent objects the destination lists. `accepted`: which of
    some SOP classes the destination takes, None where the transport negotiates nothing."""

    send: Callable[[Address, Sequence[Item]], tuple[Sent, ...]]
    listed: Callable[[Address, Sequence[Sent]], list[Sent]]
    accepted: Callable[[Address, Sequence[str]], tuple[str, ...]] | None = None


TRANSPORTS: Final[Mapping[Via, Transport]] = {
    "cstore": Transport(cstore.send, c_find.listed, cstore.accepted_classes),
    "stow": Transport(stow.send, stow.listed),
}
