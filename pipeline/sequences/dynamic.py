"""T1-weighted series put together to dynamics: which volume is before contrast, which after."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise

from pipeline.sequences.classify import Verdict
from pipeline.sequences.evidence import names_agent
from pipeline.sequences.name_verdict import PHASE_NUMBER, base_of_phase, normalise
from pipeline.sequences.phases import Phase, phases, usable
from pipeline.sequences.records import Label
from pipeline.sequences.series_position import Box, box_of, same_place
from pipeline.sequences.slices import seconds_of_day

# Volumes that follow each other faster than this are a time-resolved arterial series, not the usual dynamic.
FAST_S = 20.0
# A fast series' first volume that shows contrast in tissue, from its start.
FAST_FIRST_POST_S = 60.0
# A longer pause between dynamics of several volumes means that the agent was given again.
SESSION_GAP_S = 1200.0
LEAST_OF_SESSION = 3
# The first volume after an injection follows it within so many seconds.
AFTER_BOLUS_S = 600.0

Member = tuple[Verdict, Phase]


@dataclass(frozen=True)
class T1Volume:
    """One volume of one T1-weighted series."""

    verdict: Verdict
    phase: Phase
    after_contrast: bool

    @property
    def uid(self) -> str:
        return self.verdict.evidence.uid


@dataclass(frozen=True)
class Dynamic:
    """T1-weighted volumes on one grid and by one protocol, in order of time."""

    volumes: tuple[T1Volume, ...]
    evidence: str

    @property
    def posts(self) -> tuple[T1Volume, ...]:
        return tuple(v for v in self.volumes if v.after_contrast)

    @property
    def pres(self) -> tuple[T1Volume, ...]:
        return tuple(v for v in self.volumes if not v.after_contrast)

    @property
    def interval_s(self) -> float | None:
        times = [v.phase.time_s for v in self.volumes]
        gaps = sorted(b - a for a, b in pairwise(times) if a is not None and b is not None and b > a)
        return gaps[len(gaps) // 2] if gaps else None


def dynamics(verdicts: list[Verdict]) -> tuple[Dynamic, ...]:
    """All groups of T1-weighted series that share grid, protocol and place, and were acquired in one go."""
    groups: dict[object, list[Member]] = defaultdict(list)
    for verdict in verdicts:
        if not verdict.t1:
            continue
        evidence = verdict.evidence
        component, _ = usable(evidence.slices)
        for phase in phases(evidence):
            # A registered copy of a dynamic, or what a workstation made of it, is no further phase of it.
            copy = "registered" in verdict.name.concepts, evidence.secondary
            groups[_key(verdict, component, len(phase.slices), copy)].append((verdict, phase))
    places = (place for group in groups.values() for place in _by_place(group))
    return tuple(_dynamic(session) for place in places for session in _sessions(place))


def _by_place(group: list[Member]) -> list[list[Member]]:
    """The group's volumes by where they lie: one breast after the other may be scanned by one protocol."""
    places: list[tuple[Box | None, list[Member]]] = []
    for verdict, phase in group:
        box = box_of(verdict.evidence, phase.slices)
        mine = next((members for other, members in places if same_place(other, box)), None)
        if mine is None:
            places.append((box, [(verdict, phase)]))
        else:
            mine.append((verdict, phase))
    return [members for _, members in places]


def _sessions(group: list[Member]) -> list[list[Member]]:
    """The group in order of time, parted where a long pause lies between two dynamics of their own."""
    ordered = sorted(group, key=lambda member: _order(*member))
    for n in range(LEAST_OF_SESSION, len(ordered) - LEAST_OF_SESSION + 1):
        before, after = ordered[n - 1][1].time_s, ordered[n][1].time_s
        if before is not None and after is not None and after - before > SESSION_GAP_S:
            return [ordered[:n], *_sessions(ordered[n:])]
    return [ordered]


def _key(verdict: Verdict, component: str, slices: int, copy: tuple[bool, bool]) -> object:
    evidence = verdict.evidence
    times = tuple(round(v, 1) if v is not None else None for v in map(evidence.number, ("RepetitionTime", "EchoTime")))
    angle = evidence.number("FlipAngle")
    # The anatomical T1 without fat suppression may share the times of the dynamic; it is no volume of it.
    plain = "not_fat_suppressed" in verdict.name.concepts
    return evidence.grid, slices, times, angle, component, copy, plain


def _dynamic(ordered: list[Member]) -> Dynamic:
    named_before = _named_before_contrast(ordered)
    before, evidence = _volumes_before_contrast(ordered, named_before)
    volumes = (T1Volume(v, p, n >= before and not named_before[n]) for n, (v, p) in enumerate(ordered))
    return Dynamic(tuple(volumes), evidence)


