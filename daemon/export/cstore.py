"""C-STORE of finished objects: byte for byte as they were rendered, or in Implicit VR where a peer takes only that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any  # Any: pynetdicom's objects, whose types mypy does not follow

from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import _config, evt

from daemon.export.association import Address, ContextsRefused, associated
from daemon.export.send_outcome import Item, Sent
from daemon.export.statuses import NOT_SUPPORTED, is_stored
from pipeline.dicom_file.reading_marker import marked
from pipeline.errors import ExamRejected, PeerUnreachable

EXPLICIT, IMPLICIT = str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)
# A file's data set goes out as it lies on disk; nothing is decoded or encoded again.
_config.STORE_SEND_CHUNKED_DATASET = True


def send(address: Address, items: Sequence[Item]) -> tuple[Sent, ...]:
    """Send all items over one association with just the contexts that they need; the outcome of each.

    Each class is proposed in the transfer syntax of its file and in Implicit VR Little Endian, which every peer has to
    know (PS3.5 10.1); an object goes out in the one that was accepted. An item whose context is not accepted has status
    0x0122; one that was to follow a broken association has none. Raises PeerUnreachable if there is no association.
    """
    contexts = dict.fromkeys((i.sop_class_uid, s) for i in items for s in (i.transfer_syntax_uid, IMPLICIT))
    last_response = _LastResponse()
    try:
        with associated(
            address,
            [(abstract, [transfer]) for abstract, transfer in contexts],
            all_contexts=False,
            evt_handlers=[(evt.EVT_DIMSE_RECV, last_response.record)],
        ) as association:
            accepted = {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts}
            return tuple(_outcome(association, item, accepted, last_response) for item in items)
    except ContextsRefused:
        return tuple(Sent(item, NOT_SUPPORTED) for item in items)


def accepted_classes(address: Address, sop_classes: Sequence[str]) -> tuple[str, ...]:
    """Which of these classes the peer accepts in Explicit or Implicit VR Little Endian; nothing is sent.

    Raises PeerUnreachable if there is no association.
    """
    contexts = [(sop_class, [EXPLICIT, IMPLICIT]) for sop_class in sop_classes]
    try:
        with associated(address, contexts, all_contexts=False) as association:
            accepted = {str(c.abstract_syntax) for c in association.accepted_contexts}
    except ContextsRefused:
        return ()
    return tuple(sop_class for sop_class in sop_classes if sop_class in accepted)


def _outcome(association: Any, item: Item, accepted: set[tuple[str, str]], last_response: _LastResponse) -> Sent:
    as_it_is = (item.sop_class_uid, item.transfer_syntax_uid) in accepted
    if not as_it_is and (item.sop_class_uid, IMPLICIT) not in accepted:
        return Sent(item, NOT_SUPPORTED)
    if not association.is_established:
        return Sent(item, None)
    return _send_one(association, item, item.path if as_it_is else _read(item), last_response)


def _read(item: Item) -> Dataset:
    """The data set, which pynetdicom encodes in the transfer syntax that was accepted; values stay as they are."""
    with marked(item.path):
        return dcmread(item.path)


def _send_one(association: Any, item: Item, what: Path | Dataset, last_response: _LastResponse) -> Sent:
    last_response.affected_uid = ""
    try:
        status = getattr(association.send_c_store(what), "Status", None)
    except RuntimeError:  # the association ended between two messages
        status = None
    is_coerced = last_response.affected_uid not in ("", item.sop_instance_uid)
    return Sent(item, status, last_response.affected_uid if is_coerced and is_stored(status) else None)


def require_success(address: Address, status: Any) -> None:
    """Raise unless this answer to a C-STORE says that the object is stored."""
    code = getattr(status, "Status", None)
    if code is None:
        raise PeerUnreachable(f"{address.name} broke off or did not answer in time")
    if not is_stored(code):
        raise ExamRejected(f"{address.name} refuses an object with status 0x{code:04X}", code="object-refused")


class _LastResponse:
    """The SOP Instance UID of the last C-STORE response: an archive that coerces UIDs answers with its own."""

    def __init__(self) -> None:
        self.affected_uid = ""

    def record(self, event: Any) -> None:
        self.affected_uid = str(event.message.command_set.get("AffectedSOPInstanceUID") or "")
