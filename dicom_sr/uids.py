"""UIDs of results, derived and never drawn: one UID, one content (PS3.3 C.12.1.1.1, PS3.5 9).

The UID of an object derives from everything that its bytes depend on. The same input therefore gives the same UIDs with
the same bytes, and whatever changes a byte changes the UIDs of the whole set, whose objects name each other.
"""

from __future__ import annotations

import hashlib
import uuid

from pipeline.records import Role, Side
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


def of_device(result: StudyResult, root: str) -> str:
    """Device UID of the algorithm: another one whenever the signature was trained anew."""
    return derived(root, "device", signature_hash(result))


def of_finding(root: str, study_uid: str, role: Role, side: Side | None, part: str = "") -> str:
    """Tracking UID of a finding whose segment has none: the same in every object and revision of the study.

    Args:
        part: what tells findings of one role and side apart, for example the segment; empty: all of them together.
    """
    return derived(root, "tracking", study_uid, role, side or "", part)
