"""The volume before contrast that belongs to T1+C: the last one before the agent, of the same dynamic."""

from __future__ import annotations

from config.schema import Sequences
from pipeline.catalog import Exam, FrameRef, Selection
from pipeline.sequences.classify import classify
from pipeline.sequences.dynamic import dynamics
from pipeline.sequences.evidence import Evidence
from pipeline.sequences.rules import rules
from pipeline.sequences.t1c import selection_of


def before_contrast(exam: Exam, settings: Sequences, t1c: Selection) -> Selection | None:
    """The last volume before contrast of the dynamic that T1+C is a phase of; None where it has none."""
    table = rules(settings.rules)
    mine = {_key(frame) for frame in t1c.frames}
    for dynamic in dynamics([classify(Evidence(series), table) for series in exam.series]):
        if dynamic.pres and any(mine & {_key(s.frame) for s in v.phase.slices} for v in dynamic.posts):
            return selection_of(dynamic.pres[-1], dynamic, "the last volume before contrast", 1.0)
    return None


def _key(frame: FrameRef) -> tuple[str, int | None]:
    return frame.instance.ref.sop_instance_uid, frame.frame
