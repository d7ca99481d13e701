"""What the columns of a feature table may be called, and how clinical cells are read."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from pipeline.records import ORIGINS, Origin
from pipeline.signature.cells import is_missing, is_number, why_no_number

FEATURE: Final = re.compile(r"(t1c|t2|adc)\.(tumor|lymph_nodes)\.[A-Za-z0-9][\w.\-]*")
PROTOCOL: Final = "protocol."
EXTRACTION_HASH: Final = "extraction_hash"
# The settings that the hash stands for, as JSON; a table of the first defaults has no such column.
EXTRACTION: Final = "extraction_settings"
# The patient of a row under a key, and the key's id. They say nothing of the table: one under another key is the same.
PATIENT: Final = ("patient_key", "patient_key_id")
# Who made the regions of a row. Where all were drawn, it says nothing of the table: without the column it is the same.
ORIGIN: Final = "origin"
# Taken for the id without being asked; `id` and the like may be mere row numbers, so they must be named with --id.
ID_COLUMNS: Final = ("patient_id", "study_uid")

SUBTYPES: Final = ("luminal A", "luminal B", "HER2-positive", "triple-negative")
CLINICAL: Final = ("age_years", "clinical_t", "clinical_n", "ki67_percent", "molecular_subtype")
# Columns a table may carry beside features, label and clinical variables; evaluation reads them, training does not.
COMPANIONS: Final = frozenset(
    (
        *ID_COLUMNS, *PATIENT, ORIGIN, "id", "ID", "case_id", "exam_id",
        *CLINICAL, EXTRACTION_HASH, EXTRACTION, "settings_hash", "series_uid", "laterality", "side", "status",
        "er_percent", "pr_percent", "er", "pr", "her2", "er_status", "pr_status", "her2_status",
        "manufacturer", "scanner", "model", "field_strength_t", "centre", "site", "cohort", "split",
        "menopausal_status", "breast_density",
        "positive_nodes", "reading", "survival_time", "survival_event",
    )
)  # fmt: skip
_STAGE: Final = re.compile(r"(?:y?[cp])?\s*[TN]?\s*([0-4])(?:[a-dm]|mi|is)*(?:\(.*\))?", re.IGNORECASE)
_NOT_ASSESSED: Final = re.compile(r"y?[cp]?[TN]X(\(.*\))?", re.IGNORECASE)
_SIGN: Final = re.compile(r"her-?2(?:/?neu)?\s*\(?\s*(?:([+])|[-\u2212\u2013](?!\s*[a-z]))\s*\)?", re.IGNORECASE)
_UNCLASSIFIED: Final = frozenset(("unclassified", "unknown", "notassessed", "notavailable"))
_HER2_STATES: Final = ("her2positive", "her2pos", "her2negative", "her2neg")
_SPELLINGS: Final[Mapping[str, str]] = {
    **{f"{luminal}{state}": "luminal A" for luminal in ("luminala", "luma") for state in ("", *_HER2_STATES[2:])},
    **{f"{luminal}{state}": "luminal B" for luminal in ("luminalb", "lumb") for state in ("", *_HER2_STATES)},
    **dict.fromkeys(
        (
            "her2",
            "her2positive",
            "her2pos",
            "her2enriched",
            "her2e",
            "her2overexpressing",
            "her2overexpression",
            "her2positivenonluminal",
            "her2posnonluminal",
            "nonluminalher2positive",
        ),
        "HER2-positive",
    ),
    **dict.fromkeys(("triplenegative", "tripleneg", "tnbc", "tn", "basal", "triplenegativeductal"), "triple-negative"),
}
_RANGES: Final = {"age_years": (0.0, 120.0), "ki67_percent": (0.0, 100.0)}


def is_feature(name: str) -> bool:
    """Whether `name` is `{sequence}.{roi}.{pyradiomics name}`."""
    return FEATURE.fullmatch(name) is not None


def group_of(name: str) -> str:
    """`{sequence}.{roi}` of one of our features; the leading letters and digits before the number of a foreign one.

    The paper's `TT2FS44` belongs to `TT2FS`.
    """
    if is_feature(name):
        sequence, roi, _ = name.split(".", 2)
        return f"{sequence}.{roi}"
    return re.sub(r"\d+$", "", name) or name


def strange(columns: Iterable[str], allowed: Iterable[str], made: Collection[str] | None = None) -> list[str]:
    """Columns that are neither features, companions, protocol facts nor in `allowed`.

    `made`: every feature that the extraction makes; then a feature of another name is strange as well. None: a name
    need only have the form of one.
    """
    known = set(allowed) | COMPANIONS
    return [
        c
        for c in columns
        if not (c in known or c.startswith(PROTOCOL) or (is_feature(c) if made is None else c in made))
    ]


def with_hints(columns: Sequence[str], known: Iterable[str], count: int = 10) -> str:
    """The first columns, each with the known name that is nearest to it, and how many more there are."""
    spelt = {_letters(name): name for name in known}
    # Every name of an extraction is too many to measure each one's distance.
    near = list(spelt.values()) if len(spelt) < 500 else []
    shown = []
    for column in columns[:count]:
        same = spelt.get(_letters(column))
        hint = [same] if same else difflib.get_close_matches(column, near, 1)
        shown.append(f"{column} (did you mean {hint[0]}?)" if hint else column)
    return ", ".join(shown) + (f" and {len(columns) - count} more" if len(columns) > count else "")


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def origin_word(origin: Origin) -> str:
    """An origin in a sentence: `drawn`, `model-made`, `enhancement-based`."""
    return {"model": "model-made", "enhancement": "enhancement-based"}.get(origin, origin)


def origins_in(cell: object) -> tuple[Origin, ...]:
    """Who made the regions of a row: `drawn`, or several as `drawn+measured`; an empty cell: drawn.

    Raises:
        ValueError: it names something else.
    """
    text = "" if cell is None else str(cell).strip()
    words = ["drawn"] if is_missing(text) else [word.strip() for word in text.split("+")]
    unknown = [word for word in words if word not in ORIGINS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no origin of a region ({', '.join(ORIGINS)})")
    return tuple(o for o in ORIGINS if o in words)


def clinical_number(name: str, value: object) -> float | None:
    """A clinical cell as a number: stages as 0..4, age in years, Ki-67 in percent; None where it is empty.

    A stage that could not be assessed (TX, NX) is none. A bound (`<5`) is no value.

    Raises:
        ValueError: the cell is none of these.
    """
    text = "" if value is None else str(value).strip()
    if is_missing(text):
        return None
    if name in ("clinical_t", "clinical_n"):
        if _NOT_ASSESSED.fullmatch(text):
            return None
        stage = _STAGE.fullmatch(text.removesuffix(".0"))
        if stage is None:
            why = why_no_number(text)
            raise ValueError(f"{text!r} is no stage{f': {why}' if why else ''}")
        return float(stage.group(1))
    number_text = text.removesuffix("%").strip()
    if not is_number(number_text):
        why = why_no_number(text)
        raise ValueError(f"{text!r} is no number{f': {why}' if why else ''}")
    number = float(number_text)
    low, high = _RANGES.get(name, (float("-inf"), float("inf")))
    if not low <= number <= high:
        raise ValueError(f"{text!r} is not in {low:g}..{high:g}")
    return number


def clinical_category(name: str, value: object) -> str | None:
    """A molecular subtype in one spelling; None where it is empty or unclassified.

    `Luminal B (HER2-)` and the words of St Gallen (`luminal A-like`) and of intrinsic subtypes (`basal-like`) are read.

    Raises:
        ValueError: no subtype is called that.
    """
    text = "" if value is None else str(value).strip()
    # The sign of HER2- and HER2+ is a word; every other hyphen only joins.
    spelt = _SIGN.sub(lambda m: " her2 positive " if m.group(1) == "+" else " her2 negative ", text.lower())
    words = re.findall(r"[a-z0-9]+", spelt)
    key = "".join(word for word in words if word not in ("like", "subtype", "type"))
    if is_missing(text) or key in _UNCLASSIFIED:
        return None
    if key not in _SPELLINGS:
        raise ValueError(f"{text!r} is no {name.replace('_', ' ')}")
    return _SPELLINGS[key]
