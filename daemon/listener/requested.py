"""Whether an instance that comes by a C-MOVE was asked for."""

from __future__ import annotations

from io import BytesIO

from pydicom.filereader import data_element_generator

from daemon.listener import data_set_uids
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
        if transfer_syntax_uid in data_set_uids.DEFLATED:
            head = data_set_uids.inflated(head, HEAD_BYTES)
        elements = data_element_generator(
            BytesIO(head),
            is_implicit_VR=transfer_syntax_uid == data_set_uids.IMPLICIT,
            is_little_endian=transfer_syntax_uid != data_set_uids.BIG_ENDIAN,
            stop_when=lambda tag, vr, length: tag > SERIES_UID,
        )
        for element in elements:
            if element.tag in uids:
                raw = element.value
                text = raw.decode("ascii", "replace") if isinstance(raw, bytes) else str(raw or "")
                uids[int(element.tag)] = text.strip("\0 ")
    except Exception:  # noqa: BLE001 - whatever pydicom raises for bytes that are cut off or no data set
        return "", ""
    return uids[STUDY_UID], uids[SERIES_UID]
