"""Names of patients in molecular tables: TCGA barcodes shortened to the patient, and one sample for each."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pipeline.research.tables.row_names import as_text

# Project, tissue source site, participant; then sample type with vial, portion, plate, centre. R writes points.
_BARCODE = re.compile(
    r"(TCGA)[-._]([A-Z0-9]{2})[-._]([A-Z0-9]{4})(?:[-._](\d{2})(?:[A-Z]?)(?:[-._].*)?)?", re.IGNORECASE
)
PRIMARY = "01"  # "primary solid tumour" in TCGA's table of sample types


@dataclass(frozen=True)
class Samples:
    """Which position of a table is which patient's.

    `positions`: patient → position of the sample that is used. `missing`: patients of the cohort without a sample, or
    with one that has no value. `others`: names of other patients, or of no patient. `other_tissue`: samples of the
    cohort that are no primary tumour by their barcode. `repeated`: further samples of a patient, left out.
    """

    positions: dict[str, int]
    missing: int
    others: int
    other_tissue: int
    repeated: int
    contradictory: tuple[int, ...]


def patient_of(name: object) -> str:
    """The patient of a sample: the first three parts of a TCGA barcode with hyphens, any other name as it is."""
    text = as_text(name)
    barcode = _BARCODE.fullmatch(text)
    return "-".join(barcode.group(1, 2, 3)).upper() if barcode else text


def is_barcode(name: object) -> bool:
    """Whether a name is a TCGA barcode of a patient or of a sample."""
    return _BARCODE.fullmatch(as_text(name)) is not None


def samples_of(names: Sequence[object], cohort: Collection[str]) -> Samples:
    """One sample for each patient of the cohort.

    By TCGA barcodes only primary tumours count, and of several the one whose barcode sorts first (vial A before B,
    the lower portion and plate). Names that are no barcodes and occur twice are `contradictory`: their positions.
    """
    by_patient: dict[str, list[tuple[str, int]]] = {}
    others = other_tissue = 0
    for position, name in enumerate(names):
        patient, barcode = patient_of(name), _BARCODE.fullmatch(as_text(name))
        if patient not in cohort:
            others += 1
        elif barcode and barcode.group(4) not in (None, PRIMARY):
            other_tissue += 1
        else:
            by_patient.setdefault(patient, []).append((as_text(name).upper().replace(".", "-"), position))
    repeats = {patient: sorted(those) for patient, those in by_patient.items() if len(those) > 1}
    same_name = [those for those in repeats.values() if len({name for name, _ in those}) < len(those)]
    return Samples(
        {patient: min(those)[1] for patient, those in by_patient.items()},
        len(set(cohort) - set(by_patient)),
        others,
        other_tissue,
        sum(len(those) - 1 for those in repeats.values()),
        tuple(sorted(position for those in same_name for _, position in those)),
    )
