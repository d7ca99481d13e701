"""Results and sources beside `tests.support.reports.KINDS`: every reason, every script, values that are not valid."""

from __future__ import annotations

from dataclasses import replace

import pydicom
from pydicom.dataset import Dataset

from pipeline.result import Part
from tests.support.reports import BEGAN, Case, case, prediction

# As the analysis gives them, one of each kind.
REASONS = {
    "rejected": "rejected by the reader",
    "sequence-rejected": "no series was recognised as T2: candidates were 'AX T2 FS 4 mm' and 'Localizer'",
    "roi-rejected": "no segmentation of the lymph nodes came with this exam",
    "geometry-rejected": "slices 11 and 12 of series 2.25.1010 lie on one another",
    "pixels-rejected": "the ADC map holds 1 value only",
    "missing-features": "adc.lymph_nodes.original_firstorder_Mean could not be computed",
    "missing-clinical": "ki67_percent and age_years are not known",
    "outside-training": "34 of 180 features lie outside the range that the signature was trained on",
}
# Character set of the source, and a name that it holds.
NAMES = {
    "latin": ("ISO_IR 100", "Müller^Jürgen"),
    "greek": ("ISO_IR 126", "Διονυσίου^Μαρία"),
    "cyrillic": ("ISO_IR 144", "Иванова^Анна"),
    "hebrew": ("ISO_IR 138", "שרון^דבורה"),
    "arabic": ("ISO_IR 127", "قباني^لنزار"),
    "thai": ("ISO_IR 166", "นามสกุล^ชื่อ"),
    "japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "hangul": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "chinese": ("GB18030", "Wang^XiaoDong=王^小东"),
    "devanagari": ("ISO_IR 192", "शर्मा^सीता"),
}
# Values that break a rule of DICOM and are copied all the same.
INVALID = {
    "AccessionNumber": "ACC-2026-000000017",
    "PatientID": "P" * 70,
    "PatientName": "N" * 70 + "^Given",
    "StudyID": "S" * 17,
    "StudyDate": "3. March",
    "PatientSex": "W",
}


def not_evaluated(code: str) -> Case:
    """A result without an answer, for one of REASONS."""
    given = case("not_evaluated")
    changes = {"reasons": (REASONS[code],), "reason_codes": (code,)}
    return replace(given, kind=code, result=given.result.model_copy(update=changes))


def one_side_only() -> Case:
    """Both sides: the left one is indeterminate, the right one not evaluated."""
    given = case("bilateral")
    left = {"prediction": prediction(0.5, category="indeterminate", conformal_set=("yes", "no"), conformal_alpha=0.1)}
    right = Part(
        rois=given.result.sides["R"].rois,
        reasons=(REASONS["missing-features"],),
    )
    sides = {"L": given.result.sides["L"].model_copy(update=left), "R": right}
    return replace(given, kind="one_side", result=given.result.model_copy(update={"sides": sides}))


def made_by_software(confirmed_by: str | None = None) -> Case:
    """A tumour that software grew from a reader's measurements, beside lymph nodes that a reader drew."""
    given = case("high")
    tumor = given.result.rois["tumor"]
    details = tuple(d.model_copy(update={"origin": "measured", "algorithm": "Grower"}) for d in tumor.segment_details)
    changes = {"origin": "measured", "confirmed_by": confirmed_by, "segment_details": details}
    rois = {**given.result.rois, "tumor": tumor.model_copy(update=changes)}
    return replace(given, kind="made_by_software", result=given.result.model_copy(update={"rois": rois}))


def preliminary() -> Case:
    """A result on a tumour that no reader has confirmed."""
    given = made_by_software()
    return replace(given, kind="preliminary", result=given.result.model_copy(update={"preliminary": True}))


def named(script: str) -> Case:
    """A patient whose name is in one of NAMES."""
    character_set, name = NAMES[script]
    return _of_patient(case("high"), {"SpecificCharacterSet": character_set, "PatientName": name})


def invalid(keyword: str) -> Case:
    """A source that says one of INVALID."""
    return _of_patient(case("high"), {keyword: INVALID[keyword]})


def _of_patient(given: Case, values: dict[str, object]) -> Case:
    with pydicom.config.disable_value_validation():
        for ds in given.datasets:
            for keyword, value in values.items():
                setattr(ds, keyword, value)
    image = given.datasets[0]
    rois: list[Dataset] = [ds for ds in given.datasets if ds.Modality == "SEG"]
    from_source = type(given.source).from_datasets(image, rois, began=BEGAN)
    return replace(given, source=from_source)
