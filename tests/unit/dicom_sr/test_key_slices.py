from __future__ import annotations

import dataclasses
import io

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from config.schema import Report, Settings
from dicom_sr import render
from dicom_sr.checks.content import check_report
from dicom_sr.key_slices import key_slices
from pipeline.records import SliceSource
from tests.support.reports import Case, case


def groups(example: Case) -> list[Dataset]:
    data = key_slices(example.result, example.source, example.panels, Settings())
    assert data is not None
    assert check_report(data) == []
    ds = pydicom.dcmread(io.BytesIO(data))
    assert ds.ConceptNameCodeSequence[0].CodeValue == "126000"
    return list(ds.ContentSequence[-1].ContentSequence)


def region(group: Dataset) -> Dataset:
    return next(i for i in group.ContentSequence if i.ValueType == "SCOORD")


def test_each_outline_of_a_panels_own_region_is_a_closed_polyline_on_its_image() -> None:
    example = case("high")
    found = groups(example)
    own = [(p, c) for p in example.panels for c in p.contours if c.role == p.focus]
    assert len(found) == len(own)
    for group, (panel, contour) in zip(found, own, strict=True):
        item = region(group)
        points = np.asarray(item.GraphicData).reshape(-1, 2)
        assert item.GraphicType == "POLYLINE"
        assert np.array_equal(points, contour.points_xy)
        assert np.array_equal(points[0], points[-1])
        assert panel.source is not None
        image = item.ContentSequence[0].ReferencedSOPSequence[0]
        assert image.ReferencedSOPInstanceUID == panel.source.ref.sop_instance_uid


def test_frames_of_an_enhanced_image_are_named() -> None:
    example = case("high")
    panels = tuple(
        dataclasses.replace(p, source=SliceSource(p.source.ref, 7)) for p in example.panels if p.source is not None
    )
    group = groups(dataclasses.replace(example, panels=panels))[0]
    assert region(group).ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber == 7


def test_without_an_image_to_draw_on_there_are_no_key_slices() -> None:
    example = case("high")
    panels = tuple(dataclasses.replace(p, source=None) for p in example.panels)
    assert key_slices(example.result, example.source, panels, Settings()) is None
    settings = Settings(report=Report(what=("sr", "key_slices")))
    assert set(render(example.result, example.source, panels, settings).objects) == {"sr"}
