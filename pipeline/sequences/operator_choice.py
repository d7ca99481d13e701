"""Series that a person named for a sequence: an operator for this exam, or the site's settings for all exams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipeline.catalog import Exam
from pipeline.records import Sequence as SequenceName
from pipeline.sequences.candidates import Chosen
from pipeline.sequences.classify import Verdict
from pipeline.sequences.evidence import Evidence
from pipeline.sequences.phases import phases, usable
from pipeline.sequences.records import T1C_LABELS, Label
from pipeline.sequences.series_position import coverage

BY_OPERATOR, BY_SETTINGS = "chosen by an operator", "named in sequences.use"
# Fewer slices make no volume.
FEWEST_SLICES = 3
# What such a series may be taken for; the first where the rules took it for something else.
LABELS: Mapping[SequenceName, tuple[Label, ...]] = {"t1c": T1C_LABELS, "t2": ("t2", "t2_stir"), "adc": ("adc", "dwi")}
TITLES: Mapping[SequenceName, str] = {"t1c": "T1+C", "t2": "T2", "adc": "ADC"}


def as_chosen(verdicts: Sequence[Verdict], exam: Exam) -> list[Verdict]:
    """The verdicts with each series that an operator chose taken for what it was chosen as, so for nothing else."""
    names = {uid: name for name, uid in exam.choices.items()}
    return [_taken_for(names[v.evidence.uid], v) if v.evidence.uid in names else v for v in verdicts]


def _taken_for(name: SequenceName, verdict: Verdict) -> Verdict:
    label = verdict.label if verdict.label in LABELS[name] else LABELS[name][0]
    return replace(verdict, label=label, confidence=1.0, why=BY_OPERATOR, t1=name == "t1c")


def named(
    name: SequenceName, exam: Exam, verdicts: Sequence[Verdict], use: Mapping[SequenceName, str]
) -> tuple[Verdict, str] | None:
    """The series that was named for this sequence, and by whom; None where nobody did, or the exam has no such series.

    An operator's word on this exam comes before `use`, which is the site's for all exams.
    """
    for choices, by in ((exam.choices, BY_OPERATOR), (use, BY_SETTINGS)):
        verdict = next((v for v in verdicts if v.evidence.uid == choices.get(name)), None)
        if verdict is not None:
            return verdict, by
    return None


def refused(
    name: SequenceName, exam: Exam, verdicts: Sequence[Verdict], reference: Evidence | None = None
) -> Chosen | None:
    """No choice, with the reason, where the series that an operator chose is gone or is no volume in the right place.

    `reference`: of T1+C, for T2 and ADC. No other series takes its place: a person has decided against those.
    """
    uid = exam.choices.get(name)
    if uid is None:
        return None
    verdict = next((v for v in verdicts if v.evidence.uid == uid), None)
    why = "it is not in the exam" if verdict is None else _unfit(name, verdict, reference)
    if not why:
        return None
    sentence = f"an operator chose series {uid} as {TITLES[name]}, which it cannot be: {why}"
    return Chosen(None, (("unfit-choice", sentence),))


def _unfit(name: SequenceName, verdict: Verdict, reference: Evidence | None) -> str:
    evidence = verdict.evidence
    _, slices = usable(evidence.slices)
    places = {s.position_mm for s in slices}
    if None in places or any(s.orientation is None for s in slices):
        return "its images do not say where they lie"
    if len({s.orientation for s in slices}) > 1:
        return "its slices lie in several planes"
    if len(places) < FEWEST_SLICES:
        return f"it has {len(places)} slices, and a volume needs {FEWEST_SLICES}"
    volumes = phases(evidence)
    if not volumes:
        return "its images do not make up whole volumes"
    has_map = verdict.label == "dwi" or any(s.kind == "adc" for s in slices)
    if len(volumes) > 1 and (name == "t2" or (name == "adc" and not has_map)):
        return f"it holds {len(volumes)} volumes, not one"
    if reference is not None and _same_frame(evidence, reference) and coverage(evidence, reference) == 0.0:
        return "it shows nothing of what T1+C shows"
    return ""


def _same_frame(one: Evidence, other: Evidence) -> bool:
    frames = {e.series.instances[0].frame_of_reference_uid or None for e in (one, other)}
    return len(frames) == 1 and None not in frames
