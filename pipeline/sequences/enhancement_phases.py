"""The three volumes that functional tumour volume is read from, of the dynamic that T1+C is a phase of."""

from __future__ import annotations

from dataclasses import dataclass

from config.schema import Sequences
from pipeline.catalog import Exam, FrameRef, Selection
from pipeline.errors import SequenceRejected
from pipeline.sequences.classify import classify
from pipeline.sequences.dynamic import Dynamic, T1Volume, dynamics
from pipeline.sequences.evidence import Evidence
from pipeline.sequences.rules import rules
from pipeline.sequences.t1c import injection_s, selection_of

# An early phase further from what is asked for is none; a late one follows the early one by at least so much.
EARLY_WITHIN_S, LATE_AFTER_S = 90.0, 60.0


@dataclass(frozen=True, slots=True)
class TimedPhases:
    """`early_s`, `late_s`: the middle of each acquisition, in seconds after injection."""

    before: Selection
    early: Selection
    late: Selection
    early_s: float
    late_s: float


def enhancement_phases(exam: Exam, settings: Sequences, t1c: Selection, early_s: float, late_s: float) -> TimedPhases:
    """The last volume before contrast, and those after it nearest to `early_s` and `late_s`. Subtractions are not used.

    Raises SequenceRejected (`no-before-contrast`, `one-phase`, `no-phase-times`, `no-early-phase`).
    """
    table = rules(settings.rules)
    mine = {_key(frame) for frame in t1c.frames}
    known = dynamics([classify(Evidence(series), table) for series in exam.series])
    dynamic = next((d for d in known if any(mine & _keys(v) for v in d.posts)), None)
    if dynamic is None or not dynamic.pres:
        raise SequenceRejected("there is no volume before contrast of the same dynamic", code="no-before-contrast")
    if len(dynamic.posts) < 2:
        raise SequenceRejected("there is only one phase after contrast", code="one-phase")
    timed = _timed(dynamic)
    first_s, early = min(timed, key=lambda one: abs(one[0] - early_s))
    if abs(first_s - early_s) > EARLY_WITHIN_S:
        raise SequenceRejected(
            f"no phase lies within {EARLY_WITHIN_S:g} s of {early_s:g} s after injection; the nearest is at "
            f"{first_s:.0f} s",
            code="no-early-phase",
        )
    later = [one for one in timed if one[0] >= first_s + LATE_AFTER_S]
    if not later:
        raise SequenceRejected(f"no phase follows the early one by {LATE_AFTER_S:g} s or more", code="one-phase")
    last_s, late = min(later, key=lambda one: abs(one[0] - late_s))
    before, soon, after = (
        selection_of(volume, dynamic, why, 1.0)
        for volume, why in (
            (dynamic.pres[-1], "the last volume before contrast"),
            (early, f"{first_s:.0f} s after injection"),
            (late, f"{last_s:.0f} s after injection"),
        )
    )
    return TimedPhases(before, soon, after, first_s, last_s)


def _timed(dynamic: Dynamic) -> list[tuple[float, T1Volume]]:
    """Each volume after contrast with the middle of its acquisition after injection."""
    injected, interval = injection_s(dynamic), dynamic.interval_s
    times = [v.phase.time_s for v in dynamic.posts]
    starts = [t for t in times if t is not None]
    if injected is None or interval is None or len(starts) < len(times) or len(set(starts)) < len(starts):
        raise SequenceRejected("the headers do not tell when each phase was acquired", code="no-phase-times")
    return [(start - injected + interval / 2, v) for start, v in zip(starts, dynamic.posts, strict=True)]


def _keys(volume: T1Volume) -> set[tuple[str, int | None]]:
    return {_key(s.frame) for s in volume.phase.slices}


def _key(frame: FrameRef) -> tuple[str, int | None]:
    return frame.instance.ref.sop_instance_uid, frame.frame
