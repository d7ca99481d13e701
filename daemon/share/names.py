"""What may be asked of a shared spool: instances by UID and digest, and the files of a result by their fixed names."""

from __future__ import annotations

import re

from dicom_sr.kinds import MOST_NUMBERS, REPORT_KINDS, member

# What a token is for.
READ, WRITE = "read", "write"
SEGMENTATIONS = (
    *(f"union_{role}{side}" for role in ("tumor", "nodes") for side in ("", "_l", "_r")),
    *(f"seg_{sequence}" for sequence in ("t2", "adc")),
)
OBJECTS = (*REPORT_KINDS, "page", "pdf", "key_slices", "rejection", *SEGMENTATIONS)
_OTHERS = ("result.json", "panels.npz", "regions.npz", "rendered", "sets.json", "page.pdf", "page.png", "proposal.dcm")
_NAMES = {member(kind, report, n) for kind in OBJECTS for report in REPORT_KINDS for n in range(MOST_NUMBERS)}
RESULT_FILES = frozenset({*_OTHERS, *(f"{name}.dcm" for name in _NAMES)})
_REVISION = re.compile(r"[0-9A-Za-z-]{1,32}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


def is_digest(text: str) -> bool:
    return _DIGEST.match(text) is not None


def is_result_file(revision_id: str, name: str) -> bool:
    """An opaque id and a known name: nothing in either leads out of the folder."""
    return name in RESULT_FILES and _REVISION.match(revision_id) is not None