def _named_before_contrast(ordered: list[Member]) -> list[bool]:
    """Whether a name makes each volume one before contrast, whatever its place in time.

    A series that a person called pre is before contrast as a whole, unless it repeats as only a dynamic does; so is a
    series whose phases follow as Ph1/NAME, Ph2/NAME.
    """
    volumes_of = Counter(v.evidence.uid for v, _ in ordered)
    names = {v.evidence.uid: normalise(v.evidence.name) for v, _ in ordered}
    masks = {base_of_phase(name) for name in names.values()}
    return [
        volumes_of[v.evidence.uid] < 3
        and (("pre" in v.name.concepts and v.name.label == "t1_pre") or names[v.evidence.uid] in masks)
        for v, _ in ordered
    ]


def _order(verdict: Verdict, phase: Phase) -> tuple[float, ...]:
    """By time; where that is the same for all (GE gives every phase the time of the whole), by what counts phases."""
    first = phase.slices[0]
    named = PHASE_NUMBER.search(normalise(verdict.evidence.name))
    return (
        float("inf") if phase.time_s is None else phase.time_s,
        first.trigger or 0.0,
        first.temporal or 0.0,
        float(named[1]) if named else 0.0,
        verdict.evidence.series_number,
        min(s.number for s in phase.slices),
    )


def _volumes_before_contrast(ordered: list[Member], named_before: list[bool]) -> tuple[int, str]:
    """How many of the volumes, in order of time, were acquired before contrast, and how that is known."""
    labels = [v.name.label for v, _ in ordered]
    agents = [_agent(p) for _, p in ordered]
    if len(ordered) == 1:
        return _single(labels[0], agents[0])
    volumes_of = Counter(v.evidence.uid for v, _ in ordered)
    if not (any(agents) or {"t1_post", "t1_dynamic"} & set(labels) or max(volumes_of.values()) > 2):
        return len(ordered), "no sign of contrast"
    timed = _before_bolus(ordered)
    if timed is not None:
        return timed, "contrast start time"
    if any(agents) and not all(agents) and agents == sorted(agents):
        return agents.index(True), "contrast agent named from this volume on"
    named = next((n for n, pre in enumerate(named_before) if not pre), len(ordered))
    if named:
        return named, "its name says before contrast"
    if all(label == "t1_post" for label in labels):
        return 0, "all are named as after contrast"
    return 1, "the first volume in time is before contrast"


def _before_bolus(ordered: list[Member]) -> int | None:
    start = seconds_of_day(ordered[0][0].evidence.text("ContrastBolusStartTime"))
    times = [p.time_s for _, p in ordered if p.time_s is not None]
    if start is None or len(times) < len(ordered):
        return None
    before = sum(t < start for t in times)
    if (
        before == 0
        and min(times) <= start + AFTER_BOLUS_S
        and start < min(times)
        and all(_agent(p) for _, p in ordered)
    ):
        return 0  # without the volume before contrast; a start alone is not believed, some are the exam's
    return before if 0 < before < len(ordered) else None


def _single(label: Label, agent: bool) -> tuple[int, str]:
    if label == "t1_post":
        return 0, "its name says after contrast"
    if agent and label not in ("t1_pre", "t1_dynamic"):
        return 0, "a contrast agent is named"
    if agent and label == "t1_dynamic":
        return 0, "a contrast agent is named and its name says dynamic"
    return 1, "a single volume without contrast agent"


def _agent(phase: Phase) -> bool:
    """Whether a contrast agent is named in every image of the volume."""
    return all(names_agent(s.frame.instance) for s in phase.slices)


def relabel(verdicts: list[Verdict], known: tuple[Dynamic, ...]) -> list[Verdict]:
    """Labels of T1-weighted series with the exam's context: pre, post, dynamic or static."""
    by_uid: dict[str, list[tuple[Dynamic, T1Volume]]] = defaultdict(list)
    for dynamic in known:
        for volume in dynamic.volumes:
            by_uid[volume.uid].append((dynamic, volume))
    return [_relabelled(v, by_uid[v.evidence.uid]) if v.evidence.uid in by_uid else v for v in verdicts]


def _relabelled(verdict: Verdict, members: list[tuple[Dynamic, T1Volume]]) -> Verdict:
    after = [volume.after_contrast for _, volume in members]
    dynamic = members[0][0]
    label: Label
    if len(after) > 1:
        label = "t1_dynamic" if any(after) else "t1_pre"
    elif after[0]:
        label = "t1_post"
    elif dynamic.posts or verdict.name.label == "t1_pre":
        label = "t1_pre"
    elif verdict.name.label == "t1_dynamic":
        # A single volume called dynamic, without a sign of contrast, is at most the mask of one.
        label = "t1_pre"
    else:
        label = "t1_static"
    agrees = label == verdict.name.label
    confidence = 0.95 if agrees else 0.85 if len(dynamic.volumes) > 1 else 0.6
    phases_told = f"{len(after)} volumes" if len(after) > 1 else "one volume"
    return replace(
        verdict,
        label=label,
        confidence=confidence,
        why=f"{verdict.why}; {phases_told} of {len(dynamic.volumes)} on its grid, {dynamic.evidence}",
    )
