"""Matching from names alone: a table of series, of whole exams where rows say which exam they are of."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pipeline.records import Sequence as SequenceName
from pipeline.sequences.candidates import Weighed, best, preference, without_fragments
from pipeline.sequences.name_verdict import NameVerdict, base_of_phase, judge, normalise
from pipeline.sequences.records import Label
from pipeline.sequences.rules import Rules


@dataclass(frozen=True)
class NamedSeries:
    """One row: what is known of a series without its headers. Unknown numbers are None, an unknown exam is empty."""

    vendor: str
    description: str
    instances: int | None = None
    study_uid: str = ""
    series_number: float | None = None


@dataclass(frozen=True)
class NamedLabel:
    """`chosen`: the sequence that this row would be used for, where the row's exam is known."""

    label: Label
    confidence: float
    why: str
    chosen: SequenceName | None = None


# What makes a name mean before contrast, even where no other series is a phase of it.
CERTAINLY_PRE = frozenset({"pre", "first_image", "bare_dynamic"})
# A phase of the breasts rarely has more slices; a longer series holds several phases.
MOST_SLICES = 300
# A dynamic holds at least the mask and one phase more than any single volume of its exam.
MANY_TIMES = 1.8
# Fewer images than this are no volume of the breasts beside a series with so many times as many.
LEAST_IMAGES = 10
MANY_MORE = 3
# What a label is worth for each sequence. A name is all there is to go by, so its confidence counts in full.
LABEL_POINTS: Mapping[SequenceName, Mapping[Label, float]] = {
    "t1c": {"t1_post": 1.0, "t1_dynamic": 0.9},
    "t2": {"t2": 1.0, "t2_stir": 0.8},
    "adc": {"adc": 1.0, "dwi": 0.7},
}
# Names that differ by less are as good. What the rule table prefers, by 0.1, stands out (as 1.05 does from 0.95).
NAMES_MARGIN = 0.1


def match_names(rows: Sequence[NamedSeries], rules: Rules) -> tuple[NamedLabel, ...]:
    """A label for every row; rows of one exam are judged together, other rows alone."""
    exams: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        exams[row.study_uid or f"row {index}"].append(index)
    by_row: dict[int, NamedLabel] = {}
    for members in exams.values():
        verdicts = [judge(rows[i].description, rows[i].vendor, rules) for i in members]
        labels = _in_context([rows[i] for i in members], verdicts)
        if len(members) > 1:
            labels = _choose([rows[i] for i in members], verdicts, labels, rules)
        by_row.update(zip(members, labels, strict=True))
    return tuple(by_row[i] for i in range(len(rows)))


def _in_context(rows: list[NamedSeries], verdicts: list[NameVerdict]) -> list[NamedLabel]:
    labels = [NamedLabel(v.label, v.confidence, v.why) for v in verdicts]
    if len(rows) == 1:
        return [_by_size(rows[0], verdicts[0], labels[0], None)]
    names = [normalise(r.description) for r in rows]
    bases = {base: i for i, name in enumerate(names) if (base := base_of_phase(name))}
    has_phases = any(v.label == "t1_post" and "phase" in v.concepts for v in verdicts)
    volume = _usual_volume(rows, verdicts)
    for i, (row, verdict) in enumerate(zip(rows, verdicts, strict=True)):
        if not verdict.label.startswith("t1"):
            continue
        if names[i] in bases:
            labels[i] = _mask_of_phases(row, rows[bases[names[i]]])
        elif f"{names[i]}: ser" in names and "pre" not in verdict.concepts:
            labels[i] = NamedLabel("t1_dynamic", 0.9, "enhancement maps were made from it, so it is the whole dynamic")
        elif verdict.label == "t1_pre" and not CERTAINLY_PRE & verdict.concepts and not has_phases:
            labels[i] = _unphased(row, verdict, volume)
        elif "only_side" in verdict.concepts and any(v.label == "t1_post" for v in verdicts):
            labels[i] = NamedLabel("t1_static", 0.5, "other series of the exam are named as after contrast")
        else:
            labels[i] = _by_size(row, verdict, labels[i], volume)
    return labels


def _unphased(row: NamedSeries, verdict: NameVerdict, volume: int | None) -> NamedLabel:
    """The whole dynamic, named as a mask may be where no phase is a series of its own; surely so by its size."""
    if row.instances and volume and row.instances >= MANY_TIMES * volume:
        return NamedLabel("t1_dynamic", 0.85, f"{verdict.why}; {row.instances} images are several volumes")
    return NamedLabel("t1_dynamic", 0.6, f"{verdict.why}; no phase of it is a series of its own")


def _mask_of_phases(row: NamedSeries, phase: NamedSeries) -> NamedLabel:
    many = row.instances and phase.instances and row.instances >= MANY_TIMES * phase.instances
    if many:
        return NamedLabel("t1_dynamic", 0.85, "phases of its name follow it, but it has the images of several")
    return NamedLabel("t1_pre", 0.95, "phases of its name follow it as Ph1/..., so it is their mask")


def _usual_volume(rows: list[NamedSeries], verdicts: list[NameVerdict]) -> int | None:
    """The number of images of one T1 volume in this exam: the commonest among series named as one volume.

    Of numbers that are as common the smallest: a whole dynamic may be named as its mask is.
    """
    single = [
        r.instances for r, v in zip(rows, verdicts, strict=True) if r.instances and v.label in ("t1_pre", "t1_post")
    ]
    counts = Counter(single)
    return min(single, key=lambda number: (-counts[number], number)) if single else None


