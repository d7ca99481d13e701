"""Every kind of result in every class of report, as every validator at hand sees it: no errors, no warnings."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import highdicom as hd
import pydicom
import pytest
from pydicom.dataset import Dataset

from config.schema import Report, Settings
from dicom_sr import render
from dicom_sr.basic_text import basic_text_report
from dicom_sr.checks.content import check_report
from dicom_sr.checks.identity import check_identity
from dicom_sr.structured_report import structured_report
from tests.support import validators
from tests.support.report_variants import (
    INVALID,
    NAMES,
    REASONS,
    invalid,
    made_by_software,
    named,
    not_evaluated,
    one_side_only,
    preliminary,
)
from tests.support.reports import KINDS, Case, case, regions_of, write

TREES = ("sr", "sr_3d", "sr_enhanced")
CLASSES = (*TREES, "sr_basic_text")
CASES: dict[str, Callable[[], Case]] = {kind: partial(case, kind) for kind in KINDS}
CASES |= {code: partial(not_evaluated, code) for code in REASONS}
CASES["one_side"] = one_side_only
CASES["made_by_software"] = made_by_software
CASES["preliminary"] = preliminary
# What changes patient and study alone.
NAMED = [f"name_{script}" for script in NAMES]
CASES |= {f"name_{script}": partial(named, script) for script in NAMES}
CASES |= {f"invalid_{keyword}": partial(invalid, keyword) for keyword in INVALID}
WITH_REGIONS = [kind for kind in CASES if kind not in ("not_evaluated_without_rois", "rtstruct")]
WITHOUT_ANSWER = [kind for kind in CASES if kind.startswith("not_evaluated") or kind in REASONS]


class Studies(dict[str, Path]):
    """A folder per case, made when it is first asked for: the report in each class, of KINDS all that is sent, and
    `source/` with what it refers to."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def __missing__(self, kind: str) -> Path:
        folder, example = self.root / kind, CASES[kind]()
        (folder / "source").mkdir(parents=True)
        settings = Settings(
            report=Report(what=("sr", "page", "pdf", "key_slices"), all_features=kind == "all_features")
        )
        for report, data in reports(example, settings):
            (folder / f"{report}.dcm").write_bytes(data)
        if kind in KINDS:
            for name, data in render(example.result, example.source, example.panels, settings).objects.items():
                (folder / f"{name}.dcm").write_bytes(data)
        with pydicom.config.disable_value_validation():
            write(folder / "source", example.datasets)
        self[kind] = folder
        return folder


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Studies:
    return Studies(tmp_path_factory.mktemp("studies"))


def reports(example: Case, settings: Settings) -> Iterator[tuple[str, bytes]]:
    for report in CLASSES:
        source = replace(example.source, report=report)
        make = basic_text_report if report == "sr_basic_text" else structured_report
        data = make(example.result, source, settings)
        assert check_report(data, example.result) == []
        assert check_identity(data, example.datasets[0]) == []
        yield report, data


def about_others(kind: str, lines: list[str]) -> list[str]:
    """Complaints about anything but the value of the source that breaks a rule."""
    keyword = kind.removeprefix("invalid_")
    if keyword not in INVALID:
        return lines
    tag = f"{pydicom.datadict.tag_for_keyword(keyword):08x}"
    names = (
        keyword,
        pydicom.datadict.dictionary_description(keyword),
        f"{tag[:4]},{tag[4:]}",
        f"0x{tag[:4]},0x{tag[4:]}",
    )
    return [line for line in lines if not any(name in line for name in names)]


@pytest.mark.peer("dciodvfy")
@pytest.mark.parametrize("kind", CASES)
def test_dciodvfy_finds_nothing_in_any_object(studies: Studies, kind: str) -> None:
    found = {path.name: about_others(kind, validators.dciodvfy(path)) for path in sorted(studies[kind].glob("*.dcm"))}
    wanted = {f"{name}.dcm" for name in (*CLASSES, *(("page", "pdf") if kind in KINDS else ()))}
    assert wanted <= found.keys()
    assert not {name: lines for name, lines in found.items() if lines}


@pytest.mark.peer("dcentvfy")
@pytest.mark.parametrize("kind", CASES)
def test_patient_and_study_agree_with_the_images(studies: Studies, kind: str) -> None:
    own = sorted(studies[kind].glob("*.dcm"))
    theirs = sorted((studies[kind] / "source").glob("*.dcm"))
    assert validators.dcentvfy([*own, *theirs]) == []


@pytest.mark.peer("dsrdump")
@pytest.mark.parametrize("kind", CASES)
def test_dcmtk_reads_it_three_ways(studies: Studies, kind: str, tmp_path: Path) -> None:
    for name in (*CLASSES, "key_slices"):
        path = studies[kind] / f"{name}.dcm"
        if path.exists():
            for lines in (
                validators.dsrdump(path),
                validators.dsr2xml(path, tmp_path),
                validators.dsr2html(path, tmp_path),
            ):
                assert about_others(kind, lines) == []


