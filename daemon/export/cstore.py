"""C-STORE of finished objects, byte for byte as they were rendered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any  # pynetdicom ships no types

from pynetdicom import _config, evt

from daemon.export.association import Address, associated
from daemon.export.send_outcome import Item, Sent
from daemon.export.statuses import NOT_SUPPORTED, is_stored
from pipeline.errors import ExamRejected, PeerUnreachable

# The file's data set goes out as it lies on disk; nothing is decoded or encoded again.
_config.STORE_SEND_CHUNKED_DATASET = True


def send(address: Address, items: Sequence[Item]) -> tuple[Sent, ...]:
    """Send all items over one association with just the contexts that they need; the outcome of each.

    An item whose context is not accepted has status 0x0122; one that was to follow a broken association has none.
    Raises PeerUnreachable if there is no association.
    """
    contexts = dict.fromkeys((i.sop_class_uid, i.transfer_syntax_uid) for i in items)
    last_response = _LastResponse()
    sent = []
    with associated(
        address,
        [(abstract, [transfer]) for abstract, transfer in contexts],
        all_contexts=False,
        evt_handlers=[(evt.EVT_DIMSE_RECV, last_response.record)],
    ) as association:
        accepted = {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts}
        for item in items:
            if (item.sop_class_uid, item.transfer_syntax_uid) not in accepted:
                sent.append(Sent(item, NOT_SUPPORTED))
            elif not association.is_established:
                sent.append(Sent(item, None))
            else:
                sent.append(_send_one(association, item, last_response))
    return tuple(sent)


def _send_one(association: Any, item: Item, last_response: _LastResponse) -> Sent:
    last_response.affected_uid = ""
    try:
        status = getattr(association.send_c_store(item.path), "Status", None)
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
