"""Others on the network: who may send, archives, where results go."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from config.schema.base import Section
from config.schema.urls import BaseUrl
from config.schema.values import (
    AeTitle,
    CertificateName,
    CharacterSet,
    Host,
    InFile,
    Name,
    Network,
    Port,
    Reporter,
    Right,
)

# How results are sent: C-STORE, or STOW-RS.
Via = Literal["cstore", "stow"]


class Peer(Section):
    """Who may send. Without networks: from anywhere. `port`: where it listens for storage commitment reports.

    `low_is_meant`: what it sends with priority LOW comes after routine exams. Many toolkits send LOW by default, so it
    counts as routine unless this is set. `feedback`: readers' verdicts on our results are taken from it; an archive's
    AE title says nothing of who wrote a report, so set it for those alone that let nobody but readers write one.

    `may`: its rights. "store", or "store:SEG" for one modality alone (several such are possible); "retrieve": store
    what we asked for by C-MOVE, of an archive that pushes nothing by itself; "echo" (C-ECHO);
    "commit": ask for storage commitment; "report-commitment": report on what we asked it to keep; "feedback": what the
    key of that name allows; "find" is for queries, which axrad does not answer yet. Without `may`: store, echo, commit,
    report-commitment, and feedback where the key is set. `called_ae`: the AE title by which it must call us; without
    it, any. `certificates`: with TLS, who it is: names in its certificate (subject alternative names, else the common
    name), or "sha256:…" of a certificate; one of them must be the certificate's, and a certificate that is
    listed for one AE title is refused under another. Without it, any certificate of `listen.tls_client_ca`.

    `character_set`: what its texts are in where they declare nothing (Specific Character Set absent), for example
    "GB18030" or "ISO_IR 100".
    """

    ae_title: AeTitle
    networks: tuple[Network, ...] = ()
    host: Host | None = None
    port: Port | None = None
    low_is_meant: bool = False
    feedback: bool = False
    may: tuple[Right, ...] | None = Field(None, min_length=1)
    called_ae: AeTitle | None = None
    certificates: tuple[CertificateName, ...] = ()
    character_set: CharacterSet | None = None


class Pacs(Section):
    """An archive.

    `tls_ca`: who signed its certificate, also for DICOMweb over HTTPS; without it `listen.tls_client_ca`, else the
    system's authorities. Our own certificate is the one of `listen`.
    """

    name: Name
    ae_title: AeTitle
    host: Host
    port: Port
    tls: bool = False
    tls_ca: InFile | None = None
    dicomweb_url: BaseUrl | None = None
    dicomweb_user: str | None = None
    dicomweb_password: str | None = Field(None, repr=False)
    dicomweb_token: str | None = Field(None, repr=False)
    can: tuple[Literal["find", "move", "get", "commit"], ...] = ()


class Destination(Section):
    """Where results go: a `pacs` by name, or an AE of its own.

    `sr`: the class of the report; `auto` is the richest one that the archive accepts, from that of `report` down.
    `character_sets`: those that the archive holds, by default any; `axrad doctor` tells where reports need another.
    `proof`: what makes a result delivered: a storage commitment report, finding it there again (C-FIND, or QIDO-RS
    `via = "stow"`), or the status of sending it. `reject_superseded` overrides the setting of `report` of that name.
    `at_once`: how many results are sent at a time. A destination that failed `breaker_failures` times in a row is left
    alone for `breaker_pause_s`, then probed with one result. A report on storage commitment that does not come is asked
    for again after `commit_timeout_s`; one that comes is believed from `report_from`: AE titles or hosts, by default
    the destination's own (name others where an archive is a cluster). After `give_up_days`, or `give_up_attempts`, a
    delivery is set aside: `axrad status` lists it, `axrad deliver` sends it again. `preliminary`: results of regions
    that no reader has confirmed go there too, and a rejection note always goes with what takes their place.
    """

    name: Name
    pacs: Name | None = None
    ae_title: AeTitle | None = None
    host: Host | None = None
    port: Port | None = None
    what: tuple[Literal["sr", "page", "pdf", "key_slices", "seg", "proposal"], ...] = Field(
        ("sr", "page"), min_length=1
    )
    sr: Literal["auto", "comprehensive_3d", "comprehensive", "enhanced", "basic_text"] = "auto"
    character_sets: tuple[CharacterSet | Literal["ISO_IR 6"], ...] = ()
    proof: Literal["commit", "readback", "status"] = "status"
    via: Via = "cstore"
    report_from: tuple[Reporter, ...] = ()
    allow_demonstration: bool = False
    reject_superseded: bool | None = None
    preliminary: bool = False
    at_once: int = Field(2, ge=1)
    connect_timeout_s: float = Field(10.0, gt=0)
    answer_timeout_s: float = Field(60.0, gt=0)
    commit_timeout_s: float = Field(6 * 3600.0, gt=0)
    backoff_max_s: float = Field(3600.0, gt=0)
    breaker_failures: int = Field(3, ge=1)
    breaker_pause_s: float = Field(60.0, gt=0)
    give_up_days: float = Field(7.0, gt=0)
    give_up_attempts: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _has_an_address(self) -> Destination:
        if self.pacs is None and None in (self.ae_title, self.host, self.port):
            raise ValueError("a destination needs either pacs, or ae_title, host and port")
        if self.pacs is None and self.via == "stow":
            raise ValueError('a destination via = "stow" needs a pacs with a dicomweb_url')
        return self


def fits(key: str, destination: Destination, pacs: Pacs | None) -> None:
    """Raise if its pacs cannot do what a destination needs. A pacs without `can` may do anything."""
    if pacs is None:
        return
    if destination.via == "stow" and pacs.dicomweb_url is None:
        raise ValueError(f'{key}.via: "stow" needs a dicomweb_url, which pacs {pacs.name} has not')
    by_query = destination.proof == "readback" and destination.via == "cstore"
    needed = "commit" if destination.proof == "commit" else "find" if by_query else None
    if pacs.can and needed is not None and needed not in pacs.can:
        raise ValueError(f'{key}.proof: "{destination.proof}" needs "{needed}" in can of pacs {pacs.name}')
