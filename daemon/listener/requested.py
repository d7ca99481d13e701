"""Whether an instance that comes by a C-MOVE was asked for."""

from __future__ import annotations

from daemon.listener import first_elements
from daemon.spool.requested_moves import RequestedMoves

STUDY_UID, SERIES_UID = 0x0020000D, 0x0020000E
# Study and series may stand behind long lists of references.
HEAD_BYTES = 256 * 1024


def was_requested(moves: RequestedMoves, sop_uid: str, head: bytes, transfer_syntax_uid: str) -> bool:
    """By its UID, or as part of a study or series that was asked for as a whole. What cannot be told was not."""
    return moves.names(sop_uid) or moves.has_whole(*study_and_series(head, transfer_syntax_uid))


def study_and_series(head: bytes, transfer_syntax_uid: str) -> tuple[str, str]:
    """From the first bytes of an encoded data set; empty where they are not there, or cannot be told."""
    uids = {STUDY_UID: "", SERIES_UID: ""}
    try:
        for element in first_elements.up_to(SERIES_UID, head, transfer_syntax_uid, HEAD_BYTES):
            if element.tag in uids:
                uids[int(element.tag)] = first_elements.text_of(element).strip("\0 ")
    except Exception:  # noqa: BLE001 - whatever pydicom raises for bytes that are cut off or no data set
        return "", ""
    return uids[STUDY_UID], uids[SERIES_UID]
