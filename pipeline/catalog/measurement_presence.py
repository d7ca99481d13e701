"""Whether a report or presentation state holds drawn measurements, and on which images.

What they are of is understood later, by `pipeline.measurements`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any  # Any: a DICOM value as pydicom gives it

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from pipeline.catalog.facts import MEASUREMENT_REPORT_CLASSES, MEASUREMENT_STATE_CLASSES
from pipeline.dicom_file.bounded_reading import MALFORMED, reason_of
from pipeline.dicom_file.text_values import text_of
from pipeline.errors import NotDicom
from pipeline.records import InstanceRef

# Deeper or longer is no reader's report.
MOST_DEPTH, MOST_ITEMS = 12, 20_000


def measured_images(dataset: Dataset) -> tuple[InstanceRef, ...]:
    """The images that a report or presentation state refers to, once; none where nothing is drawn in it.

    Objects of classes that `pipeline.measurements` does not read hold none. A reference has no UID of series and study
    where the object names none. Raises NotDicom: its structure is damaged.
    """
    try:
        return _measured_images(dataset, text_of(dataset, "SOPClassUID"))
    except MALFORMED as error:
        raise NotDicom(f"a report or presentation state that cannot be read: {reason_of(error)}") from error


def _measured_images(dataset: Dataset, kind: str) -> tuple[InstanceRef, ...]:
    if kind in MEASUREMENT_REPORT_CLASSES:
        items = list(islice(_tree(dataset, 0), MOST_ITEMS + 1))
        drawn = len(items) <= MOST_ITEMS and any(text_of(i, "ValueType") in ("SCOORD", "SCOORD3D") for i in items)
        named = [r for i in items for r in _references(i, "ReferencedSOPSequence")] if drawn else []
    elif kind in MEASUREMENT_STATE_CLASSES:
        drawn = any(_items(a, "GraphicObjectSequence") for a in _items(dataset, "GraphicAnnotationSequence"))
        named = list(_by_series(dataset)) if drawn else []
    else:
        return ()
    known = {ref.sop_instance_uid: ref for ref in _evidence(dataset)}
    return tuple(dict.fromkeys(known.get(ref.sop_instance_uid, ref) for ref in named))


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none where the element is absent or no sequence."""
    value: Any = dataset.get(keyword)
    return [item for item in value if isinstance(item, Dataset)] if isinstance(value, Sequence) else []


def _tree(item: Dataset, depth: int) -> Iterator[Dataset]:
    for child in _items(item, "ContentSequence") if depth < MOST_DEPTH else []:
        yield child
        yield from _tree(child, depth + 1)


def _references(item: Dataset, keyword: str, study: str = "", series: str = "") -> Iterator[InstanceRef]:
    for named in _items(item, keyword):
        uid = text_of(named, "ReferencedSOPInstanceUID")
        if uid:
            yield InstanceRef(study, series, text_of(named, "ReferencedSOPClassUID"), uid)


def _by_series(dataset: Dataset) -> Iterator[InstanceRef]:
    study = text_of(dataset, "StudyInstanceUID")
    for series in _items(dataset, "ReferencedSeriesSequence"):
        yield from _references(series, "ReferencedImageSequence", study, text_of(series, "SeriesInstanceUID"))


def _evidence(dataset: Dataset) -> Iterator[InstanceRef]:
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in _items(dataset, keyword):
            uid = text_of(study, "StudyInstanceUID")
            for series in _items(study, "ReferencedSeriesSequence"):
                yield from _references(series, "ReferencedSOPSequence", uid, text_of(series, "SeriesInstanceUID"))
