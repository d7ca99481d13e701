"""Ask a destination for everything that a delivery uses of it, in requests that change nothing there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom.sop_class import (  # type: ignore[attr-defined,unused-ignore]
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
)

from config.schema import Destination, Settings
from config.schema.peers import Via
from daemon.export.association import Address, address_of, associated, within_limits
from daemon.export.c_find import MAX_MATCHES
from daemon.export.cstore import accepted_classes
from daemon.export.proof import COMMITMENT_INSTANCE
from daemon.export.web import dicomweb_client
from daemon.finding import Finding
from dicom_sr.report_classes import choices
from pipeline.errors import AxradError, PeerUnreachable

EXPLICIT, IMPLICIT = str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)
# A segmentation of several segments' union goes along with the report, if it is taken.
UNION = "union of segments"
# PS3.4 J.3.2 knows one kind of request, 1. Another one is refused by who serves it, and begins nothing.
NO_SUCH_ACTION = 2
# PS3.7 annex C: the service itself is not there.
NOT_SERVED = (0x0122, 0x0211, 0x0118)
# What an empty store request may be answered with by who reads it; 500 is how some say that it is empty.
READ_AND_EMPTY = (200, 202, 204, 400, 409, 411, 415, 422, 500)


def ask_destination(destination: Destination, settings: Settings) -> Iterator[Finding]:
    """One record per way in which it is used."""
    address = address_of(destination, settings)
    checks = CHECKS[destination.via]
    asks: dict[str, Callable[[], str]] = {"to": lambda: checks.takes(address, destination, settings)}
    if destination.proof == "readback":
        asks["read-back"] = lambda: checks.lists(address)
    if destination.proof == "commit":
        asks["commitment"] = lambda: _commitment(address)
    remedies = checks.remedies
    for code, ask in asks.items():
        try:
            finding = Finding(code, "ok", ask(), subject=destination.name)
        except AxradError as error:
            finding = Finding(code, "fail", error.message, remedies[code], destination.name)
        except Exception as error:  # noqa: BLE001 - one destination must not keep the others from being asked
            text = f"the check failed in an unforeseen way ({type(error).__name__})"
            finding = Finding(code, "fail", text, remedies[code], destination.name)
        yield finding


REMEDIES = {
    "to": "is it up, does it know our AE title, does its address hold? Nothing is lost, results wait",
    "read-back": "allow our AE title to query, or set another proof for the destination",
    "commitment": "allow our AE title storage commitment, or set another proof for the destination",
}
WEB_REMEDIES = {
    "to": "is it up, and does it let us in without a page to log in? Nothing is lost, results wait",
    "read-back": "allow us to search, or set another proof for the destination",
    "commitment": REMEDIES["commitment"],
}


def contexts_of(destination: Destination, settings: Settings) -> dict[str, str]:
    """SOP class of what would be sent: its kind. As the report makes them, in Explicit VR Little Endian."""
    from dicom_sr.sop_classes import (
        COMPREHENSIVE,
        ENCAPSULATED_PDF,
        KEY_OBJECT_SELECTION,
        SECONDARY_CAPTURE,
        SEGMENTATION,
    )

    classes = {
        "sr": next(iter(choices(destination.sr, settings).values())),
        "page": SECONDARY_CAPTURE,
        "pdf": ENCAPSULATED_PDF,
        "key_slices": COMPREHENSIVE,
        "seg": SEGMENTATION,
        "proposal": SEGMENTATION,
    }
    wanted: dict[str, str] = {}
    for kind in destination.what:
        sop_class = str(classes[kind])
        wanted[sop_class] = f"{wanted[sop_class]}, {kind}" if sop_class in wanted else kind
    if "sr" in destination.what and str(SEGMENTATION) not in wanted:
        wanted[str(SEGMENTATION)] = UNION
    rejects = destination.reject_superseded
    if settings.report.reject_superseded if rejects is None else rejects:
        wanted[str(KEY_OBJECT_SELECTION)] = "rejection"
    return wanted


def _contexts(address: Address, destination: Destination, settings: Settings) -> str:
    """An association with what a delivery proposes."""
    wanted = contexts_of(destination, settings)
    reports = choices(destination.sr, settings).values() if "sr" in destination.what else ()
    accepted = accepted_classes(address, tuple(dict.fromkeys((*wanted, *reports))))
    report = next((sop_class for sop_class in reports if sop_class in accepted), None)
    refused = [kind for sop_class, kind in wanted.items() if sop_class not in accepted and kind != UNION]
    if report is not None and "sr" in refused:
        refused.remove("sr")
    if refused:
        raise PeerUnreachable(f"{address.name} does not take {', '.join(refused)} (presentation context refused)")
    taken = ", ".join(_taken(kind, report, sop_class in accepted) for sop_class, kind in wanted.items())
    return f"{address.ae_title} at {address.host}:{address.port} takes {taken}; proof of delivery: {destination.proof}"


def _taken(kind: str, report: str | None, accepted: bool) -> str:
    if kind == UNION:
        return "segmentations" if accepted else "no segmentations (the report goes without that of several segments)"
    return kind if accepted else f"{kind} as {UID(report or '').name.removesuffix(' Storage')}"


def _find(address: Address) -> str:
    """A C-FIND for an instance that nobody has."""
    model = StudyRootQueryRetrieveInformationModelFind
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(query, keyword, generate_uid(prefix=None))
    with associated(address, [(str(model), [EXPLICIT, IMPLICIT])]) as association:
        responses = association.send_c_find(query, model)
        max_s = 10 * address.answer_timeout_s
        limited = within_limits(address, association, responses, max_count=MAX_MATCHES, max_s=max_s)
        answers = [getattr(status, "Status", None) for status, _ in limited]
    if not answers or answers[-1] != 0:
        answer = "nothing" if not answers or answers[-1] is None else f"status 0x{answers[-1]:04X}"
        raise PeerUnreachable(f"{address.name} answers a query with {answer}")
    return f"{address.name} answers queries (C-FIND)"


def _commitment(address: Address) -> str:
    """An N-ACTION of a kind that does not exist: whoever serves storage commitment refuses it and begins nothing."""
    request = Dataset()
    request.TransactionUID = generate_uid(prefix=None)
    model = str(StorageCommitmentPushModel)
    with associated(address, [(model, [EXPLICIT, IMPLICIT])]) as association:
        status, _ = association.send_n_action(request, NO_SUCH_ACTION, model, COMMITMENT_INSTANCE)
    code = getattr(status, "Status", None)
    if code is None or code in NOT_SERVED:
        answer = "nothing" if code is None else f"status 0x{code:04X}"
        raise PeerUnreachable(f"{address.name} answers a request for storage commitment with {answer}")
    return f"{address.name} serves storage commitment (N-ACTION)"


def _stow(address: Address, destination: Destination, settings: Settings) -> str:
    """A store request with nothing in it: read by a DICOMweb server, and by nobody else."""
    with dicomweb_client(address) as client:
        response, _ = client.store_bytes([])
    _require_dicomweb(address, "a store request", response.status_code, READ_AND_EMPTY, response.headers)
    return f"{address.dicomweb_url} reads store requests (STOW-RS)"


def _qido(address: Address) -> str:
    """A search for a study that nobody has."""
    with dicomweb_client(address) as client:
        studies = client.search_for_studies(search_filters={"StudyInstanceUID": generate_uid(prefix=None)}, limit=1)
    if not isinstance(studies, list):
        raise PeerUnreachable(f"{address.name} answers a search with something that is no list of studies")
    return f"{address.dicomweb_url} answers searches (QIDO-RS)"


def _require_dicomweb(address: Address, what: str, status: int, allowed: tuple[int, ...], headers: object) -> None:
    kind = str(getattr(headers, "get", lambda *_: "")("Content-Type", "")).partition(";")[0].strip().lower()
    if kind == "text/html" and status < 400:
        raise PeerUnreachable(f"{address.name} answers {what} with a page (HTTP status {status}); a login page?")
    if status not in allowed:
        raise PeerUnreachable(f"{address.name} answers {what} with HTTP status {status}")


@dataclass(frozen=True, slots=True)
class Checks:
    """How a transport is tried: whether a destination takes what would be sent, and whether it answers searches."""

    takes: Callable[[Address, Destination, Settings], str]
    lists: Callable[[Address], str]
    remedies: Mapping[str, str]


CHECKS: Final[Mapping[Via, Checks]] = {
    "cstore": Checks(_contexts, _find, REMEDIES),
    "stow": Checks(_stow, _qido, WEB_REMEDIES),
}
