"""Reading of measurement objects: structured reports and presentation states. No image is opened."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pydicom.dataset import Dataset

from pipeline.catalog.facts import (
    MEASUREMENT_REPORT_CLASSES,
    MEASUREMENT_STATE_CLASSES,
    OUR_MANUFACTURER,
    patient_key,
)
from pipeline.dicom_file import bounded_reading
from pipeline.dicom_file.bounded_reading import MALFORMED, reason_of
from pipeline.dicom_file.text_values import text_of
from pipeline.errors import ExamRejected, NotDicom, RoiRejected
from pipeline.measurements.content_tree import Item, check_written, items_of, too_much, tree_of
from pipeline.measurements.graphics import Unusable
from pipeline.measurements.groups import Group, groups_in
from pipeline.measurements.meaning import understand
from pipeline.measurements.presentation_state import groups_of_state
from pipeline.measurements.records import ImageFrame, Measurement, MeasurementReport, NotUsed
from pipeline.measurements.shapes import drawn
from pipeline.records import InstanceRef
from pipeline.roi.rules import Rules, load_rules

MEASUREMENT_CLASSES = (*MEASUREMENT_REPORT_CLASSES, *MEASUREMENT_STATE_CLASSES)
# A reader's report of one exam has a few hundred kilobytes at most, and tens of measurements.
MOST_BYTES = 16 << 20
MOST_GROUPS = 500
# The tool that draws a closed line of which it may not repeat the first corner, as its tracking identifier names it.
_CLOSED = re.compile(r"(?i):.*rectangle")
_NOBODY = re.compile(r"(?i)^[\s^=]*$|^(unknown|anonymous|none|n/a)?(\^(unknown|anonymous)?)*$")


def read_file(path: Path, rules: Rules | None = None) -> MeasurementReport:
    """As `read_measurements`, of a file. Raises NotDicom too."""
    if path.stat().st_size > MOST_BYTES:
        raise RoiRejected(
            f"{path.name} is longer than {MOST_BYTES >> 20} MB; no reader's measurements are",
            code="measurements-too-large",
        )
    check_written(path.read_bytes(), path.name)
    with warnings.catch_warnings():
        # Values that break a rule of their VR are the writer's matter; what is needed of them is checked.
        warnings.simplefilter("ignore")
        try:
            dataset = bounded_reading.read(path, force=None)
        except NotDicom:
            raise
        except MALFORMED as error:
            raise NotDicom(f"{path.name} cannot be read as DICOM: {reason_of(error)}") from error
        return read_measurements(dataset, rules)


def read_files(
    paths: Iterable[Path], rules: Rules | None = None
) -> tuple[list[MeasurementReport], list[tuple[Path, ExamRejected]]]:
    """The reports of several files, and the files that cannot be read. Raises the first error if no file can."""
    reports: list[MeasurementReport] = []
    unreadable: list[tuple[Path, ExamRejected]] = []
    for path in paths:
        try:
            reports.append(read_file(path, rules))
        except ExamRejected as error:
            unreadable.append((path, error))
    if unreadable and not reports:
        raise unreadable[0][1]
    return reports, unreadable


def read_measurements(dataset: Dataset, rules: Rules | None = None) -> MeasurementReport:
    """The measurements of a TID 1500 report, or the graphics of a presentation state.

    `rules`: the site's names of regions, ours where None.

    Raises:
        RoiRejected: it is neither (`no-measurements`), a report of axrad's own (`own-report`), or beyond the limits
            (`measurements-too-large`).
        NotDicom: its structure is damaged.
    """
    uid = text_of(dataset, "SOPInstanceUID")
    try:
        return _read(dataset, uid, rules if rules is not None else load_rules())
    except (RoiRejected, NotDicom):
        raise
    except MALFORMED as error:
        raise NotDicom(f"measurement object {uid} cannot be read: {reason_of(error)}", uid=uid) from error


def _read(dataset: Dataset, uid: str, rules: Rules) -> MeasurementReport:
    kind = text_of(dataset, "SOPClassUID")
    if kind not in MEASUREMENT_CLASSES:
        raise RoiRejected(f"{uid} is no report or presentation state", code="no-measurements", uid=uid)
    if text_of(dataset, "Manufacturer").lower() == OUR_MANUFACTURER:
        raise RoiRejected(f"{uid} is a report of axrad's own; no reader measured it", code="own-report", uid=uid)
    source = InstanceRef(text_of(dataset, "StudyInstanceUID"), text_of(dataset, "SeriesInstanceUID"), kind, uid)
    root = tree_of(dataset) if kind in MEASUREMENT_REPORT_CLASSES else None
    groups: list[Group] = []
    for group in groups_in(root) if root is not None else groups_of_state(dataset):
        groups.append(group)
        if len(groups) > MOST_GROUPS:
            raise too_much(uid, f"more than {MOST_GROUPS} measurements")
    series = _evidence(dataset)
    measurements: list[Measurement] = []
    not_used: list[NotUsed] = []
    for n, group in enumerate(groups, 1):
        try:
            measurements.append(_measurement(group, source, n, rules, series))
        except Unusable as error:
            not_used.append(NotUsed(source, n, group.words.label, error.code, error.why))
    if not groups:
        not_used.append(
            NotUsed(source, None, "", "no-measurements", "the object holds no measurement with coordinates")
        )
    return MeasurementReport(
        source,
        patient_key(text_of(dataset, "PatientID"), text_of(dataset, "IssuerOfPatientID")),
        patient_key(text_of(dataset, "PatientID"), ""),
        _reader(dataset, root),
        _written(dataset),
        text_of(dataset, "StudyDate"),
        tuple(measurements),
        tuple(not_used),
        _references(groups, series),
    )


def _measurement(
    group: Group, source: InstanceRef, number: int, rules: Rules, series: dict[str, InstanceRef]
) -> Measurement:
    if not group.lines and group.by_segment:
        raise Unusable("of-a-segment", "the measurement is of a segment; the segmentation itself is read")
    understood = understand(group.words, rules)
    if group.fault is not None:
        raise group.fault
    shape, graphics, lengths, notes = drawn(group.lines, bool(_CLOSED.search(group.words.tracking_id)))
    placed = tuple(
        g if g.image is None else replace(g, image=ImageFrame(_full(g.image.ref, series), g.image.frame))
        for g in graphics
    )
    return Measurement(
        source,
        number,
        shape,
        placed,
        understood.role,
        understood.side,
        understood.lesion,
        group.words.label,
        understood.why,
        lengths,
        group.words.tracking_id,
        group.tracking_uid,
        group.observed,
        notes,
    )


def _full(ref: InstanceRef, series: dict[str, InstanceRef]) -> InstanceRef:
    """The reference with study and series, where the evidence tells them."""
    known = series.get(ref.sop_instance_uid)
    return known if known is not None else ref


def _evidence(dataset: Dataset) -> dict[str, InstanceRef]:
    """Images by UID, as the lists of evidence or the referenced series name them."""
    named: dict[str, InstanceRef] = {}
    studies = [
        *items_of(dataset, "CurrentRequestedProcedureEvidenceSequence"),
        *items_of(dataset, "PertinentOtherEvidenceSequence"),
        dataset,
    ]
    for study in studies:
        for series in items_of(study, "ReferencedSeriesSequence"):
            images = items_of(series, "ReferencedSOPSequence") or items_of(series, "ReferencedImageSequence")
            for image in images:
                ref = InstanceRef(
                    text_of(study, "StudyInstanceUID"),
                    text_of(series, "SeriesInstanceUID"),
                    text_of(image, "ReferencedSOPClassUID"),
                    text_of(image, "ReferencedSOPInstanceUID"),
                )
                named.setdefault(ref.sop_instance_uid, ref)
    return named


def _references(groups: Iterable[Group], series: dict[str, InstanceRef]) -> tuple[InstanceRef, ...]:
    """Images that graphics name, then those that only the evidence names."""
    refs = [_full(line.graphic.image.ref, series) for g in groups for line in g.lines if line.graphic.image]
    return tuple(dict.fromkeys([*refs, *series.values()]))


def _reader(dataset: Dataset, root: Item | None) -> str:
    """A digest of who measured, so that no person's name is kept; empty where nobody is named."""
    names = [text_of(i.source, "PersonName") for i in root.children if i.value_type == "PNAME"] if root else []
    names += [text_of(dataset, k) for k in ("ContentCreatorName", "OperatorsName")]
    names += [text_of(i, "PersonName") for i in items_of(dataset, "AuthorObserverSequence")]
    name = next((n for n in names if not _NOBODY.match(n)), "")
    return hashlib.sha256(name.casefold().encode()).hexdigest()[:16] if name else ""


def _written(dataset: Dataset) -> str:
    for prefix in ("Content", "PresentationCreation", "InstanceCreation", "Series"):
        date = re.sub(r"\D", "", text_of(dataset, f"{prefix}Date"))
        if len(date) == 8:
            return date + re.sub(r"[^\d.]", "", text_of(dataset, f"{prefix}Time"))
    return ""
