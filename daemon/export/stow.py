"""STOW-RS (PS3.18 10.5): the other way to send, byte for byte as well; QIDO-RS to find it there again."""

from __future__ import annotations

from collections.abc import Sequence

import requests

from daemon.export.association import Address
from daemon.export.send_outcome import Item, Sent
from daemon.export.statuses import EXISTS, EXISTS_ALREADY, Content
from daemon.export.store_response import NamedInstance, StoreResponse, read_response
from daemon.export.web import dicomweb_client, raise_for_status, values_of

# PS3.18 10.5.3.1: 409, nothing was stored, and the body tells why of each instance.
CONFLICT = 409
STUDY_UID, SOP_UID = "0020000D", "00080018"


def send(address: Address, items: Sequence[Item]) -> tuple[Sent, ...]:
    """Store all items with one request; the outcome of each, by its UID in the answer.

    An item that the answer does not name has no status and the content `unnamed`: it may be stored or not. Raises
    PeerUnreachable, ObjectNotTaken or ObjectRefused where nothing was taken.
    """
    with dicomweb_client(address) as client:
        response, body = client.store_bytes([item.path.read_bytes() for item in items])
    if not 200 <= response.status_code < 300 and response.status_code != CONFLICT:
        raise_for_status(address, response.status_code)
    answer = read_response(body)
    return tuple(_outcome_of(item, answer, response) for item in items)


def listed(address: Address, sent: Sequence[Sent]) -> list[Sent]:
    """QIDO-RS: which of these the archive lists at instance level, under this study."""
    listed_items = []
    with dicomweb_client(address) as client:
        for entry in sent:
            filters = {"SOPInstanceUID": entry.kept_as}
            answers = client.search_for_instances(
                entry.item.study_uid, entry.item.series_uid, search_filters=filters, limit=1
            )
            if any(
                entry.kept_as in values_of(a, SOP_UID)
                and entry.item.study_uid in (values_of(a, STUDY_UID) or [entry.item.study_uid])
                for a in answers
            ):
                listed_items.append(entry)
    return listed_items


def _outcome_of(item: Item, answer: StoreResponse | None, response: requests.Response) -> Sent:
    if answer is not None:
        for failed in answer.failed:
            if failed.sop_instance_uid == item.sop_instance_uid:
                return Sent(item, EXISTS if failed.status in EXISTS_ALREADY else failed.status)
        # A conflict means that nothing was stored; if its body contradicts that, the archive is asked later.
        for stored in answer.stored if response.status_code != CONFLICT else ():
            if _is_ours(item, stored):
                kept_uid = stored.sop_instance_uid
                return Sent(item, stored.status, kept_uid if kept_uid != item.sop_instance_uid else None)
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    answer_summary = f"HTTP status {response.status_code}" + (f" and {kind}"[:60] if kind.isascii() and kind else "")
    return Sent(item, None, content=Content.UNNAMED, answer=answer_summary)


def _is_ours(item: Item, stored: NamedInstance) -> bool:
    """Whether an instance in the answer is this item: by its UID, or with that as the original of another UID.

    Where the answer names class or study, they must be the item's.
    """
    if stored.sop_class_uid not in ("", item.sop_class_uid) or stored.study_uid not in ("", item.study_uid):
        return False
    return item.sop_instance_uid in (stored.sop_instance_uid, stored.original)
