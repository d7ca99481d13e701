"""The object that an archive holds under a UID of ours, compared with our own file.

"Exists already" may be the object that we sent before an answer was lost, or another one. So the object is fetched, by
WADO-RS or C-GET, where the archive offers that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal  # element values of any VR

from pydicom import DataElement, Dataset, dcmread
from pydicom.multival import MultiValue
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from daemon.export.association import Address
from daemon.export.multipart import boundary_of, first_part
from daemon.export.send_outcome import Item
from daemon.export.web import dicomweb_client, read_at_most
from daemon.fetch import dimse
from daemon.fetch.plan import Batch, NotInArchive
from daemon.spool.part10 import header
from pipeline.dicom_file import bounded_reading
from pipeline.dicom_file.bounded_reading import MALFORMED
from pipeline.errors import NotDicom, PeerUnreachable

Finding = Literal["equal", "other", "absent", "unknown"]

ACCEPTED_FORMS = 'multipart/related; type="application/dicom"; transfer-syntax=*, application/dicom'
MISSING = (404, 410)
# An archive may keep uncompressed what we sent compressed.
EXTRA_BYTES = 64 << 20
PIXEL_DATA, CHARACTER_SET = 0x7FE00010, 0x00080005


def compare_with_archive(address: Address, item: Item) -> Finding:
    """Whether the archive has this very object. `unknown`: it cannot be fetched, or it cannot be compared.

    Raises PeerUnreachable where the archive does not answer.
    """
    if address.dicomweb_url is not None:
        data = _fetch_by_wado(address, item)
        if data is not None:
            return compare(item, data) if data else "absent"
    if "get" in address.can:
        data = _fetch_by_get(address, item)
        if data:
            return compare(item, data)
    return "unknown"


def _fetch_by_wado(address: Address, item: Item) -> bytes | None:
    """The file; empty where the archive has none; None where it does not hand it out or sends something else."""
    path = f"/studies/{item.study_uid}/series/{item.series_uid}/instances/{item.sop_instance_uid}"
    limit = item.path.stat().st_size + EXTRA_BYTES
    with dicomweb_client(address, 2 * limit) as client, client.get(path, ACCEPTED_FORMS) as response:
        if response.status_code in MISSING:
            return b""
        if response.status_code >= 500 and response.status_code != 501:
            raise PeerUnreachable(f"{address.name} answers WADO-RS with HTTP status {response.status_code}")
        if response.status_code != 200:
            return None
        body = read_at_most(response, limit)
    if len(body) > limit:
        return None
    if body[128:132] == b"DICM":
        return body
    boundary = boundary_of(response.headers.get("Content-Type", ""))
    return first_part(body, boundary) if boundary is not None else None


def _fetch_by_get(address: Address, item: Item) -> bytes | None:
    """The object as a file, by C-GET; None where none comes."""
    received: list[bytes] = []

    def keep(sop_class: str, sop_uid: str, syntax: str, data: bytes) -> None:
        if sop_uid == item.sop_instance_uid:
            received.append(header(sop_class, sop_uid, syntax, "") + data)

    batch = Batch(item.study_uid, item.series_uid, (item.sop_instance_uid,))
    syntaxes = list(dict.fromkeys([item.transfer_syntax_uid, ExplicitVRLittleEndian, ImplicitVRLittleEndian]))
    try:
        limit = item.path.stat().st_size + EXTRA_BYTES
        dimse.get(address, [batch], keep, [item.sop_class_uid], syntaxes, max_instance_bytes=limit)
    except (dimse.RetrieveRefused, NotInArchive):
        return None
    return received[0] if received else None


def compare(item: Item, data: bytes) -> Finding:
    """Compare our file with theirs: `equal` if every element that we sent is unchanged.

    Elements that an archive adds at the top level do not count. An element that it coerced counts as unchanged where
    its Original Attributes Sequence has our value. Pixels that were compressed are not decoded here: then the finding
    is `unknown`.
    """
    try:
        ours, theirs = dcmread(item.path), bounded_reading.whole(data)
        if str(theirs.get("SOPInstanceUID", "")) != item.sop_instance_uid:
            return "unknown"
        original_attributes = list(_original_attributes(theirs))
        for element in ours:
            if element.tag.element == 0 or element.tag == CHARACTER_SET or _empty(element):
                continue
            our_element, their_element = element, theirs.get(element.tag)
            if their_element is not None and _same(our_element, their_element):
                continue
            if any(element.tag in old and _same(our_element, old[element.tag]) for old in original_attributes):
                continue
            recoded = theirs.file_meta.get("TransferSyntaxUID") != item.transfer_syntax_uid
            if element.tag == PIXEL_DATA and their_element is not None and recoded and _compressed(theirs):
                return "unknown"
            return "other"
    except (*MALFORMED, NotDicom):
        return "unknown"
    return "equal"


def _compressed(ds: Dataset) -> bool:
    return bool(UID(str(ds.file_meta.get("TransferSyntaxUID", ""))).is_compressed)


def _original_attributes(ds: Dataset) -> Iterator[Dataset]:
    """The Original Attributes Sequence: what the archive changed, with the values before that."""
    for item in ds.get("OriginalAttributesSequence") or ():
        yield from item.get("ModifiedAttributesSequence") or ()


def _empty(element: DataElement) -> bool:
    return element.value in (None, "", b"") or (element.VR == "SQ" and not element.value)


def _same(ours: DataElement, theirs: DataElement) -> bool:
    if (ours.VR == "SQ") != (theirs.VR == "SQ"):
        return False
    if ours.VR == "SQ":
        return len(ours.value) == len(theirs.value) and all(
            _same_item(a, b) for a, b in zip(ours.value, theirs.value, strict=True)
        )
    return bool(_normalised(ours.value) == _normalised(theirs.value))


def _same_item(ours: Dataset, theirs: Dataset) -> bool:
    """Whether two sequence items have the same elements. An archive may add elements at the top level only."""
    tags = {e.tag for ds in (ours, theirs) for e in ds if e.tag.element != 0 and not _empty(e)}
    return all(tag in ours and tag in theirs and _same(ours[tag], theirs[tag]) for tag in tags)


def _normalised(value: object) -> object:
    """A value without what its encoding adds: padding, spaces at the end, a list around a single value."""
    if isinstance(value, MultiValue | list):
        return _normalised(value[0]) if len(value) == 1 else [_normalised(v) for v in value]
    if isinstance(value, bytes):
        return value.rstrip(b"\0 ")
    if isinstance(value, int | float):
        return float(value)
    return str(value).rstrip("\0 ") if value is not None else ""
