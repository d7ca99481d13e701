"""Reasons in the words of a radiologist: no feature names, UIDs or hashes. `result.json` holds them as they were."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dicom_sr.codes import SEQUENCE_NAMES
from dicom_sr.feature_codes import FeatureName, concept
from pipeline.records import Role, Sequence
from pipeline.result import StudyResult

REGIONS: dict[Role, str] = {"tumor": "tumor", "lymph_nodes": "lymph nodes"}
_FEATURE = re.compile(r"\b(?:t1c|t2|adc)\.(?:tumor|lymph_nodes)\.[\w-]+")
_REGION = re.compile(r"\b(t1c|t2|adc)\.(tumor|lymph[_ ]nodes)\b")
_UID = r"(?:2\.25\.\d{4,}|[0-2](?:\.(?:0|[1-9]\d*)){4,})"
_SERIES = re.compile(rf"\bseries ({_UID})(?![\d.]*\d)")
# Of an object or an instance, which a reader cannot look up by its UID.
_OF_OBJECT = re.compile(rf"(?: of| in| on| from)? \(?{_UID}\)?(?![\d.]*\d)")
_HASH = re.compile(r" \((?=[0-9a-f]*[0-9])[0-9a-f]{12,64}\)")


def plain(text: str, result: StudyResult) -> str:
    """`text` without what only machines read."""
    described = {choice.series_uid: choice.description for choice in result.sequences.values()}
    text = _FEATURE.sub(lambda match: _feature(match[0]), text)
    text = _REGION.sub(lambda match: _region(match[1], match[2]), text)
    text = _SERIES.sub(lambda match: _series(match[1], described), text)
    return _HASH.sub("", _OF_OBJECT.sub("", text))


def feature_words(name: FeatureName) -> tuple[str, str]:
    """Where and what: ("ADC lymph nodes, wavelet LLH", "Correlation of GLCM")."""
    coded = concept(name)
    what = coded[0].meaning if coded is not None else f"{name.family} {name.feature}"
    where = f"{SEQUENCE_NAMES[name.sequence]} {REGIONS[name.role]}"
    return where if name.filter == "original" else f"{where}, {name.filter.replace('-', ' ')}", what


def _feature(name: str) -> str:
    parsed = FeatureName.parse(name)
    if parsed is None:
        return name
    where, what = feature_words(parsed)
    return f"{what} ({where})"


def _region(sequence: str, role: str) -> str:
    named: dict[str, Sequence] = {"t1c": "t1c", "t2": "t2", "adc": "adc"}
    return f"{SEQUENCE_NAMES[named[sequence]]} {role.replace('_', ' ')}"


def _series(uid: str, described: Mapping[str, str]) -> str:
    description = described.get(uid)
    return f"series '{description}'" if description else "a series"
