"""An exam without diffusion is reported by the running daemon where a signature needs none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daemon.assembly import RecordedAnswer
from daemon.ledger.tables import revisions
from pipeline.phantom import PhantomSpec, write_exam
from pipeline.signature.registry import Registry
from tests.support.daemon import Daemon, running, storescu
from tests.support.signature_tables import MADE, frame, trained

pytestmark = [pytest.mark.peer("storescu")]
T1_AND_T2 = ("t1c.tumor", "t1c.lymph_nodes", "t2.tumor", "t2.lymph_nodes")


def answers(daemon: Daemon) -> list[RecordedAnswer]:
    with daemon.ledger.read() as connection:
        return list(connection.execute(revisions.select().order_by(revisions.c.number)).mappings().all())


@pytest.mark.parametrize("t2_is_read", [False, True])
def test_t2_that_comes_after_a_report_without_diffusion_makes_a_revision_only_where_a_higher_signature_reads_it(
    tmp_path: Path, t2_is_read: bool
) -> None:
    registry = Registry(tmp_path / "signatures")
    t1 = trained(frame(groups=T1_AND_T2[:2]), name="t1", version="1")
    registry.activate(t1, MADE, unevaluated=True)
    if t2_is_read:
        registry.activate(trained(frame(groups=T1_AND_T2), name="t1t2", version="1"), MADE, unevaluated=True)
    exam = write_exam(tmp_path / "exam", PhantomSpec(seed=9, preset="small"))
    later = [p for series in exam.series if series.label.startswith("t2") for p in series.paths]
    for series in exam.series:
        for path in series.paths if series.label in ("adc", "dwi") else ():
            path.unlink()
    kept = tmp_path / "later"
    kept.mkdir()
    moved = [path.rename(kept / f"{n}.dcm") for n, path in enumerate(later)]
    with running(
        tmp_path / "house", signature=f"registry = {json.dumps(str(registry.folder))}", assembly="prefer_complete_s = 1"
    ) as daemon:
        storescu(daemon.port, exam.folder)
        first = daemon.wait_for(exam.study_uid, "delivered", "not_evaluated", "failed")
        assert first["state"] != "failed"
        assert first["revision"] == 1
        assert daemon.result(exam.study_uid).sequences.keys() == {"t1c"}
        storescu(daemon.port, *moved)
        daemon.wait_for_instances(len(moved))
        if t2_is_read:
            daemon.wait_for(exam.study_uid, "delivered", "not_evaluated", revision=2)
            assert [a["answer"]["expected"]["signature"] for a in answers(daemon)] == ["t1@1", "t1t2@1"]
        else:
            daemon.wait_for_sweep()
            assert [a["answer"]["expected"]["signature"] for a in answers(daemon)] == ["t1@1"]
