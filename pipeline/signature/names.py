"""What the columns of a feature table may be called, and how clinical cells are read."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from pipeline.records import ORIGINS, Origin

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
    """An origin in a sentence: `drawn`, `model-made`."""
    return "model-made" if origin == "model" else origin


def origins_in(cell: object) -> tuple[Origin, ...]:
    """Who made the regions of a row: `drawn`, or several as `drawn+measured`; an empty cell: drawn.

    Raises:
        ValueError: it names something else.
    """
    text = "" if cell is None else str(cell).strip()
    words = ["drawn"] if text in ("", "nan", "NaN", "NA", "None") else [word.strip() for word in text.split("+")]
    unknown = [word for word in words if word not in ORIGINS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no origin of a region ({', '.join(ORIGINS)})")
    return tuple(o for o in ORIGINS if o in words)


def clinical_number(name: str, value: object) -> float | None:
    """A clinical cell as a number: stages as 0..4, age in years, Ki-67 in percent; None where it is empty.

    Raises:
        ValueError: the cell is none of these.
    """
    text = "" if value is None else str(value).strip()
    if text in ("", "nan", "NaN", "NA", "None"):
        return None
    if name in ("clinical_t", "clinical_n"):
        stage = _STAGE.fullmatch(text.removesuffix(".0"))
        if stage is None:
            raise ValueError(f"{text!r} is no stage")
        return float(stage.group(1))
    number = float(text.removesuffix("%"))
    low, high = _RANGES.get(name, (float("-inf"), float("inf")))
    if not low <= number <= high:
        raise ValueError(f"{text!r} is not in {low:g}..{high:g}")
    return number


def clinical_category(name: str, value: object) -> str | None:
    """A molecular subtype in one spelling; None where it is empty or unclassified.

    Raises:
        ValueError: no subtype is called that.
    """
    text = "" if value is None else str(value).strip()
    key = re.sub(r"[^a-z0-9]", "", text.lower())
    if key in ("", "nan", "na", "none", "unclassified"):
        return None
    spellings: Mapping[str, str] = {
        "luminala": "luminal A",
        "luminalb": "luminal B",
        "luminalbher2negative": "luminal B",
        "luminalbher2positive": "luminal B",
        "her2positive": "HER2-positive",
        "her2": "HER2-positive",
        "her2enriched": "HER2-positive",
        "triplenegative": "triple-negative",
        "tnbc": "triple-negative",
        "basallike": "triple-negative",
    }
    if key not in spellings:
        raise ValueError(f"{text!r} is no {name.replace('_', ' ')}")
    return spellings[key]
