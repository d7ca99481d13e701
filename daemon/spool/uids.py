"""UIDs as they arrive: text from a stranger, good for nothing until it has been looked at."""

from __future__ import annotations

import re

# PS3.5 9.1 without the rule on leading zeros, which real devices break and which harms nobody.
_UID = re.compile(r"[0-9]+(\.[0-9]+)*\Z")
MAX_LENGTH = 64


def is_uid(text: str) -> bool:
    """Digits and dots, components not empty, at most 64 characters."""
    return 0 < len(text) <= MAX_LENGTH and _UID.match(text) is not None
