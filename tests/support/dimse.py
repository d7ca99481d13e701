"""Data sets and PDUs for tests of the receiving side."""

from __future__ import annotations

import struct
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
IMPLICIT_LE = "1.2.840.10008.1.2"


def encoded(data_set: Dataset, transfer_syntax_uid: str = EXPLICIT_LE) -> bytes:
    """The data set's bytes, without preamble and file meta."""
    syntax = UID(transfer_syntax_uid)
    buffer = BytesIO()
    file = DicomIO(buffer)
    file.is_implicit_VR = syntax.is_implicit_VR
    file.is_little_endian = syntax.is_little_endian
    write_dataset(file, data_set)
    return buffer.getvalue()


def mr_image(uid: str = "1.2.3", *, pixels: bytes = b"\1\2" * 16, sop_class_uid: str = MR_IMAGE) -> Dataset:
    """A tiny image: what identifies it, and pixels that tell two of them apart."""
    image = Dataset()
    image.SOPClassUID = sop_class_uid
    image.SOPInstanceUID = uid
    image.PatientName = "Secret^Person"
    image.PatientID = "SECRET-ID"
    image.StudyInstanceUID = "1.2.4"
    image.SeriesInstanceUID = "1.2.5"
    image.Modality = "MR"
    image.Rows, image.Columns = 4, 4
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.SamplesPerPixel, image.PixelRepresentation, image.PhotometricInterpretation = 1, 0, "MONOCHROME2"
    image.PixelData = pixels
    image["PixelData"].VR = "OW"
    return image


def pdv(context_id: int, control: int, value: bytes) -> bytes:
    """A presentation data value item."""
    return struct.pack(">IBB", len(value) + 2, context_id, control) + value


def p_data_tf(*items: bytes) -> bytes:
    """A P-DATA-TF PDU of such items."""
    body = b"".join(items)
    return struct.pack(">BBI", 4, 0, len(body)) + body


def command(**elements: object) -> bytes:
    """A command set in implicit VR little endian; keywords are element numbers as `e0002="1.2"`."""
    body = b""
    for name, value in sorted(elements.items()):
        raw = struct.pack("<H", value) if isinstance(value, int) else str(value).encode()
        raw += b"\0" * (len(raw) % 2)
        body += struct.pack("<HHI", 0, int(name[1:], 16), len(raw)) + raw
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def store_command(
    uid: str = "1.2.3", *, sop_class_uid: str = MR_IMAGE, message_id: int = 7, data: bool = True
) -> bytes:
    """A C-STORE-RQ command set."""
    return command(e0002=sop_class_uid, e0100=1, e0110=message_id, e0700=0, e0800=0x0001 if data else 0x0101, e1000=uid)
