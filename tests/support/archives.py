"""Small real archives (pynetdicom) on loopback: they refuse, hang, break off, coerce, commit now, later or never."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, evt
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)
from pynetdicom.transport import ThreadedAssociationServer

from tests.support.listening import forget_sockets

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"


@dataclass
class Archive:
    """What an archive was sent and asked. `answer` decides the status of a C-STORE; None: break off."""

    port: int = 0
    answer: Callable[[str], int | None] = lambda uid: 0
    keeps: Callable[[str], bool] = lambda uid: True
    commits: Callable[[Archive, str, list[tuple[str, str]]], int] = lambda archive, uid, items: 0
    received: list[tuple[str, bytes]] = field(default_factory=list)
    proposed: list[list[str]] = field(default_factory=list)
    asked: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)
    association: Any = None
    coerce: bool = False
    # What it hands out by C-GET, by SOP Instance UID.
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def stored(self) -> set[str]:
        return {uid for uid, _ in self.received}

    def on_store(self, event: Any) -> Any:
        self.association = event.assoc
        uid = str(event.request.AffectedSOPInstanceUID)
        status = self.answer(uid)
        if status is None:
            event.assoc.abort(block=False)
            return 0xC000
        if status in (0, 0xB000, 0xB006, 0xB007):
            self.received.append((uid, event.encoded_dataset(include_meta=False)))
        answer = Dataset()
        answer.Status = status
        if self.coerce:
            answer.AffectedSOPInstanceUID = f"{uid}.1"
        return answer

    def on_find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        query = event.identifier
        uid = str(query.SOPInstanceUID)
        if (uid in self.stored or uid.removesuffix(".1") in self.stored) and self.keeps(uid):
            found = Dataset()
            found.QueryRetrieveLevel = "IMAGE"
            found.SOPInstanceUID = uid
            yield 0xFF00, found

    def on_get(self, event: Any) -> Iterator[Any]:
        data = self.files.get(str(event.identifier.SOPInstanceUID))
        yield int(data is not None)
        if data is not None:
            yield 0xFF00, dcmread(BytesIO(data))

    def on_action(self, event: Any) -> tuple[int, None]:
        self.association = event.assoc
        information = event.action_information
        items = [
            (str(i.ReferencedSOPClassUID), str(i.ReferencedSOPInstanceUID)) for i in information.ReferencedSOPSequence
        ]
        transaction = str(information.TransactionUID)
        self.asked.append((transaction, items))
        return self.commits(self, transaction, items), None

    def on_accepted(self, event: Any) -> None:
        classes = (str(c.abstract_syntax) for c in event.assoc.requestor.requested_contexts)
        self.proposed.append(list(dict.fromkeys(classes)))


def report_of(
    transaction: str, committed: list[tuple[str, str]], failed: list[tuple[str, str]] | None = None
) -> Dataset:
    """The event information of an N-EVENT-REPORT."""
    information = Dataset()
    information.TransactionUID = transaction
    for keyword, items in (("ReferencedSOPSequence", committed), ("FailedSOPSequence", failed or [])):
        if not items:
            continue
        references = []
        for sop_class, uid in items:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
            if keyword == "FailedSOPSequence":
                item.FailureReason = 0x0112
            references.append(item)
        setattr(information, keyword, references)
    return information


def report_on(association: Any, transaction: str, committed: Any, failed: Any = None) -> int:
    """Send an N-EVENT-REPORT; the peer's status."""
    status, _ = association.send_n_event_report(
        report_of(transaction, committed, failed), 2 if failed else 1, StorageCommitmentPushModel, COMMITMENT_INSTANCE
    )
    return int(getattr(status, "Status", -1))


def report_to(port: int, transaction: str, committed: Any, failed: Any = None) -> int:
    """The same on a new association, as a provider of commitment opens one to who asked."""
    from pynetdicom import build_role

    ae = AE(ae_title="ARCHIVE")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = None
    ae.add_requested_context(StorageCommitmentPushModel)
    role = build_role(StorageCommitmentPushModel, scp_role=True)
    association = ae.associate("127.0.0.1", port, ae_title="AXRAD", ext_neg=[role])
    assert association.is_established
    try:
        return report_on(association, transaction, committed, failed)
    finally:
        association.release()


@contextmanager
def archive(
    *,
    classes: tuple[str, ...] = (COMPREHENSIVE_SR, SECONDARY_CAPTURE),
    syntaxes: Sequence[str] = ALL_TRANSFER_SYNTAXES,
    tls: ssl.SSLContext | None = None,
    knows: str | None = None,
    **how: Any,
) -> Iterator[Archive]:
    """A running archive that takes these classes, from `knows` alone if that is given. `how`: fields of Archive."""
    kept = Archive(**how)
    ae = AE(ae_title="ARCHIVE")
    if knows is not None:
        ae.require_calling_aet = [knows]
    for sop_class in classes:
        ae.add_supported_context(sop_class, list(syntaxes), scu_role=True, scp_role=True)
    ae.add_supported_context(StorageCommitmentPushModel)
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    handlers = [
        (evt.EVT_C_STORE, kept.on_store),
        (evt.EVT_C_FIND, kept.on_find),
        (evt.EVT_C_GET, kept.on_get),
        (evt.EVT_N_ACTION, kept.on_action),
        (evt.EVT_ACCEPTED, kept.on_accepted),
    ]
    server: ThreadedAssociationServer = ae.start_server(
        ("127.0.0.1", kept.port), block=False, evt_handlers=handlers, ssl_context=tls
    )
    kept.port = int(server.server_address[1])
    try:
        yield kept
    finally:
        server.shutdown()
        forget_sockets()


@contextmanager
def deaf() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        held: list[socket.socket] = []
        stop = threading.Event()
        listening.settimeout(0.1)

        def take() -> None:
            while not stop.is_set():
                try:
                    held.append(listening.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            stop.set()
            thread.join()
            for connection in held:
                connection.close()
            forget_sockets()
