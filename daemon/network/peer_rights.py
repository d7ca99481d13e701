"""What a `[[peer]]` may do: its `may`, or what every peer could do before there were rights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from config.schema import Peer

STORE, RETRIEVE, ECHO, COMMIT = "store", "retrieve", "echo", "commit"
REPORT_COMMITMENT, FEEDBACK = "report-commitment", "feedback"
# Of a peer without `may`; feedback has its own key.
WITHOUT_MAY = (STORE, ECHO, COMMIT, REPORT_COMMITMENT)


@dataclass(frozen=True, slots=True)
class Rights:
    """Rights as the settings name them: "echo", "store", "store:SEG"."""

    names: frozenset[str]

    def allow(self, right: str) -> bool:
        return right in self.names

    @property
    def may_store(self) -> bool:
        return STORE in self.names or RETRIEVE in self.names or bool(self._modalities)

    @property
    def modalities(self) -> frozenset[str] | None:
        """The modalities that may be stored without having been asked for; None: any."""
        return None if STORE in self.names else self._modalities

    @property
    def _modalities(self) -> frozenset[str]:
        return frozenset(name.removeprefix("store:") for name in self.names if name.startswith("store:"))


EVERYTHING = Rights(frozenset((*WITHOUT_MAY, FEEDBACK)))


def rights_of(peer: Peer) -> tuple[str, ...]:
    if peer.may is not None:
        return peer.may
    return (*WITHOUT_MAY, FEEDBACK) if peer.feedback else WITHOUT_MAY


def rights_together(peers: Iterable[Peer]) -> Rights:
    """What at least one of them may do: an AE title may be listed for several networks."""
    return Rights(frozenset(name for peer in peers for name in rights_of(peer)))
