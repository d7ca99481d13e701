"""A word on a proposal of ours: the same segmentation with a block that says what was decided and by whom, sealed.

Only a block whose seal is this installation's counts. The file lies in the spool alone and is never sent, so that the
archive's copy of the proposal goes on counting for nothing. What was decided is read again from the spool where the
ledger is lost.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args  # Any: elements of pydicom, of any type

from pydicom.dataset import Dataset

from pipeline.catalog.own_mark import GROUP, marked_digest
from pipeline.records import ORIGINS, Origin

CREATOR = "AXRAD ACCEPTANCE"
NOT_VERIFIED = "Proposed by software, not verified"
_TEXT, _SEAL = 0x01, 0x02
# A reader stands for it; nobody does, and a preliminary result is made of it; a reader does not want it.
Word = Literal["accepted", "preliminary", "rejected"]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """`by`: whose word it is; empty for a preliminary one. `origin`: of the proposal. `numbers`: which segments.
    `others`: segments for which somebody else stands, and who.
    """

    by: str
    origin: Origin
    numbers: frozenset[int]
    word: Word = "accepted"
    others: tuple[tuple[int, str], ...] = ()

    def by_whom(self, number: int) -> str:
        return dict(self.others).get(number, self.by)


def quality_words(words: str) -> str:
    """The Segment Description of a proposed region. `words`: how sure it is, and how it was made."""
    return f"{NOT_VERIFIED}; {words}"


def good_numbers(ds: Any) -> frozenset[int]:
    """The segments of a proposal whose regions are of quality good, by their descriptions."""
    good = quality_words("good, ")
    return frozenset(
        int(s.SegmentNumber) for s in ds.SegmentSequence if str(s.get("SegmentDescription") or "").startswith(good)
    )


def put_acceptance(ds: Dataset, by: Mapping[int, str], origin: Origin, secret: bytes, word: Word = "accepted") -> None:
    """Put a word on some segments of a proposal, a data set with our mark.

    Args:
        by: the segments, and whose word it is.
        secret: of the site's key.
    """
    numbers = sorted(by)
    first = by[numbers[0]]
    others = {str(number): by[number] for number in numbers if by[number] != first}
    stated: dict[str, object] = {"by": first, "origin": origin, "numbers": numbers}
    stated |= {"others": others} if others else {}
    # Without it, a block is what it was before there were other words.
    stated |= {} if word == "accepted" else {"word": word}
    text = json.dumps(stated, ensure_ascii=True)
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
        word = stated.get("word", "accepted")
        if word not in get_args(Word):
            return None
        others = tuple((int(n), str(who)) for n, who in dict(stated.get("others") or {}).items())
        return Acceptance(
            str(stated["by"]), stated["origin"], frozenset(int(n) for n in stated["numbers"]), word, others
        )
    except (ValueError, KeyError, TypeError):
        return None


def is_sealed(ds: Any, secret: bytes) -> bool:
    """Whether this installation said just this of just these voxels."""
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
