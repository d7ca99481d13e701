"""Proof that a destination has what it was sent: it lists the objects, or commits to keeping them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any  # Any: pynetdicom's objects, whose types mypy does not follow

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from config.schema.peers import Via
from daemon.export.association import Address, associated
from daemon.export.send_outcome import ObjectNotTaken, Sent
from daemon.export.transports import TRANSPORTS
from pipeline.errors import PeerUnreachable

# PS3.4 J.3.5: the well-known SOP Instance of the Storage Commitment Push Model.
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
REQUEST_ACTION = 1
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
# How long to wait for a report on the same association; most archives open one of their own.
REPORT_WAIT_S = 1.0
# Another thread answers such a report; this long is waited for it before the release.
REPORT_RESPONSE_S = 0.1
INVALID_ARGUMENT, PROCESSING_FAILURE = 0x0115, 0x0110


class NotReadBack(ObjectNotTaken):
    """The destination acknowledged an object but does not list it."""

    code = "not-read-back"


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """An N-EVENT-REPORT: which objects of a transaction the destination keeps, and which it does not."""

    transaction_uid: str
    committed: tuple[str, ...]
    failed: tuple[str, ...]


def read_back(address: Address, sent: Sequence[Sent], via: Via) -> None:
    """Find every object again, by C-FIND or QIDO-RS. Raises NotReadBack if one is not listed."""
    listed = TRANSPORTS[via].listed(address, sent)
    missing = [entry.item.kind for entry in sent if entry not in listed]
    if missing:
        raise NotReadBack(f"{address.name} acknowledged {', '.join(missing)} and does not list it")


def new_transaction() -> str:
    """A new Transaction UID; write it down before the request goes out."""
    return str(generate_uid(prefix=None))


def request_commitment(
    address: Address,
    sent: Sequence[Sent],
    transaction_uid: str,
    record_report: Callable[[CommitmentReport], bool],
    report_wait_s: float = REPORT_WAIT_S,
) -> None:
    """N-ACTION: request storage commitment. The report comes later to our listener, or at once on this association.

    Args:
        take_report: called in another thread with a report that comes on this association; returns whether it was
            stored.
        report_wait_s: how long the association is kept open for that.

    Raises PeerUnreachable without an answer (the report may still come), ObjectNotTaken if the request is refused.
    """
    reported = threading.Event()

    def on_report(event: Any) -> tuple[int, None]:
        report = read_report(event)
        if report is None:
            return INVALID_ARGUMENT, None
        if not record_report(report):
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
            raise ObjectNotTaken(f"{address.name} refuses the request for storage commitment with status 0x{code:04X}")
        if reported.wait(report_wait_s):
            time.sleep(REPORT_RESPONSE_S)


def _request(sent: Sequence[Sent], transaction_uid: str) -> Dataset:
    request = Dataset()
    request.TransactionUID = transaction_uid
    request.ReferencedSOPSequence = []
    for entry in sent:
        reference = Dataset()
        reference.ReferencedSOPClassUID = entry.item.sop_class_uid
        reference.ReferencedSOPInstanceUID = entry.kept_as
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
