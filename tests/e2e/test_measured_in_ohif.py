"""A reader who draws no region: axes by mouse in OHIF, a proposal back in Orthanc, edited in OHIF, and the report."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from pipeline.catalog.own_mark import has_mark
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from pipeline.phantom.measurements import axis_ends, lesion_masks
from tests.support import viewer
from tests.support.daemon import destination, running
from tests.support.orthanc import Orthanc, orthanc
from tests.support.postgres import free_port
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.peer("node"), pytest.mark.peer("orthanc", "redis-server")]

LABELS = ("Tumor, left", "Lymph node 1, left")
SECTIONS = {
    "proposal": "enabled = true\nquiet_s = 1",
    "features": 'set = "signature"',
    "bias": "sequences = []",
    "signature": 'allow_origins = ["measured"]\nmax_outside = 1.0\nmax_distance = 1e9',
}


def axes_of(exam: PhantomExam) -> list[dict[str, Any]]:
    """Where a reader draws the tumour's and one node's axes: image, and ends in mm of the patient."""
    drawn = []
    for label, mask in zip(LABELS, lesion_masks(exam.spec), strict=False):
        z, ends = axis_ends(mask, exam.geometry)
        mm = [(exam.geometry.affine @ [column - 0.5, row - 0.5, z, 1.0])[:3].tolist() for column, row in ends]
        image = {"series": exam.chosen["t1c"], "image": exam.t1c_instances[z]}
        drawn.append({**image, "label": label, "long": mm[:2], "short": mm[2:]})
    return drawn


def objects(pacs: Orthanc, modality: str, before: set[str]) -> list[pydicom.Dataset]:
    """What the archive has of a modality that was not there before."""
    new = [pydicom.dcmread(io.BytesIO(pacs.file(uid))) for uid in pacs.instances() if uid not in before]
    return [ds for ds in new if ds.Modality == modality]


def test_axes_drawn_in_ohif_become_a_proposal_that_the_reader_edits_there_and_a_report(tmp_path: Path) -> None:
    lacking = viewer.missing()
    if lacking is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(lacking, pytrace=False)
        pytest.skip(lacking)
    exam = write_exam(tmp_path / "exam", PhantomSpec(seed=23, preset="small", laterality="L", with_seg=False))
    axes, port = axes_of(exam), free_port()
    with orthanc(our_port=port) as pacs, viewer.ohif(pacs.url, tmp_path) as url:
        for path in exam.paths:
            pacs.upload(path)
        tables = [destination(pacs.dicom_port, what=["sr", "proposal"])]
        with running(tmp_path / "axrad", tables, port=port, **SECTIONS) as daemon:
            there = set(pacs.instances())
            pacs.send("axrad", sorted(there))

            viewer.read(url, exam.study_uid, tmp_path / "seen", measure=axes)
            (measured,) = objects(pacs, "SR", there)
            there.add(measured.SOPInstanceUID)
            pacs.send("axrad", [measured.SOPInstanceUID])
            (proposal,) = wait_for(
                lambda: objects(pacs, "SEG", there), "a proposal", moves=lambda: str(daemon.study(exam.study_uid))
            )
            there.add(proposal.SOPInstanceUID)
            assert has_mark(proposal)
            assert tuple(s.SegmentLabel for s in proposal.SegmentSequence) == LABELS
            waiting = daemon.wait_for(exam.study_uid, "waiting", deliveries=False)
            assert waiting["revision"] == 0

            edge = axes[1]["long"][1]
            stroke = [edge, [edge[0] + 3.0, *edge[1:]]]
            edit = {"title": "Proposed by software", "image": axes[1]["image"], "segment": 2, "stroke": stroke}
            edited = viewer.read(url, exam.study_uid, tmp_path / "seen", edit=edit)
            assert tuple(edited["segments"]) == LABELS
            assert node_is_pink(tmp_path / "seen" / "proposal.png"), "the proposed node is not on the screen"
            (saved,) = objects(pacs, "SEG", there)
            assert not has_mark(saved)
            there.add(saved.SOPInstanceUID)
            pacs.send("axrad", [saved.SOPInstanceUID])

            study = daemon.wait_for(exam.study_uid, "delivered", "not_evaluated", "failed", revision=1)
            assert study["state"] == "delivered", study
            result = daemon.result(exam.study_uid)
            (report,) = objects(pacs, "SR", there)
        assert result.status == "evaluated", result.reasons
        assert {role: roi.origin for role, roi in result.rois.items()} == {"tumor": "measured", "lymph_nodes": "drawn"}
        assert result.rois["tumor"].confirmed_by == f"segmentation {saved.SOPInstanceUID}"
        title = str(report.SeriesDescription)
        _, (view,) = viewer.look(url, exam.study_uid, [title], tmp_path / "report", settle_s=4.0)
    assert not view.crashed
    assert "ALN metastasis probability" in " ".join(view.text.split())


def node_is_pink(picture: Path) -> bool:
    """Whether the colour that the segmentation recommends for nodes, sRGB (255, 100, 170), lies over the images."""
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    red, green, blue = pixels[:, 300:1100].reshape(-1, 3).T
    return int(np.count_nonzero((red > green + 60) & (blue > green + 30))) > 300
