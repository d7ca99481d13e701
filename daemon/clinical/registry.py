"""A registry of clinical facts in a CSV or JSON file, by accession number or patient id and issuer.

Columns (all optional but one way to tell the patient): patient_id, issuer, accession_number, age_years, clinical_t,
clinical_n, ki67_percent, molecular_subtype, er_percent, pr_percent, her2.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final  # Any: JSON from outside, of any shape until it is looked at

from daemon.clinical.facts import ClinicalFacts, Her2, Identity, Name, Receptors, all_missing, facts_from
from pipeline.errors import InputRejected
from pipeline.signature.names import clinical_category, clinical_number
from pipeline.signature.subtype import KI67_HIGH_PERCENT

_KEYS: Final = ("patient_id", "issuer", "accession_number")
_VALUES: Final = ("age_years", "clinical_t", "clinical_n", "ki67_percent", "molecular_subtype",
                  "er_percent", "pr_percent", "her2")  # fmt: skip
_HER2: Final[Mapping[str, Her2]] = {
    "positive": "positive", "pos": "positive", "+": "positive", "3+": "positive", "1": "positive",
    "negative": "negative", "neg": "negative", "-": "negative", "0": "negative", "1+": "negative",
}  # fmt: skip


@dataclass(frozen=True)
class Registry:
    """Rows as read, cells as text."""

    name: str
    rows: tuple[Mapping[str, str], ...]
    ki67_high_percent: float = KI67_HIGH_PERCENT

    def look_up(self, who: Identity) -> ClinicalFacts:
        """The facts of the one row for this exam (accession number), or else for this patient.

        A row without issuer holds for any issuer. Nothing is known where no row or several fit, or a cell cannot be
        read; the reason says which.
        """
        rows = self._rows(who)
        if not rows:
            return all_missing("not in the registry")
        if len(rows) > 1:
            return all_missing("several rows of the registry fit this patient")
        values, missing = _values(rows[0], self.ki67_high_percent)
        return facts_from(values, missing, "registry", "empty in the registry")

    def _rows(self, who: Identity) -> list[Mapping[str, str]]:
        by_exam = [r for r in self.rows if who.accession_number and r.get("accession_number") == who.accession_number]
        if by_exam:
            # the accession number of another patient is another site's number
            return [r for r in by_exam if not r.get("patient_id") or r["patient_id"] == who.patient_id]
        if not who.patient_id:
            return []
        mine = [r for r in self.rows if r.get("patient_id") == who.patient_id and not r.get("accession_number")]
        exact = [r for r in mine if r.get("issuer") == who.issuer]
        return exact or [r for r in mine if not r.get("issuer") or not who.issuer]


def load(path: Path, ki67_high_percent: float = KI67_HIGH_PERCENT) -> Registry:
    """Read a registry.

    Raises InputRejected, naming columns or row numbers (never a patient): unreadable, unknown columns, no key
    column, a row without key, or two rows for the same exam or patient.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputRejected(f"The clinical registry {path.name} cannot be read: {error.strerror}.") from None
    rows = _json_rows(path, data) if path.suffix.lower() == ".json" else _csv_rows(path, data)
    strange = sorted({key for row in rows for key in row} - {*_KEYS, *_VALUES})
    if strange:
        raise InputRejected(f"The clinical registry {path.name} has unknown columns: {', '.join(strange[:10])}.")
    keyless = [n for n, row in enumerate(rows, 1) if not (row.get("patient_id") or row.get("accession_number"))]
    if keyless:
        raise InputRejected(
            f"The clinical registry {path.name} has no patient_id or accession_number in rows {_list(keyless)}."
        )
    first_rows: dict[tuple[str, ...], int] = {}
    for n, row in enumerate(rows, 1):
        first = first_rows.setdefault(tuple(row.get(key, "") for key in _KEYS), n)
        if first != n:
            raise InputRejected(
                f"The clinical registry {path.name} has the same patient and exam in rows {first} and {n}."
            )
    return Registry(path.name, tuple(rows), ki67_high_percent)


def _csv_rows(path: Path, data: bytes) -> list[dict[str, str]]:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            reader = csv.DictReader(io.StringIO(data.decode(encoding)), strict=True)
            return [{(k or "?").strip(): str(v or "").strip() for k, v in row.items()} for row in reader]
        except UnicodeDecodeError:
            continue
        except csv.Error as error:
            raise InputRejected(f"The clinical registry {path.name} is no CSV table: {error}.") from None
    raise InputRejected(f"The clinical registry {path.name} is neither UTF-8 nor GB18030 text.")


def _json_rows(path: Path, data: bytes) -> list[dict[str, str]]:
    try:
        rows: Any = json.loads(data)
    except ValueError:
        raise InputRejected(f"The clinical registry {path.name} is no JSON document.") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputRejected(f"The clinical registry {path.name} must be a list of objects.")
    return [{str(k): "" if v is None else str(v).strip() for k, v in row.items()} for row in rows]


def _values(row: Mapping[str, str], ki67_high_percent: float) -> tuple[dict[Name, object], dict[str, str]]:
    """What one row tells, and why it does not tell the rest."""
    values: dict[Name, object] = {}
    missing: dict[str, str] = {}
    numbers: dict[str, float | None] = {}
    for name in ("age_years", "clinical_t", "clinical_n", "ki67_percent", "er_percent", "pr_percent"):
        try:
            numbers[name] = clinical_number("ki67_percent" if name.endswith("percent") else name, row.get(name))
        except ValueError:
            numbers[name] = None
            missing[name] = "not readable in the registry"
    values["age_years"], values["ki67_percent"] = numbers["age_years"], numbers["ki67_percent"]
    values["clinical_t"] = _whole(numbers["clinical_t"])
    values["clinical_n"] = _whole(numbers["clinical_n"])
    try:
        values["molecular_subtype"] = clinical_category("molecular_subtype", row.get("molecular_subtype"))
    except ValueError:
        missing["molecular_subtype"] = "not readable in the registry"
    else:
        if values["molecular_subtype"] is None and any(row.get(k) for k in ("er_percent", "pr_percent", "her2")):
            her2 = _HER2.get(row.get("her2", "").lower())
            receptors = Receptors(
                numbers["er_percent"], numbers["pr_percent"], her2=her2, ki67_high_percent=ki67_high_percent
            )
            values["molecular_subtype"], missing["molecular_subtype"] = receptors.subtype(numbers["ki67_percent"])
    return values, missing


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _list(rows: list[int]) -> str:
    return ", ".join(map(str, rows[:10])) + (f" and {len(rows) - 10} more" if len(rows) > 10 else "")
