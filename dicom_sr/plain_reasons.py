"""Reasons in the words of a radiologist: no feature names, UIDs or hashes. `result.json` holds them as they were."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dicom_sr.codes import SEQUENCE_NAMES
from dicom_sr.feature_codes import FeatureName, concept
from dicom_sr.language import Words
from pipeline.records import Role, Sequence, Side
from pipeline.result import StudyResult

_FEATURE = re.compile(r"(?<![A-Za-z0-9])(?:t1c|t2|adc)\.(?:tumor|lymph_nodes)\.[A-Za-z0-9_-]+")
# `adc.lymph_nodes`, `tumor.R`, `lymph_nodes`; no setting (`roi.lymph_nodes`) and no word (`tumor`).
_REGION = re.compile(
    r"(?<![\w.])(?:(t1c|t2|adc)\.)?(tumor(?=\.[LR]\b)|(?<=\.)tumor|lymph_nodes|(?<=\.)lymph nodes)"
    r"(?:\.([LR]))?(?!\w|\.\w)"
)
_UID = r"(?:2\.25\.\d{4,}|[0-2](?:\.(?:0|[1-9]\d*)){4,})"
# Of an object or an instance, which a reader cannot look up by its UID.
_OF_OBJECT = re.compile(rf"(?: of| in| on| from)? \(?{_UID}\)?(?![\d.]*\d)")
_HASH = re.compile(r" \((?=[0-9a-f]*[0-9])[0-9a-f]{12,64}\)")


def plain(text: str, result: StudyResult, say: Words, code: str = "") -> str:
    """`text` in this language, without what only machines read. `code`: that of the reason, where it has one."""
    return plain_words(say.told(text, code), result, say)


def plain_words(text: str, result: StudyResult, say: Words) -> str:
    """`text`, which is in this language already, without what only machines read."""
    described = {choice.series_uid: choice.description for choice in result.sequences.values()}
    text = _FEATURE.sub(lambda match: _feature(match[0], say), text)
    text = _REGION.sub(lambda match: _region(match, say), text)
    series = rf"(?<![A-Za-z]){say('series_word')} ({_UID})(?![\d.]*\d)"
    text = re.sub(series, lambda match: _series(match[1], described, say), text)
    return _HASH.sub("", _OF_OBJECT.sub("", text))


def region_words(role: Role, say: Words) -> str:
    return say(f"region_{role}")


def placed_region(sequence: Sequence | None, role: Role, side: Side | None, say: Words) -> str:
    """`ADC left lymph nodes`."""
    where = say("of_side", side=say("left" if side == "L" else "right")) if side else ""
    region = where + region_words(role, say)
    return say("on_sequence", sequence=SEQUENCE_NAMES[sequence], region=region) if sequence else region


def feature_words(name: FeatureName, say: Words) -> tuple[str, str]:
    """Where and what: ("ADC lymph nodes, wavelet LLH", "Correlation of GLCM")."""
    coded = concept(name)
    what = coded[0].meaning if coded is not None else f"{name.family} {name.feature}"
    where = say("on_sequence", sequence=SEQUENCE_NAMES[name.sequence], region=region_words(name.role, say))
    if name.filter == "original":
        return where, what
    return say("wavelet", where=where, filter=name.filter.replace("-", " ")), what


def _feature(name: str, say: Words) -> str:
    parsed = FeatureName.parse(name)
    if parsed is None:
        return name
    where, what = feature_words(parsed, say)
    return say("measurement_of", what=what, where=where)


def _region(match: re.Match[str], say: Words) -> str:
    named: dict[str | None, Sequence] = {"t1c": "t1c", "t2": "t2", "adc": "adc"}
    sides: dict[str | None, Side] = {"L": "L", "R": "R"}
    role: Role = "tumor" if match[2] == "tumor" else "lymph_nodes"
    return placed_region(named.get(match[1]), role, sides.get(match[3]), say)


def _series(uid: str, described: Mapping[str, str], say: Words) -> str:
    description = described.get(uid)
    return say("series_named", description=description) if description else say("a_series")
