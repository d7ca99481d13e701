"""What an archive holds under a UID of ours, compared with our own file.

"Exists already" may mean what we sent before its answer was lost, or anything else. Only the object itself tells: it is
fetched by WADO-RS or C-GET where the archive offers that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydicom import DataElement, Dataset, dcmread
from pydicom.multival import MultiValue
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from daemon.export.association import Address
from daemon.export.multipart import boundary_of, parts
from daemon.export.send_outcome import Item
from daemon.export.web import limited, opened
from daemon.fetch import dimse
from daemon.fetch.plan import Batch, NotInArchive
from daemon.spool.part10 import header
from pipeline.dicom_file import bounded_reading
from pipeline.dicom_file.bounded_reading import MALFORMED
from pipeline.errors import NotDicom, PeerUnreachable

Finding = Literal["equal", "other", "absent", "unknown"]

ANY_FORM = 'multipart/related; type="application/dicom"; transfer-syntax=*, application/dicom'
MISSING = (404, 410)
# Several times what we sent: an archive may keep it uncompressed.
ROOM_BYTES = 64 << 20
PIXEL_DATA, CHARACTER_SET = 0x7FE00010, 0x00080005


def look(address: Address, item: Item) -> Finding:
    """Whether the archive has this very object. `unknown`: it cannot be read there, or nothing says whether it is.

    Raises PeerUnreachable where the archive does not answer.
    """
    if address.dicomweb_url is not None:
        data = _by_wado(address, item)
        if data is not None:
            return compared(item, data) if data else "absent"
    if "get" in address.can:
        data = _by_get(address, item)
        if data:
            return compared(item, data)
    return "unknown"


def _by_wado(address: Address, item: Item) -> bytes | None:
    """The file; empty where there is none; None where the archive does not give it out, or gives something else."""
    path = f"/studies/{item.study_uid}/series/{item.series_uid}/instances/{item.sop_instance_uid}"
    most = item.path.stat().st_size + ROOM_BYTES
    with opened(address) as client, client.get(path, ANY_FORM) as response:
        if response.status_code in MISSING:
            return b""
        if response.status_code >= 500 and response.status_code != 501:
            raise PeerUnreachable(f"{address.name} answers WADO-RS with HTTP status {response.status_code}")
        if response.status_code != 200:
            return None
        body = limited(response, most)
    if len(body) > most:
        return None
    if body[128:132] == b"DICM":
        return body
    boundary = boundary_of(response.headers.get("Content-Type", ""))
    return _first_part(body, boundary) if boundary is not None else None


def _first_part(body: bytes, boundary: bytes) -> bytes | None:
    try:
        for part in parts(iter([body]), boundary):
            return part.read()
    except PeerUnreachable:
        pass
    return None


def _by_get(address: Address, item: Item) -> bytes | None:
    """The file, put together from what C-GET brings; None where it brings nothing."""
    came: list[bytes] = []

    def keep(sop_class: str, sop_uid: str, syntax: str, data: bytes) -> None:
        if sop_uid == item.sop_instance_uid:
            came.append(header(sop_class, sop_uid, syntax, "") + data)

    batch = Batch(item.study_uid, item.series_uid, (item.sop_instance_uid,))
    syntaxes = list(dict.fromkeys([item.transfer_syntax_uid, ExplicitVRLittleEndian, ImplicitVRLittleEndian]))
    try:
        dimse.get(address, [batch], keep, classes=[item.sop_class_uid], syntaxes=syntaxes)
    except (dimse.RetrieveRefused, NotInArchive):
        return None
    return came[0] if came else None


def compared(item: Item, data: bytes) -> Finding:
    """Our file against theirs: everything that we sent is there as we sent it, or as the archive says that we did.

    What an archive adds at the top level does not count; what it coerced counts as equal where its Original Attributes
    Sequence has our value. Pixels that were compressed are not decoded here: then it is unknown.
    """
    try:
        ours, theirs = dcmread(item.path), bounded_reading.whole(data)
        if str(theirs.get("SOPInstanceUID", "")) != item.sop_instance_uid:
            return "unknown"
        before = list(_originals(theirs))
        for element in ours:
            if element.tag.element == 0 or element.tag == CHARACTER_SET or _empty(element):
                continue
            mine, there = element, theirs.get(element.tag)
            if there is not None and _same(mine, there):
                continue
            if any(element.tag in old and _same(mine, old[element.tag]) for old in before):
                continue
            recoded = theirs.file_meta.get("TransferSyntaxUID") != item.transfer_syntax_uid
            if element.tag == PIXEL_DATA and there is not None and recoded and _compressed(theirs):
                return "unknown"
            return "other"
    except (*MALFORMED, NotDicom):
        return "unknown"
    return "equal"


def _compressed(ds: Dataset) -> bool:
    return bool(UID(str(ds.file_meta.get("TransferSyntaxUID", ""))).is_compressed)


def _originals(ds: Dataset) -> Iterator[Dataset]:
    """What the archive says was there before it changed it."""
    for item in ds.get("OriginalAttributesSequence") or ():
        yield from item.get("ModifiedAttributesSequence") or ()


def _empty(element: DataElement) -> bool:
    return element.value in (None, "", b"") or (element.VR == "SQ" and not element.value)


def _same(mine: DataElement, there: DataElement) -> bool:
    if (mine.VR == "SQ") != (there.VR == "SQ"):
        return False
    if mine.VR == "SQ":
        return len(mine.value) == len(there.value) and all(
            _same_item(a, b) for a, b in zip(mine.value, there.value, strict=True)
        )
    return bool(_plain(mine.value) == _plain(there.value))


def _same_item(mine: Dataset, there: Dataset) -> bool:
    """Below the top level nothing may be added either: an item more is another content."""
    tags = {e.tag for ds in (mine, there) for e in ds if e.tag.element != 0 and not _empty(e)}
    return all(tag in mine and tag in there and _same(mine[tag], there[tag]) for tag in tags)


def _plain(value: Any) -> Any:
    """Without what an encoding adds: padding, spaces at the end, one value or a list of one."""
    if isinstance(value, MultiValue | list):
        return _plain(value[0]) if len(value) == 1 else [_plain(v) for v in value]
    if isinstance(value, bytes):
        return value.rstrip(b"\0 ")
    if isinstance(value, int | float):
        return float(value)
    return str(value).rstrip("\0 ") if value is not None else ""