@pytest.mark.parametrize("kind", WITH_REGIONS)
def test_dcmqi_reads_the_measurements(studies: Studies, kind: str, tmp_path: Path) -> None:
    assert validators.tid1500reader(studies[kind] / "sr.dcm", tmp_path) == []


def test_dcmqi_reads_each_nodes_own_volume_and_that_of_all_from_their_union(tmp_path: Path) -> None:
    example = case("three_segments")
    settings = Settings(report=Report(what=("sr",)))
    made = render(example.result, example.source, (), settings, regions_of(example.result)).objects
    for name, data in made.items():
        (tmp_path / f"{name}.dcm").write_bytes(data)
    assert validators.tid1500reader(tmp_path / "sr.dcm", tmp_path) == []
    union = str(pydicom.dcmread(tmp_path / "union_nodes_l.dcm").SOPInstanceUID)
    volumes = {}
    for group in json.loads((tmp_path / "measurements.json").read_text())["Measurements"]:
        for item in group["measurementItems"]:
            if item["quantity"]["CodeValue"] == "YEKZ":
                place = (group["segmentationSOPInstanceUID"], group["ReferencedSegment"])
                volumes[group["TrackingIdentifier"]] = (*place, float(item["value"]))
    seg = "2.25.1200.1"
    assert volumes == {
        "T1, left": (seg, 1, 5575.28),
        "N1, left": (seg, 2, 904.5),
        "N2, left": (seg, 3, 268.1),
        "N3, left": (seg, 4, 267.9),
        "Axillary lymph nodes, left": (union, 1, 904.779),
    }


@pytest.mark.parametrize("report", TREES)
@pytest.mark.parametrize("kind", CASES)
def test_highdicom_finds_every_group_and_the_probability(studies: Studies, kind: str, report: str) -> None:
    """It reads no Basic Text SR."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sr = hd.sr.srread(studies[kind] / f"{report}.dcm")
    groups = [
        group
        for section in sr.ContentSequence
        if section.ConceptNameCodeSequence[0].CodeValue == "126010"
        for group in section.ContentSequence
        if group.ConceptNameCodeSequence[0].CodeValue == "125007"
    ]
    if not groups:
        assert kind == "not_evaluated_without_rois"
        return
    if kind == "rtstruct":
        assert len(sr.content.get_image_measurement_groups()) == len(groups)
        return
    found = sr.content.get_volumetric_roi_measurement_groups()
    assert len(found) == len(groups)
    names = [m.name.value for m in found[0].get_measurements()]
    assert ("P-ALNM" in names) is (kind not in WITHOUT_ANSWER)


@pytest.mark.parametrize("kind", CASES)
def test_each_class_holds_the_same_tree(studies: Studies, kind: str) -> None:
    """So what PixelMed says of one, which takes it seconds, it says of all; and of another patient's as well."""
    whole = {report: tree(studies[kind] / f"{report}.dcm") for report in TREES}
    assert whole["sr"] == whole["sr_3d"] == whole["sr_enhanced"]
    if kind.startswith(("name_", "invalid_")):
        assert whole["sr"] == tree(studies["high"] / "sr.dcm")


def tree(path: Path) -> Dataset:
    """The content without the UIDs of observations, which derive from the report's."""
    with pydicom.config.disable_value_validation():
        read = pydicom.dcmread(path)
    content = Dataset()
    content.ContentSequence = read.ContentSequence
    content.ContentTemplateSequence = read.ContentTemplateSequence
    for item in content.iterall():
        if item.VR == "SQ":
            for child in item.value:
                child.pop("ObservationUID", None)
    return content


@pytest.mark.peer("javac")
def test_pixelmed_finds_nothing_in_any_report(studies: Studies) -> None:
    if not validators.PIXELMED.exists():
        pytest.skip(f"no {validators.PIXELMED} (script/test installs it when it runs as root or with sudo)")
    paths = [studies[kind] / "sr.dcm" for kind in CASES if not kind.startswith(("name_", "invalid_"))]
    paths += [studies[kind] / f"{report}.dcm" for kind in ("one_side", "revision_2") for report in TREES[1:]]
    paths += [studies[kind] / "sr_basic_text.dcm" for kind in CASES]
    outlines = studies["bilateral"] / "key_slices.dcm"
    found = validators.pixelmed([*paths, outlines])
    assert {f"{path.parent.name}/{path.name}": found[path] for path in paths if found[path]} == {}
    # Its rules choose TID 1410 only where there is one outline in the whole report, and warn of each other one.
    assert [line for line in found[outlines] if "1410 does not match expected template ID 1501" not in line] == []
