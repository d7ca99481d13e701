"""The whole daemon with a real Orthanc: somebody sends a SEG, and the rest takes care of itself, cleaning up too."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread

from daemon.spool import Spool
from pipeline.phantom import PhantomSpec, write_exam
from pipeline.phantom.spec import Protocol
from tests.support.daemon import running, storescu
from tests.support.orthanc import orthanc
from tests.support.postgres import free_port
from tests.support.waiting import wait_for

# Too coarse to be evaluated, and quickly refused: this test is about how the exam gets here and its report there.
TINY = Protocol((24, 24, 8), (5, 5, 8), (24, 24, 6), (5, 5, 10), (24, 24, 6), (5, 5, 10))


@pytest.mark.peer("orthanc", "storescu", "redis-server")
def test_a_seg_alone_fetches_its_exam_its_report_goes_back_and_its_files_are_cleaned_away(tmp_path: Path) -> None:
    phantom = write_exam(tmp_path / "exam", PhantomSpec(seed=6, protocol=TINY))
    seg = next(p for p in phantom.paths if dcmread(p, specific_tags=["Modality"]).Modality == "SEG")
    port = free_port()
    with orthanc(our_port=port) as pacs:
        for path in phantom.paths:
            if path != seg:
                pacs.upload(path)
        tables = [
            f'[[pacs]]\nname = "archive"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {pacs.dicom_port}\n'
            'can = ["find", "move"]\n'
            '[[destination]]\nname = "reports"\npacs = "archive"\nwhat = ["sr"]\nproof = "readback"\n'
        ]
        cleaning = "keep_days = 0\nevery_s = 0.5"
        with running(tmp_path / "axrad", tables, port=port, retention=cleaning) as daemon:
            storescu(daemon.port, seg)
            study = daemon.wait_for(phantom.study_uid, "delivered", "not_evaluated")
            spool = Spool(daemon.settings.spool.path)
            wait_for(lambda: not list(spool.walk()), "the files to be cleaned away")
            shown = wait_for(
                lambda: s if "purged" in (s := daemon.axrad("show", phantom.study_uid).stdout) else "", "a note"
            )
            results = daemon.results(phantom.study_uid)
    kinds = [e["kind"] for e in study["events"]]
    assert {"fetch", "fetched", "revision", "analysed"} <= set(kinds)
    assert kinds.index("fetch") < kinds.index("fetched") < kinds.index("revision")
    assert study["revision"] == 1
    assert [d["state"] for d in study["deliveries"]] == ["delivered"]
    assert f"{len(phantom.paths)} files" in shown
    assert "nothing came for 0 days" in shown
    assert [path for folder in results for path in folder.glob("*.dcm")]
