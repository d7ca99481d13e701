"""Which part of the body an exam shows, by its headers. Only an exam that is surely not of the breasts is excluded.

An exam that names the breast anywhere is one of the breasts; so is an exam in doubt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pipeline.catalog import Exam, InstanceFacts, SeriesFacts
from pipeline.errors import InputRejected
from pipeline.records import Role
from pipeline.vocabulary import Concept, add_pieces, built_in_table, concepts_of, normalise, site_table

BUILT_IN = "exam_rules.toml"
# What names the exam as a whole counts twice, anything else once; an exam elsewhere needs two, so that neither Body
# Part Examined, which is often a protocol's default, nor a coil alone decides.
OF_STUDY = ("StudyDescription", "RequestedProcedureDescription", "PerformedProcedureStepDescription")
ENOUGH = 2
# So many series that all name one part of the body count as much as the study's own name.
MANY_SERIES = 3
# The coil that lies in the table of a scanner, whatever is examined.
IN_THE_TABLE = "spine"
LOCALIZER = re.compile(r"(?<![a-z])(loc|locali[sz]er|scout|survey|pilot|topogram|plan|定位)")


@dataclass(frozen=True)
class ExamRules:
    """What names the breasts, and what names the other parts of the body."""

    ours: Mapping[str, Concept]
    elsewhere: Mapping[str, Concept]


@lru_cache(maxsize=8)
def exam_rules(site_file: Path | None = None) -> ExamRules:
    """The built-in rules, with a site's file (`assembly.exam_rules`) laid over them.

    Raises:
        InputRejected: the site's file cannot be read or breaks the form of the table.
    """
    tables = [built_in_table(BUILT_IN)]
    if site_file is not None:
        tables.append(site_table(site_file, "exam"))
    pieces: dict[str, str] = {}
    try:
        for table in tables:
            unknown = set(table) - {"piece", "ours", "elsewhere"}
            if unknown:
                raise ValueError(f"unknown table {sorted(unknown)[0]}")
            add_pieces(pieces, table.get("piece", {}))
        ours, elsewhere = (concepts_of([t.get(name, {}) for t in tables], pieces) for name in ("ours", "elsewhere"))
    except (KeyError, TypeError, ValueError, AttributeError, re.error) as error:
        raise InputRejected(f"the exam rules {site_file or ''} are not well formed: {error}") from error
    return ExamRules(ours, elsewhere)


def elsewhere(exam: Exam, rules: ExamRules, drawn: Iterable[Role] = ()) -> str | None:
    """Why an exam is surely not one of the breasts; None where it is or may be.

    `drawn`: roles of the exam's regions; an exam on which somebody has drawn a tumour or lymph nodes is evaluated. The
    sentence names a part of the body and where it stands, never a value of a header.
    """
    series = [s for s in exam.series if not _is_localizer(s)]
    if not series or any(drawn):
        return None
    by_source = _names_by_source(exam, series)
    texts = [text for values in by_source.values() for text in values]
    if any(concept.within(text) for concept in rules.ours.values() for text in texts):
        return None
    if any(_is_breast_like(s) for s in series):
        return None
    for part, concept in rules.elsewhere.items():
        where = {name for name, values in by_source.items() if values and _names_part(concept, name, values)}
        if part == IN_THE_TABLE:
            where -= {"the coil"}
        points = sum(
            2 if name == "the study" or _all_series_name(concept, name, by_source[name]) else 1 for name in where
        )
        if points >= ENOUGH:
            return (
                f"{' and '.join(sorted(where))} name{'s' if len(where) == 1 else ''} the {part}, and nothing the breast"
            )
    return None


def _all_series_name(concept: Concept, name: str, values: list[str]) -> bool:
    """Whether each of several series names a part of the body, as a technician does who names all by hand."""
    return name == "its series" and len(values) >= MANY_SERIES and all(concept.within(text) for text in values)


def _names_part(concept: Concept, name: str, values: list[str]) -> bool:
    """Whether a source names a part of the body; of series, half of them must."""
    naming = sum(concept.within(text) for text in values)
    return 2 * naming >= len(values) if name == "its series" else naming > 0


def _names_by_source(exam: Exam, series: list[SeriesFacts]) -> dict[str, list[str]]:
    """Everything in an exam's headers that may name a part of the body, by its source."""
    names = [f"{_text(s, 'SeriesDescription')} {_text(s, 'ProtocolName')}" for s in series]
    return {
        "the study": _distinct(exam.images, OF_STUDY),
        "the coil": _distinct(exam.images, ("ReceiveCoilName",)),
        "the body part": _distinct(exam.images, ("BodyPartExamined",)),
        "its series": [normalise(name) for name in names],
    }


def _distinct(instances: Iterable[InstanceFacts], keywords: tuple[str, ...]) -> list[str]:
    values = {str(v) for i in instances for k in keywords if (v := i.tags.get(k))}
    return [normalise(value) for value in sorted(values)]


def _text(series: SeriesFacts, keyword: str) -> str:
    value = series.tag(keyword)
    return " ".join(str(v) for v in value) if isinstance(value, list) else str(value or "")


def _is_localizer(series: SeriesFacts) -> bool:
    words = _text(series, "ImageType").upper().split()
    named = LOCALIZER.search(normalise(_text(series, "SeriesDescription")))
    return named is not None or bool({"LOCALIZER", "SCOUT"} & set(words))


def _is_breast_like(series: SeriesFacts) -> bool:
    """Acquired as breasts are: lying prone, or both sides at once."""
    position = _text(series, "PatientPosition").upper()
    both = {_text(series, "Laterality").upper(), _text(series, "ImageLaterality").upper()}
    return position.endswith("P") or "B" in both
