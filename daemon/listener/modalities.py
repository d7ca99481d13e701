"""Which modality an instance is of, as its SOP class and its first bytes say."""

from __future__ import annotations

from daemon.listener import data_set_uids, first_elements

MODALITY = 0x00080060
_STORAGE = "1.2.840.10008.5.1.4.1.1."
# Classes that have one modality (PS3.3 C.7.3.1 and the modules of each IOD), by the part of the UID behind _STORAGE.
_CLASSES = {
    "CR": "1",
    "CT": "2 2.1 2.2",
    "DX": "1.1 1.1.1",
    "FID": "66.2",
    "KO": "88.59",
    "MG": "1.2 1.2.1 13.1.3 13.1.4 13.1.5",
    "MR": "4 4.1 4.2 4.3 4.4",
    "NM": "20",
    "PR": "11.1 11.2 11.3 11.4 11.5 11.6 11.7 11.8",
    "PT": "128 128.1 130",
    "REG": "66.1 66.3",
    "RTDOSE": "481.2",
    "RTIMAGE": "481.1",
    "RTPLAN": "481.5",
    "RTSTRUCT": "481.3",
    "SEG": "66.4 66.5 66.7",
    "US": "3.1 6.1 6.2",
}
_OF_CLASS = {_STORAGE + part: modality for modality, parts in _CLASSES.items() for part in parts.split()}
_REPORTS = _STORAGE + "88."


def of_class(sop_class_uid: str) -> str | None:
    """The one modality that instances of a class can have; None where they can have several."""
    if sop_class_uid in _OF_CLASS:
        return _OF_CLASS[sop_class_uid]
    return "SR" if sop_class_uid.startswith(_REPORTS) else None


def of_data_set(head: bytes, transfer_syntax_uid: str) -> str | None:
    """The Modality (0008,0060) in the first bytes of an encoded data set; None: not there, or it cannot be told."""
    try:
        for element in first_elements.up_to(MODALITY, head, transfer_syntax_uid, data_set_uids.HEAD_BYTES):
            if element.tag == MODALITY:
                return first_elements.text_of(element)
    except Exception:  # noqa: BLE001 - whatever pydicom raises for bytes that are cut off or no data set
        return None
    return None


def are_all_in(allowed: frozenset[str], sop_class_uid: str, head: bytes, transfer_syntax_uid: str) -> bool:
    """Whether class and data set both say that an instance is of an allowed modality. What cannot be told is not."""
    by_class = of_class(sop_class_uid)
    return by_class in (None, *allowed) and of_data_set(head, transfer_syntax_uid) in allowed
