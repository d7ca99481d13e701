"""The one object that the health check of this installation stores in its own listener, and how it is recognised.

Its SOP Instance UID holds the time and a code that only a holder of `health.key` in the spool can make; everything else
in it follows from that UID. So an AE title alone proves nothing: a data set is the probe's own if its UID is fresh and
genuine and its bytes are those that follow from it, and then it cannot hold anything about anybody.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.dsutils import encode

from daemon.spool import Description

# A Basic Text SR by axrad is a result of ours that has come back: it is stored, recorded, and nothing else happens.
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
MANUFACTURER = "axrad"
KEY_NAME, KEY_BYTES = "health.key", 32
# How far apart the clocks of listener and probe may be, and how late an object may come.
FRESH_S = 600.0


def key_of(root: Path) -> bytes:
    """The key in a spool, made by whoever needs it first. Raises OSError where it can be neither read nor made."""
    path = root / KEY_NAME
    with suppress(FileNotFoundError):
        return path.read_bytes()
    temporary = root / f".{KEY_NAME}.{secrets.token_hex(6)}"
    fd = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        with suppress(FileExistsError):  # another process was faster
            os.link(temporary, path)
    finally:
        temporary.unlink()
    return path.read_bytes()


def new_uid(key: bytes, now: float | None = None) -> str:
    """A UID of this moment: 48 bits of time, 74 bits of code, and the six that mark a UUID of version 8 (RFC 9562)."""
    moment = int((time.time() if now is None else now) * 1000).to_bytes(6, "big")
    raw = bytearray(moment + hmac.digest(key, b"axrad health probe" + moment, hashlib.sha256)[:10])
    raw[6] = 0x80 | raw[6] & 0x0F
    raw[8] = 0x80 | raw[8] & 0x3F
    return f"2.25.{int.from_bytes(raw, 'big')}"


def is_genuine(key: bytes, uid: str, now: float) -> bool:
    """Whether a holder of the key made this UID within FRESH_S of `now` (seconds since 1970)."""
    number = uid.removeprefix("2.25.")
    if len(key) != KEY_BYTES or number == uid or not (number.isascii() and number.isdigit()) or len(number) > 39:
        return False
    try:
        made_at = int.from_bytes(UUID(int=int(number)).bytes[:6], "big") / 1000
    except ValueError:
        return False
    return abs(now - made_at) <= FRESH_S and hmac.compare_digest(new_uid(key, made_at), uid)


def data_set(uid: str) -> Dataset:
    """The object of this UID: a structured report about nobody."""
    report = Dataset()
    report.SOPClassUID = BASIC_TEXT_SR
    report.SOPInstanceUID = uid
    report.StudyInstanceUID = _derived("study", uid)
    report.SeriesInstanceUID = _derived("series", uid)
    report.Modality = "SR"
    report.Manufacturer = MANUFACTURER
    report.PatientName = ""
    report.PatientID = ""
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return report


def _derived(kind: str, uid: str) -> str:
    return f"2.25.{UUID(bytes=hashlib.sha256(f'{kind} {uid}'.encode()).digest()[:16], version=4).int}"


def is_own(root: Path, description: Description, content: bytes) -> bool:
    """Whether an encoded data set is, byte for byte, what a probe with the key of this spool sends now."""
    uid = description.sop_instance_uid
    try:
        genuine = is_genuine(key_of(root), uid, time.time())
    except OSError:
        return False
    kind = (description.sop_class_uid, description.transfer_syntax_uid)
    if not genuine or kind != (BASIC_TEXT_SR, ExplicitVRLittleEndian):
        return False
    expected = encode(data_set(uid), is_implicit_vr=False, is_little_endian=True)
    return expected is not None and hmac.compare_digest(expected, content)
