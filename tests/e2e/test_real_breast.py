"""Real breast MR (PyRadiomics' breast1), wrapped as DICOM, sent over the network, measured and reported."""

from __future__ import annotations

import csv
from pathlib import Path

import nrrd
import numpy as np
import pytest
from pydicom import dcmread

from config.schema import Bias, Features, Settings
from pipeline.analysis.signatures_in_use import Signatures
from pipeline.geometry import Geometry
from pipeline.phantom.wrap import WrappedExam, wrap_volume
from pipeline.run import analyse, exam_in
from tests.support.daemon import Daemon, destination, running, storescu
from tests.support.orthanc import Orthanc, orthanc

pytestmark = [pytest.mark.cases, pytest.mark.peer("storescu"), pytest.mark.peer("orthanc")]

CLASSES = ("firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm", "shape")
# What the baselines say of themselves under diagnostics_Configuration_Settings.
BASELINE = """
imageType: {Original: {}}
setting: {binWidth: 25, voxelArrayShift: 2000, label: 1}
"""


@pytest.fixture(scope="module")
def wrapped(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> WrappedExam:
    """The image with its ROI as the tumour, and a made-up node elsewhere in the same volume."""
    voxels, header = nrrd.read(str(cases / "radiomics" / "breast1_image.nrrd"), index_order="C")
    label, _ = nrrd.read(str(cases / "radiomics" / "breast1_label.nrrd"), index_order="C")
    directions = np.array(header["space directions"], dtype=float)
    spacing = np.linalg.norm(directions, axis=1)
    assert header["space"] == "left-posterior-superior"
    geometry = Geometry(
        tuple(voxels.shape),  # type: ignore[arg-type]
        tuple(spacing),  # type: ignore[arg-type]
        tuple(header["space origin"]),  # type: ignore[arg-type]
        tuple((directions / spacing[:, None]).T.ravel()),
    )
    node = np.zeros(voxels.shape, bool)
    node[12:16, 90:97, 20:27] = True
    masks = {"Tumor": label == 1, "Axillary lymph node 1": node & (label != 1)}
    return wrap_volume(tmp_path_factory.mktemp("breast1"), voxels.astype(np.int16), geometry, masks)


@pytest.fixture(scope="module")
def reported(wrapped: WrappedExam, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with orthanc() as pacs, running(tmp_path_factory.mktemp("house"), [destination(pacs.dicom_port)]) as daemon:
        storescu(daemon.port, wrapped.folder)
        found = daemon.wait_for(wrapped.study_uid, "not_evaluated", "delivered")
        yield daemon, pacs, found


def test_it_goes_the_whole_way_and_is_not_evaluated_by_the_demonstration_signature(
    reported: tuple[Daemon, Orthanc, dict[str, object]], wrapped: WrappedExam
) -> None:
    daemon, pacs, found = reported
    result = daemon.result(wrapped.study_uid)
    assert found["state"] == "not_evaluated"
    assert result.reason_codes == ("outside-training",)
    assert result.prediction is None
    assert [d["state"] for d in found["deliveries"]] == ["delivered"]  # type: ignore[attr-defined]
    assert len(pacs.instances()) == 2


def test_all_its_measurements_are_kept_and_named_in_the_report(
    reported: tuple[Daemon, Orthanc, dict[str, object]], wrapped: WrappedExam, tmp_path: Path
) -> None:
    daemon, _, _ = reported
    result = daemon.result(wrapped.study_uid)
    assert len(result.features) + len(result.missing_features) == 6 * 851
    report = dcmread(daemon.results(wrapped.study_uid)[-1] / "sr.dcm")
    assert "not evaluated" in str(report).lower()
    assert result.rois["tumor"].voxels["t1c"] > 0


def test_the_features_of_what_was_received_are_pyradiomics_own_baseline(
    reported: tuple[Daemon, Orthanc, dict[str, object]], cases: Path, tmp_path: Path
) -> None:
    daemon, _, _ = reported
    params = tmp_path / "baseline.yaml"
    params.write_text(BASELINE)
    settings = Settings(bias=Bias(sequences=()), features=Features(params=params))
    received = exam_in(daemon.settings.spool.path / "instances")
    features = analyse(received, settings, Signatures.none()).result.features
    checked = 0
    for name in CLASSES:
        with (cases / "radiomics" / "baseline" / f"baseline_{name}.csv").open() as stream:
            for row in csv.DictReader(stream):
                if row["featureName"].startswith("diagnostics_"):
                    continue
                value = features[f"t1c.tumor.{row['featureName']}"]
                assert value == pytest.approx(float(row["breast1"]), rel=1e-6), row["featureName"]
                checked += 1
    assert checked >= 100
