"""What docs/operator.md tells people to type into Orthanc makes Orthanc route exams to us, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom import dcmread

from pipeline.catalog import MR_CLASSES, SEGMENTATION_CLASSES
from pipeline.phantom import PhantomSpec, write_exam
from tests.support import docs
from tests.support.archives import SECONDARY_CAPTURE, archive
from tests.support.orthanc import orthanc
from tests.support.waiting import wait_for

pytestmark = pytest.mark.peer("orthanc")
PAGE = docs.ROOT / "docs" / "operator.md"


def block(info: str) -> str:
    return next(b.text for b in docs.blocks(PAGE) if b.info == info)


def test_orthanc_set_up_as_described_sends_images_and_regions_and_no_results(tmp_path: Path) -> None:
    exam = write_exam(tmp_path / "exam", PhantomSpec(seed=3, preset="small"))
    (tmp_path / "axrad.lua").write_text(block("lua"))
    configured = json.loads(block("json"))
    assert configured["LuaScripts"] == ["/etc/orthanc/axrad.lua"]
    image, seg = next(p for p in exam.paths if p != exam.seg_path), exam.seg_path
    assert seg is not None
    result = dcmread(image)
    result.SOPClassUID = result.file_meta.MediaStorageSOPClassUID = SECONDARY_CAPTURE
    result.SOPInstanceUID = result.file_meta.MediaStorageSOPInstanceUID = result.SOPInstanceUID + ".1"
    result.SeriesInstanceUID += ".1"
    result.Modality = "OT"
    result.save_as(tmp_path / "result.dcm")
    with archive(classes=(*MR_CLASSES, *SEGMENTATION_CLASSES, SECONDARY_CAPTURE)) as axrad:
        ours = configured["DicomModalities"]["axrad"] | {"Host": "127.0.0.1", "Port": axrad.port}
        with orthanc(modalities={"axrad": ours}, LuaScripts=[str(tmp_path / "axrad.lua")]) as pacs:
            pacs.upload(tmp_path / "result.dcm")
            pacs.upload(image)
            pacs.upload(seg)
            wait_for(lambda: len(axrad.stored) >= 2, "two objects from Orthanc")
            assert axrad.stored == {str(dcmread(p, stop_before_pixels=True).SOPInstanceUID) for p in (image, seg)}


def test_what_is_said_of_orthancs_side_is_what_axrads_side_says() -> None:
    import tomllib

    theirs = json.loads(block("json"))
    ours = next(t for b in docs.blocks(PAGE) if b.info == "toml" and "ORTHANC" in (t := b.text))
    pacs = tomllib.loads(ours)["pacs"][0]
    assert (pacs["ae_title"], pacs["port"]) == (theirs["DicomAet"], theirs["DicomPort"])
    assert theirs["DicomModalities"]["axrad"]["AET"] == "AXRAD"
    assert theirs["DicomModalities"]["axrad"]["Port"] == 11112
