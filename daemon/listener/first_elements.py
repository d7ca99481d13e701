"""Data elements from the first bytes of an encoded data set, in whatever transfer syntax."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import data_element_generator

from daemon.listener import data_set_uids


def up_to(last: int, head: bytes, transfer_syntax_uid: str, limit: int) -> Iterator[RawDataElement | DataElement]:
    """The elements up to the tag `last`, of at most `limit` inflated bytes.

    Raises:
        Exception: whatever pydicom raises for bytes that are cut off or no data set.
    """
    if transfer_syntax_uid in data_set_uids.DEFLATED:
        head = data_set_uids.inflated(head, limit)
    yield from data_element_generator(
        BytesIO(head),
        is_implicit_VR=transfer_syntax_uid == data_set_uids.IMPLICIT,
        is_little_endian=transfer_syntax_uid != data_set_uids.BIG_ENDIAN,
        stop_when=lambda tag, vr, length: tag > last,
    )


def text_of(element: RawDataElement | DataElement) -> str:
    raw = element.value
    return raw.decode("ascii", "replace").strip("\0 ") if isinstance(raw, bytes) else str(raw or "")
