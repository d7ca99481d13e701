"""Measurements count in the objects in which they are read, and in no others."""

from __future__ import annotations

import pydicom
import pytest
from pydicom.dataelem import RawDataElement

from pipeline.catalog import measured_images
from pipeline.errors import NotDicom
from pipeline.measurements import MEASUREMENT_CLASSES
from pipeline.phantom import PhantomSpec, write_exam
from pipeline.phantom.measurements import write_measurements

DOSE, BASIC_TEXT, BLENDING = "88.67", "88.11", "11.4"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> pydicom.Dataset:
    exam = write_exam(tmp_path_factory.mktemp("exam"), PhantomSpec(3, preset="small", with_seg=False))
    return pydicom.dcmread(write_measurements(exam))


@pytest.mark.parametrize("kind", [DOSE, BASIC_TEXT, BLENDING, *(c.split(".1.1.")[-1] for c in MEASUREMENT_CLASSES)])
def test_measurements_are_seen_in_the_classes_that_are_read(report: pydicom.Dataset, kind: str) -> None:
    report.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.{kind}"
    drawing = pydicom.Dataset()
    drawing.GraphicObjectSequence = [pydicom.Dataset()]
    report.GraphicAnnotationSequence = [drawing]
    image, series = pydicom.Dataset(), pydicom.Dataset()
    image.ReferencedSOPInstanceUID, series.ReferencedImageSequence = "2.25.1", [image]
    report.ReferencedSeriesSequence = [series]
    assert bool(measured_images(report)) is (report.SOPClassUID in MEASUREMENT_CLASSES)


@pytest.mark.parametrize("keyword", ["ContentSequence", "CurrentRequestedProcedureEvidenceSequence"])
@pytest.mark.parametrize(("vr", "value"), [("LO", b"text"), ("FD", b"1e999 "), ("SQ", b"ab")])
def test_a_damaged_report_holds_no_measurement_or_is_refused(
    report: pydicom.Dataset, keyword: str, vr: str, value: bytes
) -> None:
    """Any other error would leave the file without a row in the ledger, to be read again every ten minutes."""
    damaged = pydicom.Dataset()
    damaged.update({element.tag: element for element in report})
    damaged.SOPClassUID = MEASUREMENT_CLASSES[0]
    tag = pydicom.datadict.tag_for_keyword(keyword)
    damaged._dict[pydicom.tag.Tag(tag)] = RawDataElement(pydicom.tag.Tag(tag), vr, len(value), value, 0, False, True)
    if vr == "LO":
        assert bool(measured_images(damaged)) is (keyword != "ContentSequence")
    else:
        with pytest.raises(NotDicom, match="cannot be read: its structure is damaged"):
            measured_images(damaged)
