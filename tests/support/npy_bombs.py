"""Files of arrays that declare more than they hold, for tests."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

from pipeline.signature import container


def npy(header: str, values: bytes) -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + values


def deflated(path: Path, size: int) -> Path:
    """A sound `.npz` of zeros: `size` bytes when inflated."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros.npy", "w") as member:
        member.write(npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size},), }}", b""))
        for _ in range(size // 2**20):
            member.write(bytes(2**20))
    return path


def signature_that_declares(shape: tuple[int, ...]) -> bytes:
    """The demonstration signature with digests that are right and an array whose header declares `shape`."""
    data = container.demonstration_path().read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = "z_mean.npy"
    members[name] = npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}", bytes(64))
    envelope = json.loads(members.pop(container.HEADER))
    envelope["arrays"][name] = hashlib.sha256(members[name]).hexdigest()
    envelope["digest"] = container._digest(envelope)
    members[container.HEADER] = json.dumps(envelope, sort_keys=True, indent=1, ensure_ascii=False).encode()
    return container._pack(members)
