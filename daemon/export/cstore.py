"""C-STORE of finished objects, byte for byte as they were rendered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.filereader import read_file_meta_info
from pynetdicom import _config

from daemon.export.peer import Address, associated
from pipeline.errors import ExamRejected, PeerUnreachable

# The file's data set goes out as it lies on disk; nothing is decoded or encoded again.
_config.STORE_SEND_CHUNKED_DATASET = True

# PS3.4 B.2.3: stored, with a remark (coercion, elements discarded, data set does not match the class).
STORED_WITH_REMARK = (0xB000, 0xB006, 0xB007)


class ObjectRefused(ExamRejected):
    """The destination refuses this object for good."""

    code = "object-refused"


@dataclass(frozen=True, slots=True)
class Sent:
    """One object that the destination says it has stored."""

    sop_class_uid: str
    sop_instance_uid: str
    status: int


def send(address: Address, files: Sequence[Path]) -> tuple[Sent, ...]:
    """Send all files over one association.

    Raises PeerUnreachable where trying again may help (no answer, out of resources 0xA7xx), ObjectRefused where not.
    """
    metas = [read_file_meta_info(path) for path in files]
    contexts = [(str(m.MediaStorageSOPClassUID), [str(m.TransferSyntaxUID)]) for m in metas]
    sent = []
    with associated(address, list(dict.fromkeys((a, tuple(t)) for a, t in contexts))) as association:
        for path, meta in zip(files, metas, strict=True):
            status = association.send_c_store(path)
            sent.append(
                Sent(str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID), judge(address, status))
            )
    return tuple(sent)


def judge(address: Address, status: object) -> int:
    """The status code if the object is stored; otherwise the error that fits."""
    code = getattr(status, "Status", None)
    if code is None:
        raise PeerUnreachable(f"{address.name} broke off or did not answer in time")
    if code == 0 or code in STORED_WITH_REMARK:
        return int(code)
    if code >> 8 == 0xA7 or code in (0x0110, 0x0122, 0x0124):
        raise PeerUnreachable(f"{address.name} cannot take it now (status 0x{code:04X})")
    raise ObjectRefused(f"{address.name} refuses the object with status 0x{code:04X}")
