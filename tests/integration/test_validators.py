"""Every kind of result, as every validator at hand sees it: no errors, no warnings."""

from __future__ import annotations

import warnings
from pathlib import Path

import highdicom as hd
import pytest

from config.schema import Report, Settings
from dicom_sr import render
from tests.support import validators
from tests.support.reports import KINDS, case, write

WITH_REGIONS = [kind for kind in KINDS if kind not in ("not_evaluated_without_rois", "rtstruct")]


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder per kind of result with everything that was sent, and `source/` with what it refers to."""
    folders = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(kind)
        example = case(kind)
        settings = Settings(
            report=Report(what=("sr", "page", "pdf", "key_slices"), all_features=kind == "all_features")
        )
        for name, data in render(example.result, example.source, example.panels, settings).objects.items():
            (folder / f"{name}.dcm").write_bytes(data)
        (folder / "source").mkdir()
        write(folder / "source", example.datasets)
        folders[kind] = folder
    return folders


@pytest.mark.peer("dciodvfy")
@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_nothing_in_any_object(studies: dict[str, Path], kind: str) -> None:
    found = {path.name: validators.dciodvfy(path) for path in sorted(studies[kind].glob("*.dcm"))}
    assert {"sr.dcm", "page.dcm", "pdf.dcm"} <= found.keys()
    assert not {name: lines for name, lines in found.items() if lines}


@pytest.mark.peer("dcentvfy")
@pytest.mark.parametrize("kind", KINDS)
def test_patient_and_study_agree_with_the_images(studies: dict[str, Path], kind: str) -> None:
    own = sorted(studies[kind].glob("*.dcm"))
    theirs = sorted((studies[kind] / "source").glob("*.dcm"))
    assert validators.dcentvfy([*own, *theirs]) == []


@pytest.mark.peer("dsrdump")
@pytest.mark.parametrize("kind", KINDS)
def test_dcmtk_reads_it_three_ways(studies: dict[str, Path], kind: str, tmp_path: Path) -> None:
    for name in ("sr.dcm", "key_slices.dcm"):
        path = studies[kind] / name
        if path.exists():
            assert validators.dsrdump(path) == []
            assert validators.dsr2xml(path, tmp_path) == []
            assert validators.dsr2html(path, tmp_path) == []


@pytest.mark.parametrize("kind", WITH_REGIONS)
def test_dcmqi_reads_the_measurements(studies: dict[str, Path], kind: str, tmp_path: Path) -> None:
    assert validators.tid1500reader(studies[kind] / "sr.dcm", tmp_path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_highdicom_finds_every_group_and_the_probability(studies: dict[str, Path], kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sr = hd.sr.srread(studies[kind] / "sr.dcm")
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
    assert ("P-ALNM" in names) is not kind.startswith("not_evaluated")


@pytest.mark.peer("javac")
def test_pixelmed_finds_nothing_in_any_report(studies: dict[str, Path]) -> None:
    if not validators.PIXELMED.exists():
        pytest.skip(f"no {validators.PIXELMED} (script/test installs it when it runs as root or with sudo)")
    reports = [studies[kind] / "sr.dcm" for kind in KINDS]
    outlines = studies["bilateral"] / "key_slices.dcm"
    found = validators.pixelmed([*reports, outlines])
    assert {path.parent.name: found[path] for path in reports if found[path]} == {}
    # Its rules choose TID 1410 only where there is one outline in the whole report, and warn of each other one.
    assert [line for line in found[outlines] if "1410 does not match expected template ID 1501" not in line] == []
