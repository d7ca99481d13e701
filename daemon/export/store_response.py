"""The Store Instances Response Module (PS3.18 I.2), read from the body whatever its header says.

Archives answer in JSON or in XML, under half a dozen content types; proxies in front of them answer in HTML under any
of these. So only the body decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any  # Any: DICOM JSON from outside, of any shape until it is looked at
from xml.etree import ElementTree

from daemon.export.multipart import first_part
from daemon.export.statuses import CANNOT_PROCESS, WARNING, is_stored
from daemon.export.web import values_of
from daemon.spool.uids import is_uid

FAILED, STORED, ORIGINAL, MODIFIED = "00081198", "00081199", "04000561", "04000550"
CLASS_UID, INSTANCE_UID, SOP_UID = "00081150", "00081155", "00080018"
STUDY_UID, RETRIEVE_URL = "0020000D", "00081190"
WARNING_REASON, FAILURE_REASON = "00081196", "00081197"


@dataclass(frozen=True, slots=True)
class NamedInstance:
    """One instance that an answer names. `original`: the UID under which it was sent, where the archive changed it.

    `status`: a DICOM status; of a failed instance never one that means stored. `study_uid`: where it is, if the answer
    says so.
    """

    sop_class_uid: str
    sop_instance_uid: str
    original: str
    status: int
    study_uid: str = ""


@dataclass(frozen=True, slots=True)
class StoreResponse:
    """What an archive says that it stored, and what not."""

    stored: tuple[NamedInstance, ...]
    failed: tuple[NamedInstance, ...]


def read_response(body: bytes) -> StoreResponse | None:
    """The instances that the body names; None where it is no such answer. Malformed items are passed over."""
    body = _first_part(body)
    text = body.lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n")
    try:
        document = _from_xml(body.lstrip()) if text.startswith(b"<") else json.loads(body)
    except (ValueError, RecursionError, ElementTree.ParseError):
        return None
    answers = [
        dataset for dataset in (document if isinstance(document, list) else [document]) if isinstance(dataset, dict)
    ]
    if not answers:
        return None
    stored = tuple(n for a in answers for i in values_of(a, STORED) if (n := _stored(i, a)) is not None)
    failed = tuple(n for a in answers for i in values_of(a, FAILED) if (n := _failed(i)) is not None)
    return StoreResponse(stored, failed)


def _first_part(body: bytes) -> bytes:
    """The first part of a multipart message (RFC 2046 5.1); any other body unchanged."""
    if not body.startswith((b"--", b"\r\n--")):
        return body
    boundary = body.strip().partition(b"\r\n")[0].removeprefix(b"--")
    part = first_part(body, boundary)
    return body if part is None else part


def _stored(item: Any, answer: Any) -> NamedInstance | None:
    uid = _text(item, INSTANCE_UID)
    reason = _number(item, WARNING_REASON) or 0
    # Named as stored together with the reason of a failure: a contradiction, so it proves nothing.
    if not is_uid(uid) or _number(item, FAILURE_REASON) or reason >> 12 not in (0x0, 0xB):
        return None
    # A warning that the standard does not know is a warning all the same.
    status = 0 if not reason else reason if is_stored(reason) else WARNING
    study = _text(item, STUDY_UID) or _study_in(_text(item, RETRIEVE_URL)) or _study_in(_text(answer, RETRIEVE_URL))
    return NamedInstance(_text(item, CLASS_UID), uid, _original_uid(item), status, study)


def _study_in(url: str) -> str:
    """The study in the address under which an archive hands out what it stored (PS3.18 10.4.1)."""
    after = url.rpartition("/studies/")[2] if "/studies/" in url else ""
    uid = re.split("[/?#]", after, maxsplit=1)[0]
    return uid if is_uid(uid) else ""


def _failed(item: Any) -> NamedInstance | None:
    uid, reason = _text(item, INSTANCE_UID), _number(item, FAILURE_REASON)
    status = CANNOT_PROCESS if reason is None or is_stored(reason) else reason
    return NamedInstance(_text(item, CLASS_UID), uid, "", status) if uid else None


def _original_uid(item: Any) -> str:
    """The UID that was sent, where the archive says that it changed it (Original Attributes Sequence)."""
    for original in values_of(item, ORIGINAL):
        for modified in values_of(original, MODIFIED):
            if uid := _text(modified, SOP_UID):
                return uid
    return ""


def _text(item: Any, tag: str) -> str:
    values = values_of(item, tag)
    return values[0].strip().rstrip("\0") if values and isinstance(values[0], str) else ""


def _number(item: Any, tag: str) -> int | None:
    values = values_of(item, tag)
    try:
        return int(values[0]) & 0xFFFF if values else None
    except (TypeError, ValueError, OverflowError):
        return None


def _from_xml(body: bytes) -> Any:
    """The Native DICOM Model (PS3.19 A.1) as the JSON one. Other XML has no attributes: it names no instance."""
    root = ElementTree.fromstring(body)
    models = [root] if _name(root) == "NativeDicomModel" else [e for e in root if _name(e) == "NativeDicomModel"]
    return [_attributes(model, 0) for model in models]


def _attributes(node: ElementTree.Element, depth: int) -> dict[str, Any]:
    if depth > 8:
        return {}
    return {
        child.get("tag", "").upper(): {"Value": list(_values(child, depth))}
        for child in node
        if _name(child) == "DicomAttribute"
    }


def _values(attribute: ElementTree.Element, depth: int) -> Iterator[Any]:
    for child in attribute:
        if _name(child) == "Item":
            yield _attributes(child, depth + 1)
        elif _name(child) == "Value":
            yield (child.text or "").strip()


def _name(node: ElementTree.Element) -> str:
    """Without the namespace, which archives spell in several ways."""
    return node.tag.rpartition("}")[2]
