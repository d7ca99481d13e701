"""A proposal of ours that somebody has accepted: the same segmentation with a block that says who, sealed by the site.

Only a block whose seal is this installation's counts. The file lies in the spool alone and is never sent, so that the
archive's copy of the proposal goes on counting for nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any  # Any: elements of pydicom, of any type

from pydicom.dataset import Dataset

from pipeline.catalog.own_mark import GROUP, marked_digest
from pipeline.records import ORIGINS, Origin

CREATOR = "AXRAD ACCEPTANCE"
_TEXT, _SEAL = 0x01, 0x02


@dataclass(frozen=True, slots=True)
class Acceptance:
    """`by`: who stands for it. `origin`: of the proposal. `numbers`: the segments that were accepted."""

    by: str
    origin: Origin
    numbers: frozenset[int]


def put_acceptance(ds: Dataset, by: str, origin: Origin, numbers: Iterable[int], secret: bytes) -> None:
    """Accept some segments of a proposal, a data set with our mark. `secret`: of the site's key."""
    text = json.dumps({"by": by, "origin": origin, "numbers": sorted(numbers)}, ensure_ascii=True)
    block = ds.private_block(GROUP, CREATOR, create=True)
    block.add_new(_TEXT, "UT", text)
    block.add_new(_SEAL, "LO", _seal(ds, text, secret))


def acceptance_of(ds: Any) -> Acceptance | None:
    """What a block says, whoever sealed it; None where there is none that can be read."""
    text = _value(ds, _TEXT)
    try:
        stated = json.loads(text) if text else None
        if not isinstance(stated, dict) or stated["origin"] not in ORIGINS:
            return None
        return Acceptance(str(stated["by"]), stated["origin"], frozenset(int(n) for n in stated["numbers"]))
    except (ValueError, KeyError, TypeError):
        return None


def is_sealed(ds: Any, secret: bytes) -> bool:
    """Whether this installation accepted just these segments of just these voxels."""
    text = _value(ds, _TEXT)
    return bool(text) and hmac.compare_digest(_value(ds, _SEAL).encode(), _seal(ds, text, secret).encode())


def _seal(ds: Any, text: str, secret: bytes) -> str:
    about = "\0".join((str(ds.get("SOPInstanceUID", "")), marked_digest(ds), text))
    return hmac.new(secret, f"axrad acceptance\0{about}".encode(), hashlib.sha256).hexdigest()


def _value(ds: Any, offset: int) -> str:
    for place in range(0x10, 0x20):
        creator = ds.get((GROUP, place))
        if creator is not None and str(creator.value).strip() == CREATOR:
            element = ds.get((GROUP, (place << 8) + offset))
            value = element.value if element is not None else ""
            text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
            return text.strip("\0 ")
    return ""
