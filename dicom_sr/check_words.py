"""Names of quality checks in words: `kept_volume.adc.lymph_nodes.L` as "kept volume, ADC left lymph nodes"."""

from __future__ import annotations

import re

from dicom_sr.codes import SEQUENCE_NAMES
from dicom_sr.language import Words
from dicom_sr.plain_reasons import placed_region
from pipeline.records import SEQUENCES, Role, Side

_ROLES: tuple[Role, ...] = ("tumor", "lymph_nodes")
_SIDES: tuple[Side, ...] = ("L", "R")
_SEGMENT = re.compile(r"segment_(\d+)")


def check_words(name: str, say: Words) -> str:
    """What was checked, then of what. A check of another version is told by its own words."""
    sentences = say.table["checks"]
    what, *of = re.split(r"[. ]", name)
    if what not in sentences:
        return sentences.get(name.replace(" ", "_")) or _of([what, *of], say)
    return sentences[what].format(of=_of(of, say))


def _of(words: list[str], say: Words) -> str:
    """A region with its side and sequence, a segment, or whatever else a check is of."""
    sequence = next((s for s in SEQUENCES if s in words), None)
    role = next((r for r in _ROLES if r in words), None)
    side = next((s for s in _SIDES if s in words), None)
    others = [_other(word, say) for word in words if word not in (sequence, role, side)]
    if role is not None:
        return say.listed([placed_region(sequence, role, side, say), *others], "comma")
    return say.listed([*([SEQUENCE_NAMES[sequence]] if sequence else []), *others], "comma")


def _other(word: str, say: Words) -> str:
    segment = _SEGMENT.fullmatch(word)
    return say("segment", number=segment[1]) if segment else say.named(word).replace("_", " ")
