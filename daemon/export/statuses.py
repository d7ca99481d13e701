"""DICOM statuses of storing, as a sender reads them, and what is known of an object beyond them."""

from __future__ import annotations

from enum import StrEnum

# PS3.4 B.2.3: stored, with a remark (coercion, elements discarded, data set does not match the class).
WARNING = 0xB000
STORED = (0x0000, WARNING, 0xB006, 0xB007)
# PS3.7 C.5.5: there is an instance of this UID already. It may be what we sent before an answer was lost, or anything
# else: that proves nothing. 0xB00E is what some cloud archives answer to STOW-RS instead.
EXISTS = 0x0111
EXISTS_ALREADY = (EXISTS, 0xB00E)
# PS3.7 annex C: processing failure, SOP class not supported, not authorised. Somebody may mend that on the other side.
NOT_SUPPORTED = 0x0122
MENDABLE = (0x0110, NOT_SUPPORTED, 0x0124)
CANNOT_PROCESS = 0xC000
# PS3.4 B.2.3: the first byte of a refusal of a data set that does not match its class.
NOT_OF_CLASS = 0xA9
# PS3.4 B.2.3: the first byte of a refusal that says the archive is out of resources.
OUT_OF_RESOURCES = 0xA7


class Content(StrEnum):
    """What is known of an object beyond its status; empty where the status is enough."""

    # An object of this UID was at the destination already: the same, another, not compared; or announced but absent.
    EQUAL = "equal"
    OTHER = "other"
    UNCHECKED = "unchecked"
    ABSENT = "absent"
    # The answer does not name it.
    UNNAMED = "unnamed"


# The destination has the object. Whether one that was not compared counts depends on the destination's `proof`.
PRESENT = (Content.EQUAL, Content.UNCHECKED)


def is_stored(status: int | None) -> bool:
    """Whether this status says that the object was stored now."""
    return status in STORED


def is_present(status: int | None, content: str) -> bool:
    """Whether the destination has the object, so that it need not be sent (again)."""
    return is_stored(status) or content in PRESENT


def refuses_class(status: int | None) -> bool:
    """Whether this status refuses the SOP class of an object, so that the same in another class may be taken."""
    return status is not None and (status == NOT_SUPPORTED or status >> 8 == NOT_OF_CLASS)
