"""STOW-RS (PS3.18 10.5): the other way to send, byte for byte as well; QIDO-RS to find it there again."""

from __future__ import annotations

from collections.abc import Sequence

import requests

from daemon.export.association import Address
from daemon.export.send_outcome import Content, Item, Sent
from daemon.export.statuses import EXISTS, EXISTS_ALREADY
from daemon.export.store_response import Named, StoreResponse, read
from daemon.export.web import opened, refuse, values_of

# PS3.18 10.5.3.1: 409, nothing was stored, and the body tells why of each instance.
CONFLICT = 409
STUDY_UID, SOP_UID = "0020000D", "00080018"


def send(address: Address, items: Sequence[Item]) -> tuple[Sent, ...]:
    """Store all items with one request; what the answer says of each by its UID.

    An item that an answer does not name has no status and the content `unnamed`: it may be there or not. Raises
    PeerUnreachable, NotNow or ObjectRefused where nothing was taken.
    """
    with opened(address) as client:
        response, body = client.store_bytes([item.path.read_bytes() for item in items])
    if not 200 <= response.status_code < 300 and response.status_code != CONFLICT:
        refuse(address, response.status_code)
    answer = read(body)
    return tuple(_of(item, answer, response) for item in items)


def listed(address: Address, sent: Sequence[Sent]) -> list[Sent]:
    """QIDO-RS: which of these the archive lists at instance level, under this study."""
    found = []
    with opened(address) as client:
        for one in sent:
            filters = {"SOPInstanceUID": one.kept_as}
            answers = client.search_for_instances(
                one.item.study_uid, one.item.series_uid, search_filters=filters, limit=1
            )
            if any(
                one.kept_as in values_of(a, SOP_UID)
                and one.item.study_uid in (values_of(a, STUDY_UID) or [one.item.study_uid])
                for a in answers
            ):
                found.append(one)
    return found


def _of(item: Item, answer: StoreResponse | None, response: requests.Response) -> Sent:
    if answer is not None:
        for failed in answer.failed:
            if failed.sop_instance_uid == item.sop_instance_uid:
                return Sent(item, EXISTS if failed.status in EXISTS_ALREADY else failed.status)
        # A conflict says that nothing was stored; one whose body says otherwise is settled by a look at the archive.
        for stored in answer.stored if response.status_code != CONFLICT else ():
            if _is_ours(item, stored):
                kept = stored.sop_instance_uid
                return Sent(item, stored.status, kept if kept != item.sop_instance_uid else None)
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    said = f"HTTP status {response.status_code}" + (f" and {kind}"[:60] if kind.isascii() and kind else "")
    return Sent(item, None, content=Content.UNNAMED, answer=said)


def _is_ours(item: Item, stored: Named) -> bool:
    """Named by our UID, or with ours as the original of another; in our study, where the answer says in which."""
    if stored.sop_class_uid not in ("", item.sop_class_uid) or stored.study_uid not in ("", item.study_uid):
        return False
    return item.sop_instance_uid in (stored.sop_instance_uid, stored.original)
