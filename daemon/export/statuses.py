"""DICOM statuses of storing, as a sender reads them."""

from __future__ import annotations

# PS3.4 B.2.3: stored, with a remark (coercion, elements discarded, data set does not match the class). PS3.7 C.5.5:
# 0x0111, there is an instance of this UID already: ours, since a UID of ours stands for these bytes.
STORED_WITH_REMARK = (0xB000, 0xB006, 0xB007, 0x0111)
STORED = (0x0000, *STORED_WITH_REMARK)
# PS3.7 annex C: processing failure, SOP class not supported, not authorised. Somebody may mend that on the other side.
NOT_SUPPORTED = 0x0122
MENDABLE = (0x0110, NOT_SUPPORTED, 0x0124)
# PS3.4 B.2.3: the first byte of a refusal that says the archive is out of resources.
OUT_OF_RESOURCES = 0xA7


def is_stored(status: int | None) -> bool:
    """Whether the object is there."""
    return status in STORED
