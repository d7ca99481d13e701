"""A real worker and an exam that exceeds a limit: the process is replaced, the exam set aside with the reason."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pipeline.phantom import PhantomSpec, write_exam
from tests.support.daemon import running
from tests.support.waiting import wait_for


def test_an_exam_that_exceeds_a_limit_is_set_aside_with_its_reason_and_the_worker_lives_on(tmp_path: Path) -> None:
    # A limit that every exam exceeds: a worker process alone takes more than this.
    limits = "attempts = 2\nmax_memory_bytes = 67108864"
    exam = write_exam(tmp_path / "exam", PhantomSpec(seed=3, preset="small"))
    with running(tmp_path / "daemon", work=limits) as daemon:
        told = daemon.axrad("ingest", "--background", "--json", str(exam.paths[0].parent.parent))
        assert json.loads(told.stdout)["refused"] == [], told.stderr
        found = daemon.wait_for(exam.study_uid, "failed")
        assert found["role"] == "backfill"
        assert "GiB of work.max_memory_bytes, and was stopped" in found["reason"]
        assert found["reason_code"] == "outgrew-memory"
        assert [e["kind"] for e in found["events"] if e["kind"] in ("started", "retry", "failed")] == [
            "started",
            "retry",
            "started",
            "failed",
        ]
        child = next(c for c in daemon.supervisor.children if c.name == "work-analyse")
        assert child.process is not None
        assert child.failures == 0, "the worker itself was not started again"
        children = Path(f"/proc/{child.process.pid}/task/{child.process.pid}/children")
        wait_for(lambda: children.read_text().split(), "a process in the dead one's place")
        assert os.path.exists(f"/proc/{child.process.pid}")
