"""UIDs of results, derived and never drawn: the same input, signature and settings give the same UIDs."""

from __future__ import annotations

import hashlib
import uuid

from pipeline.result import StudyResult

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_OID, "axrad.result/1")


def derived(root: str, *parts: str) -> str:
    """A UID that depends on `parts` alone: under 2.25 a UUID of version 5 (PS3.5 B.2), else digits under `root`."""
    key = "\0".join(parts)
    if root == "2.25":
        return f"2.25.{uuid.uuid5(_NAMESPACE, key).int}"
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big")
    return f"{root}.{number}"[:64].rstrip(".")


def signature_hash(result: StudyResult) -> str:
    """The signature's content hash, as its record states it, else its name and version."""
    for key in ("hash", "sha256", "digest"):
        value = result.signature.get(key)
        if isinstance(value, str) and value:
            return value
    names = {part.prediction.signature for _, part in result.parts() if part.prediction is not None}
    return "+".join(sorted(names))


def of_result(result: StudyResult, root: str, *kind: str) -> str:
    """UID of one thing (a series, an instance, an observation) of this result."""
    return derived(root, result.study_uid, result.input_digest, signature_hash(result), result.settings_hash, *kind)


def of_device(result: StudyResult, root: str) -> str:
    """Device UID of the algorithm: another one whenever the signature was trained anew."""
    return derived(root, "device", signature_hash(result))
