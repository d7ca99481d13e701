"""The volumes of an exam on which regions are proposed."""

from __future__ import annotations

from config.schema import Sequences
from pipeline import sequences, volumes
from pipeline.catalog import Exam
from pipeline.errors import ExamRejected
from pipeline.records import Volume


def t1c_and_before(exam: Exam, settings: Sequences) -> tuple[Volume, Volume | None]:
    """T1+C and, where there is one on the same grid, the volume before contrast.

    Raises ExamRejected (`no-t1c`), and what loading a volume does.
    """
    matched = sequences.match(exam, settings)
    chosen = matched.chosen.get("t1c")
    if chosen is None:
        raise ExamRejected("no T1+C to propose regions on: " + "; ".join(matched.reasons), code="no-t1c")
    t1c = volumes.load(chosen, settings)
    before = sequences.before_contrast(exam, settings, chosen)
    pre = volumes.load(before, settings) if before is not None else None
    return t1c, pre if pre is not None and pre.geometry.same_grid(t1c.geometry) else None
