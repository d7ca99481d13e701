"""What the columns of a feature table may be called, and how clinical cells are read."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Final

from pipeline.errors import InputRejected

FEATURE: Final = re.compile(r"(t1c|t2|adc)\.(tumor|lymph_nodes)\.[A-Za-z0-9][\w.\-]*")
PROTOCOL: Final = "protocol."
EXTRACTION_HASH: Final = "extraction_hash"
# The settings that the hash stands for, as JSON; a table of the first defaults has no such column.
EXTRACTION: Final = "extraction_settings"
# The patient of a row under a key, and the key's id. They say nothing of the table: one under another key is the same.
PATIENT: Final = ("patient_key", "patient_key_id")
# Taken for the id without being asked; `id` and the like may be mere row numbers, so they must be named with --id.
ID_COLUMNS: Final = ("patient_id", "study_uid")

SUBTYPES: Final = ("luminal A", "luminal B", "HER2-positive", "triple-negative")
CLINICAL: Final = ("age_years", "clinical_t", "clinical_n", "ki67_percent", "molecular_subtype")
# Columns a table may carry beside features, label and clinical variables; evaluation reads them, training does not.
COMPANIONS: Final = frozenset(
    (
        *ID_COLUMNS, *PATIENT, "id", "ID", "case_id", "exam_id",
        *CLINICAL, EXTRACTION_HASH, EXTRACTION, "settings_hash", "series_uid", "laterality", "side", "status",
        "er_percent", "pr_percent", "er", "pr", "her2", "er_status", "pr_status", "her2_status",
        "manufacturer", "scanner", "model", "field_strength_t", "centre", "site", "cohort", "split",
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


def check(columns: Iterable[str], allowed: Iterable[str], place: str) -> None:
    """Refuse columns that are neither features, companions, protocol facts nor in `allowed`, naming each."""
    known = set(allowed) | COMPANIONS
    strange = [c for c in columns if not (is_feature(c) or c in known or c.startswith(PROTOCOL))]
    if not strange:
        return
    hints = [
        f"{c} (did you mean {near[0]}?)" if (near := difflib.get_close_matches(c, known, 1)) else c for c in strange
    ]
    shown = ", ".join(hints[:10]) + (f" and {len(hints) - 10} more" if len(hints) > 10 else "")
    raise InputRejected(
        f"{place}: column names that are not ours: {shown}. Features are named sequence.roi.feature, for example "
        "t1c.tumor.original_shape_Sphericity; leave other columns out with --ignore COLUMN.",
        code="foreign-columns",
    )


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
