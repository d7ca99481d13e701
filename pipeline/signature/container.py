"""The signature file: one uncompressed zip with `signature.json` and one `.npy` per array.

Bytes depend on the content alone (fixed timestamps, sorted members), so the file's SHA-256 names it. No pickle:
arrays are read with `allow_pickle=False` and checked against the digests in the header's envelope.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from pipeline.bounded_arrays import array_of
from pipeline.errors import InputRejected
from pipeline.signature import intact_content
from pipeline.signature.record import Header, Signature
from pipeline.signature.whole_files import write_atomically

HEADER = "signature.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_DTYPES = ("float64", "int32", "uint8")
SUFFIX = ".axsig"
MAX_FILE_BYTES = 512 * 1024**2


def demonstration_path() -> Path:
    """The signature that ships with axrad, trained on synthetic exams."""
    return Path(__file__).parent / "data" / "demonstration.axsig"


def to_bytes(signature: Signature) -> bytes:
    """The file's bytes: the same for the same content, on every run."""
    members = {f"{name}.npy": _npy(array) for name, array in signature.arrays.items()}
    envelope: dict[str, object] = {
        "signature": signature.header.model_dump(mode="json", by_alias=True),
        "arrays": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    }
    envelope["digest"] = _digest(envelope)
    members[HEADER] = json.dumps(envelope, sort_keys=True, indent=1, ensure_ascii=False).encode()
    return _pack(members)


def save(signature: Signature, path: Path) -> Signature:
    """Write the file, whole or not at all; returns the signature with its SHA-256."""
    data = to_bytes(signature)
    write_atomically(path, data)
    return Signature(signature.header, signature.arrays, hashlib.sha256(data).hexdigest())


def load(path: Path, sha256: str | None = None) -> Signature:
    """Read and verify a signature file.

    Raises:
        InputRejected: it cannot be read, was altered, or is not the content that `sha256` names.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputRejected(f"{path.name} is too large for a signature", code="signature-unreadable")
        data = path.read_bytes()
    except OSError as error:
        raise InputRejected(
            f"cannot read the signature {path}: {error.strerror}", code="signature-unreadable"
        ) from error
    return from_bytes(data, path.name, sha256)


def from_bytes(data: bytes, name: str, sha256: str | None = None) -> Signature:
    """`load` from memory; `name` is used in messages."""
    digest = hashlib.sha256(data).hexdigest()
    if sha256 is not None and digest != sha256:
        raise InputRejected(f"{name} is not the signature {sha256[:12]}: it was altered", code="signature-altered")
    try:
        members = _members(data)
        if _pack(members) != data:
            raise ValueError("its bytes are not those that were written")
        envelope = json.loads(members.pop(HEADER))
        if not isinstance(envelope, dict):
            raise ValueError("its header is no object")
        if envelope.pop("digest") != _digest(envelope):
            raise ValueError("its header was altered")
        _verify(members, envelope["arrays"])
        arrays = {member.removesuffix(".npy"): _array(content) for member, content in members.items()}
        signature = Signature(Header.model_validate(envelope["signature"]), arrays, digest)
        intact_content.check(signature)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise InputRejected(f"{name} is no signature: {place}: {problem['msg']}", code="signature-unreadable") from None
    except (
        zipfile.BadZipFile,
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        MemoryError,
    ) as error:
        raise InputRejected(f"{name} is no intact signature: {error}", code="signature-altered") from error
    return signature


def _pack(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o644 << 16
            info.create_system = 3
            archive.writestr(info, members[name])
    return buffer.getvalue()


def _digest(envelope: Mapping[str, object]) -> str:
    facts = {"signature": envelope["signature"], "arrays": envelope["arrays"]}
    return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _npy(array: npt.NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        # Members are stored as they are: what has more bytes than the file overlaps, or is not there.
        if sum(i.file_size for i in infos) > len(data) or any(i.compress_type != zipfile.ZIP_STORED for i in infos):
            raise ValueError("its members are compressed or declare more than the file has")
        if len({i.filename for i in infos}) != len(infos):
            raise ValueError("a member occurs twice")
        return {i.filename: archive.read(i) for i in infos}


def _verify(members: Mapping[str, bytes], digests: Mapping[str, object]) -> None:
    if set(members) != set(digests):
        raise ValueError("its arrays are not those its header lists")
    for name, content in members.items():
        if hashlib.sha256(content).hexdigest() != digests[name]:
            raise ValueError(f"the array {name} was altered")


def _array(content: bytes) -> npt.NDArray[np.generic]:
    array = array_of(content)
    if array.dtype.name not in _DTYPES or not np.isfinite(array).all():
        raise ValueError("an array is not of finite numbers")
    array.setflags(write=False)
    return array
