"""Segmentations of ours: what they hold, who refers to them, and that each has the mark."""

from __future__ import annotations

import io
import warnings
from functools import cache
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from config.schema import Report, Settings
from dicom_sr import render
from dicom_sr.checks.content import check_report
from pipeline.catalog import read_facts
from pipeline.roi.grid_regions import GridRegion, load_regions, regions_to_bytes
from tests.support import validators
from tests.support.reports import case, regions_of

SETTINGS = Settings(report=Report(what=("sr", "seg")))


@cache
def made(kind: str) -> dict[str, bytes]:
    example = case(kind)
    return dict(render(example.result, example.source, (), SETTINGS, regions_of(example.result)).objects)


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def groups(ds: Dataset) -> list[Dataset]:
    section = next(c for c in ds.ContentSequence if c.ConceptNameCodeSequence[0].CodeValue == "126010")
    return [c for c in section.ContentSequence if c.ConceptNameCodeSequence[0].CodeValue == "125007"]


def test_several_segments_get_a_segmentation_of_their_union_and_one_segment_gets_none() -> None:
    assert set(made("three_segments")) == {"sr", "union_nodes_l", "seg_t2", "seg_adc"}
    assert set(made("high")) == {"sr", "seg_t2", "seg_adc"}


@pytest.mark.parametrize("kind", ["high", "three_segments", "bilateral"])
def test_every_group_refers_to_one_segment(kind: str) -> None:
    report = read(made(kind)["sr"])
    for group in groups(report):
        (segment,) = [c for c in group.ContentSequence if c.ConceptNameCodeSequence[0].CodeValue == "121191"]
        assert isinstance(segment.ReferencedSOPSequence[0].ReferencedSegmentNumber, int)
    assert check_report(made(kind)["sr"], case(kind).result) == []


def test_highdicom_reads_each_nodes_own_volume() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = hd.sr.srread(io.BytesIO(made("three_segments")["sr"]))
    volumes = {}
    for group in report.content.get_volumetric_roi_measurement_groups():
        measured = [m.value for m in group.get_measurements() if m.name.value == "YEKZ"]
        if measured and group.method is None:
            volumes[group.tracking_identifier] = measured[0]
    assert {name: volumes[name] for name in ("N1, left", "N2, left", "N3, left")} == {
        "N1, left": 904.5,
        "N2, left": 268.1,
        "N3, left": 267.9,
    }


def test_separate_nodes_have_no_diameter_in_common() -> None:
    whole = next(
        g
        for g in groups(read(made("three_segments")["sr"]))
        if any(c.get("TextValue") == "Axillary lymph nodes, left" for c in g.ContentSequence)
    )
    assert {c.ConceptNameCodeSequence[0].CodeValue for c in whole.ContentSequence}.isdisjoint({"L0JK", "TDIC", "P9VJ"})


@pytest.mark.parametrize(("kind", "name"), [("three_segments", "union_nodes_l"), ("bilateral", "seg_adc")])
def test_it_holds_the_voxels_of_its_regions(kind: str, name: str) -> None:
    sequence = "t1c" if name.startswith("union") else "adc"
    wanted = [r for r in regions_of(case(kind).result) if r.sequence == sequence]
    wanted = [r for r in wanted if not name.startswith("union") or r.role == "lymph_nodes"]
    ds = read(made(kind)[name])
    frames = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
    for number, region in enumerate(wanted, 1):
        mine = [
            f
            for f, g in zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True)
            if g.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number
        ]
        assert np.array_equal(np.stack(mine).astype(bool), np.stack([drawn for _, drawn in region.slices()]))


def test_it_is_ours_when_it_comes_back(tmp_path: Path) -> None:
    for name, data in made("bilateral").items():
        path = tmp_path / f"{name}.dcm"
        path.write_bytes(data)
        assert read_facts(path).ours


def test_frames_name_their_source_images_and_place() -> None:
    ds = read(made("three_segments")["union_nodes_l"])
    first = ds.PerFrameFunctionalGroupsSequence[0]
    source = first.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
    assert source.startswith("2.25.1010.")
    assert first.PlanePositionSequence[0].ImagePositionPatient[2] == 3.0 * (int(source.rsplit(".", 1)[1]) - 1)


def test_regions_survive_their_file(tmp_path: Path) -> None:
    regions = regions_of(case("bilateral").result)
    path = tmp_path / "regions.npz"
    path.write_bytes(regions_to_bytes(regions))
    for before, after in zip(regions, load_regions(path), strict=True):
        assert np.array_equal(before.voxels_zyx, after.voxels_zyx)
        assert all(getattr(before, name) == getattr(after, name) for name in _rest())


def _rest() -> list[str]:
    return [name for name in GridRegion.__slots__ if name != "voxels_zyx"]


@pytest.mark.peer("dciodvfy")
@pytest.mark.parametrize("kind", ["three_segments", "bilateral", "chinese_name"])
def test_dciodvfy_finds_nothing(tmp_path: Path, kind: str) -> None:
    for name, data in made(kind).items():
        path = tmp_path / f"{name}.dcm"
        path.write_bytes(data)
        assert validators.dciodvfy(path) == []