def _by_size(row: NamedSeries, verdict: NameVerdict, label: NamedLabel, volume: int | None) -> NamedLabel:
    """A T1 series with the images of several volumes is a dynamic, whatever a weak word says."""
    if verdict.label not in ("t1_pre", "t1_static", "t1_post") or row.instances is None or "pre" in verdict.concepts:
        return label
    several = row.instances > MOST_SLICES or (volume is not None and row.instances >= MANY_TIMES * volume)
    dynamic = {"dynamic", "vibrant", "auto_dynamic", "old_dynamic"} & verdict.concepts
    if several and dynamic and not {"phase", "ge_phase"} & verdict.concepts:
        return NamedLabel("t1_dynamic", 0.8, f"{verdict.why}; {row.instances} images are several volumes")
    return label


def _choose(
    rows: list[NamedSeries], verdicts: list[NameVerdict], labels: list[NamedLabel], rules: Rules
) -> list[NamedLabel]:
    """Mark the rows that would be used as T1+C, T2 and ADC."""
    marked = list(labels)
    for sequence in LABEL_POINTS:
        choice = best(
            _weighed(sequence, rows, verdicts, labels, rules), NAMES_MARGIN, partial(_among, sequence, rows, labels)
        )
        if choice.taken is not None:
            row = choice.taken.of
            marked[row] = replace(marked[row], chosen=sequence)
    return marked


def _weighed(
    sequence: SequenceName,
    rows: list[NamedSeries],
    verdicts: list[NameVerdict],
    labels: list[NamedLabel],
    rules: Rules,
) -> list[Weighed[int]]:
    """The rows that could be this sequence, by their places in the exam."""
    of_label, preferred = LABEL_POINTS[sequence], rules.prefer.get(sequence, {})
    passed_over = _passed_over(rows, verdicts, labels) if sequence == "t1c" else frozenset()
    candidates = [i for i, label in enumerate(labels) if label.label in of_label and i not in passed_over]
    whole, _ = without_fragments(candidates, lambda i, other: _is_fragment(rows[i].instances, rows[other].instances))
    return [
        Weighed(
            of_label[labels[i].label] * labels[i].confidence + preference(verdicts[i].concepts, preferred)[0],
            i,
        )
        for i in whole
    ]


def _among(
    sequence: SequenceName, rows: list[NamedSeries], labels: list[NamedLabel], nearest: Sequence[Weighed[int]]
) -> Weighed[int]:
    """Of those with the best one's label the first phase as T1+C; else the last, as a scan is repeated for a reason."""
    alike = {one.of: one for one in nearest if labels[one.of].label == labels[nearest[0].of].label}
    return alike[_first_post(sorted(alike), rows, labels) if sequence == "t1c" else max(alike)]


def _is_fragment(images: int | None, others: int | None) -> bool:
    """Whether a series is too short for a volume beside another candidate: a trial, or a few slices kept by hand."""
    return images is not None and images < LEAST_IMAGES and (others or 0) >= MANY_MORE * images


def _passed_over(rows: list[NamedSeries], verdicts: list[NameVerdict], labels: list[NamedLabel]) -> frozenset[int]:
    """Volumes after contrast that are no phases of the exam's whole dynamic: acquired late, or in another plane.

    A whole dynamic holds the first phase after contrast. Where it is one series of several volumes, a single volume
    after contrast beside it is chosen only if its name counts it as a phase.
    """
    whole = [i for i, (v, label) in enumerate(zip(verdicts, labels, strict=True)) if _is_whole(v, label)]
    single = [
        i
        for i, (v, label) in enumerate(zip(verdicts, labels, strict=True))
        if label.label == "t1_post" and not {"phase", "ge_phase"} & v.concepts
    ]
    return frozenset(i for i in single if any(_holds_several(rows[w], rows[i], len(single)) for w in whole))


def _is_whole(verdict: NameVerdict, label: NamedLabel) -> bool:
    """A whole dynamic by its name, and no registered copy, test acquisition or time-resolved series."""
    named = {"dynamic", "both", "whole_dynamic", "auto_dynamic"} & verdict.concepts
    return label.label == "t1_dynamic" and bool(named) and not {"registered", "cropped", "fast"} & verdict.concepts


def _holds_several(whole: NamedSeries, single: NamedSeries, singles: int) -> bool:
    """Whether `whole` has the images of several volumes like `single`; by its name where a count is not known."""
    if whole.instances and single.instances:
        return whole.instances >= MANY_TIMES * single.instances
    return singles == 1


def _first_post(near: list[int], rows: list[NamedSeries], labels: list[NamedLabel]) -> int:
    """The first by series number; of volumes with one name and no mask the second, as the first is the mask."""
    ordered = sorted(near, key=lambda i: (rows[i].series_number is None, rows[i].series_number or 0.0, i))
    first = ordered[0]
    alike = [
        i
        for i in ordered
        if _unnumbered(rows[i]) == _unnumbered(rows[first]) and rows[i].instances == rows[first].instances
    ]
    same = [i for i in alike if rows[i].description.lower() == rows[first].description.lower()]
    masked = any(label.label == "t1_pre" for label in labels)
    if labels[first].label == "t1_dynamic":
        alike = same if masked else alike
        return alike[1] if len(alike) > 1 else first
    return first


def _unnumbered(row: NamedSeries) -> str:
    """A name without the number that counts the phases at its end ("..._R2", "dyn 3")."""
    return re.sub(r"[ _-]*r?\d{1,2}$", "", row.description.lower().strip())
