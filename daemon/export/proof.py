"""Proof that a destination has what it was sent: find it there again, or have it commit to keeping it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StudyRootQueryRetrieveInformationModelFind

from daemon.export import stow
from daemon.export.association import Address, associated
from daemon.export.send_outcome import NotNow, Sent
from pipeline.errors import PeerUnreachable

# PS3.4 J.3.5: the well-known SOP Instance of the Storage Commitment Push Model.
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
REQUEST_ACTION = 1
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
# Some archives report on the association on which they were asked; most open one of their own.
STAY_S = 1.0
# Our answer to such a report goes out, in another thread, before we release.
ANSWER_S = 0.1
PENDING = (0xFF00, 0xFF01)
INVALID_ARGUMENT, PROCESSING_FAILURE = 0x0115, 0x0110


class NotThere(NotNow):
    """The destination acknowledged an object and does not list it."""

    code = "not-read-back"


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """An N-EVENT-REPORT: which objects of a transaction the destination keeps, and which it does not."""

    transaction_uid: str
    committed: tuple[str, ...]
    failed: tuple[str, ...]


def read_back(address: Address, sent: Sequence[Sent], via: str) -> None:
    """Find every object again, by C-FIND or (`via` stow) by QIDO-RS. Raises NotThere if one is not listed."""
    found = stow.listed(address, sent) if via == "stow" else _find(address, sent)
    missing = [one.item.kind for one in sent if one not in found]
    if missing:
        raise NotThere(f"{address.name} acknowledged {', '.join(missing)} and does not list it")


def _find(address: Address, sent: Sequence[Sent]) -> list[Sent]:
    """C-FIND at instance level with all the unique keys above it (PS3.4 C.4.1.2.1)."""
    model = StudyRootQueryRetrieveInformationModelFind
    found = []
    with associated(address, [(str(model), SYNTAXES)]) as association:
        for one in sent:
            query = Dataset()
            query.QueryRetrieveLevel = "IMAGE"
            query.StudyInstanceUID = one.item.study_uid
            query.SeriesInstanceUID = one.item.series_uid
            query.SOPInstanceUID = one.kept_as
            if not association.is_established:
                raise PeerUnreachable(f"{address.name} broke off while it was queried")
            answers = list(association.send_c_find(query, model))
            status = getattr(answers[-1][0], "Status", None) if answers else None
            if status is None:
                raise PeerUnreachable(f"{address.name} broke off while it was queried")
            if status != 0:
                raise NotNow(f"{address.name} answers the query with status 0x{status:04X}")
            matches = [i for s, i in answers if getattr(s, "Status", None) in PENDING and i is not None]
            if any(_is(i, one) for i in matches):
                found.append(one)
    return found


def _is(match: Dataset, one: Sent) -> bool:
    """Our object by its UID, and in our study where the match says in which."""
    study = match.get("StudyInstanceUID")
    return match.get("SOPInstanceUID") == one.kept_as and study in (None, "", one.item.study_uid)


def new_transaction() -> str:
    """A Transaction UID, to be written down before anything is asked under it."""
    return str(generate_uid(prefix=None))


def ask_commitment(
    address: Address,
    sent: Sequence[Sent],
    transaction_uid: str,
    take_report: Callable[[CommitmentReport], bool],
    stay_s: float = STAY_S,
) -> None:
    """N-ACTION: ask to commit. The report arrives later, at our listener, on an association of its own; or here.

    Args:
        take_report: called in another thread with a report that comes on this very association; says whether it is
            written down.
        stay_s: how long the association is kept for that.

    Raises PeerUnreachable without an answer (the report may come all the same), NotNow if the request is refused.
    """
    reported = threading.Event()

    def on_report(event: Any) -> tuple[int, None]:
        report = read_report(event)
        if report is None:
            return INVALID_ARGUMENT, None
        if not take_report(report):
            return PROCESSING_FAILURE, None
        if report.transaction_uid == transaction_uid:
            reported.set()
        return 0, None

    # pynetdicom serves reports in a thread of their own, also one that comes before the answer to our request.
    handlers = [(evt.EVT_N_EVENT_REPORT, on_report)]
    contexts = [(str(StorageCommitmentPushModel), SYNTAXES)]
    with associated(address, contexts, evt_handlers=handlers) as association:
        status, _ = association.send_n_action(
            _request(sent, transaction_uid), REQUEST_ACTION, StorageCommitmentPushModel, COMMITMENT_INSTANCE
        )
        code = getattr(status, "Status", None)
        if code is None and not reported.is_set():
            raise PeerUnreachable(f"{address.name} does not answer the request for storage commitment")
        if code:
            raise NotNow(f"{address.name} refuses the request for storage commitment with status 0x{code:04X}")
        if reported.wait(stay_s):
            time.sleep(ANSWER_S)


def _request(sent: Sequence[Sent], transaction_uid: str) -> Dataset:
    request = Dataset()
    request.TransactionUID = transaction_uid
    request.ReferencedSOPSequence = []
    for one in sent:
        reference = Dataset()
        reference.ReferencedSOPClassUID = one.item.sop_class_uid
        reference.ReferencedSOPInstanceUID = one.kept_as
        request.ReferencedSOPSequence.append(reference)
    return request


def read_report(event: Any) -> CommitmentReport | None:
    """The event information (PS3.4 table J.3-2), or None if it is none."""
    try:
        information = event.event_information
        return CommitmentReport(
            str(information.TransactionUID),
            tuple(str(i.ReferencedSOPInstanceUID) for i in information.get("ReferencedSOPSequence") or ()),
            tuple(str(i.ReferencedSOPInstanceUID) for i in information.get("FailedSOPSequence") or ()),
        )
    except (ValueError, AttributeError, KeyError, TypeError, NotImplementedError, EOFError):
        return None
