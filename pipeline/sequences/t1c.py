"""Which volume is T1+C: what the ROI was drawn on, else the best dynamic and the phase that is set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pipeline.catalog import Exam, FrameRef, Selection
from pipeline.sequences.candidates import Candidate, Chosen, pick, without_fragments
from pipeline.sequences.classify import Verdict
from pipeline.sequences.dynamic import FAST_FIRST_POST_S, FAST_S, Dynamic, T1Volume
from pipeline.sequences.name_verdict import ordinal_of_subtraction, subtracted_series
from pipeline.sequences.phases import Phase, phases
from pipeline.sequences.placed_candidates import FRAGMENT
from pipeline.sequences.slices import seconds_of_day

# A number for how bright a volume is, for `phase = "peak"`; higher means more contrast.
Brightness = Callable[[tuple[FrameRef, ...]], float]


def choose(
    exam: Exam,
    verdicts: Sequence[Verdict],
    dynamics: Sequence[Dynamic],
    phase: str,
    margin: float,
    brightness: Brightness,
) -> Chosen:
    """T1+C of the exam, with its evidence, or the reason why there is none."""
    drawn = drawn_on(exam)
    usable = [d for d in dynamics if d.posts]
    reasons: list[tuple[str, str]] = []
    if drawn:
        hit = _on_referenced(drawn, drawn_frames(exam), verdicts, usable, phase, brightness, reasons)
        if hit is not None:
            return Chosen(hit, tuple(reasons))
    whole, _ = without_fragments(usable, lambda mine, other: _slices(mine) < FRAGMENT * _slices(other))
    candidates = [c for d in whole if (c := _candidate(d, phase, brightness, reasons)) is not None]
    chosen = pick("T1+C", "t1c", candidates, margin)
    return Chosen(chosen.selection, (*reasons, *chosen.reasons))


def _slices(dynamic: Dynamic) -> int:
    return len(dynamic.volumes[0].phase.slices)


def drawn_on(exam: Exam) -> dict[str, frozenset[str]]:
    """Instances that the exam's ROI objects were drawn on, by series; what names only a series gives no instances.

    The instances a SEG names as the sources of its frames come before the longer list of the series it belongs to.
    """
    series_of = {i.ref.sop_instance_uid: s.series_uid for s in exam.series for i in s.instances}
    by_series: dict[str, set[str]] = {}
    for roi in exam.rois:
        precise = roi.tags.get("drawn_on")
        uids = [str(u) for u in precise] if isinstance(precise, list) else []
        if not any(u in series_of for u in uids):
            uids = [r.sop_instance_uid for r in roi.references]
        for uid in uids:
            if uid in series_of:
                by_series.setdefault(series_of[uid], set()).add(uid)
        if not any(u in series_of for u in uids):
            for reference in roi.references:
                if any(s.series_uid == reference.series_uid for s in exam.series):
                    by_series.setdefault(reference.series_uid, set())
    return {series: frozenset(uids) for series, uids in by_series.items()}


def drawn_frames(exam: Exam) -> frozenset[tuple[str, int]]:
    """Frames of multi-frame instances that ROI objects name as their sources."""
    named = [t for roi in exam.rois if isinstance(t := roi.tags.get("drawn_on_frames"), list)]
    pairs = (str(text).rpartition("#") for texts in named for text in texts)
    return frozenset((uid, int(frame)) for uid, _, frame in pairs if frame.isdigit())


def _on_referenced(
    drawn: dict[str, frozenset[str]],
    frames: frozenset[tuple[str, int]],
    verdicts: Sequence[Verdict],
    dynamics: Sequence[Dynamic],
    phase: str,
    brightness: Brightness,
    reasons: list[tuple[str, str]],
) -> Selection | None:
    """The selection that the ROI's references lead to; None where they lead to no T1 after contrast."""
    by_uid = {v.evidence.uid: v for v in verdicts}
    hits: list[tuple[T1Volume, Dynamic, str]] = []
    for uid in sorted(drawn):
        verdict = by_uid.get(uid)
        if verdict is None:
            continue
        if verdict.label in ("subtraction", "mip", "reformat"):
            source = source_of(verdict, dynamics)
            if source is not None:
                hits.append((*source, f"the ROI was drawn on the {verdict.label} {verdict.evidence.name!r} of it"))
                continue
        hit = _volume_drawn_on(uid, drawn[uid], frames, dynamics, phase, brightness)
        if hit is not None:
            hits.append(hit)
        elif verdict.label not in ("adc", "dwi", "t2", "t2_stir"):
            reasons.append(
                (
                    "roi-on-other-series",
                    f"the ROI was drawn on series {uid}, taken for {verdict.label}, which cannot be T1+C",
                )
            )
    if not hits:
        return None
    if len({id(dynamic) for _, dynamic, _ in hits}) > 1:
        best = max(hits, key=lambda h: _score(h[1])[0])
        reasons.append(
            (
                "roi-on-several-series",
                "ROIs were drawn on several T1 series: " + ", ".join(sorted({v.uid for v, _, _ in hits})),
            )
        )
        return selection_of(best[0], best[1], best[2], 0.7)
    volume, dynamic, why = hits[0]
    return selection_of(volume, dynamic, why, 1.0)


def _volume_drawn_on(
    uid: str,
    instances: frozenset[str],
    frames: frozenset[tuple[str, int]],
    dynamics: Sequence[Dynamic],
    phase: str,
    brightness: Brightness,
) -> tuple[T1Volume, Dynamic, str] | None:
    for dynamic in dynamics:
        mine = [v for v in dynamic.volumes if v.uid == uid]
        if not mine:
            continue
        touched = [v for v in mine if v.phase.touches(instances, frames)]
        if len(touched) == 1 and len(mine) > 1 and touched[0].after_contrast:
            return touched[0], dynamic, "the ROI was drawn on this phase"
        posts = [v for v in mine if v.after_contrast]
        if len(posts) == 1:
            return posts[0], dynamic, "the ROI was drawn on this series"
        narrowed = Dynamic(tuple(mine), dynamic.evidence) if posts else dynamic
        chosen = volume_of(narrowed, phase, brightness)
        if chosen is not None:
            on = "this series" if posts else "the volume before contrast of the same dynamic"
            return chosen[0], dynamic, f"the ROI was drawn on {on}; {chosen[1]}"
    return None


def volumes_of_series(uid: str, dynamics: Sequence[Dynamic]) -> Dynamic | None:
    """The dynamic that has a volume after contrast of this series, narrowed to it; None where none has."""
    for dynamic in dynamics:
        mine = tuple(v for v in dynamic.volumes if v.uid == uid)
        if any(v.after_contrast for v in mine):
            return Dynamic(mine, dynamic.evidence)
    return None


def as_post(verdict: Verdict) -> Dynamic | None:
    """A series taken as after contrast because a person said so."""
    volumes = tuple(T1Volume(verdict, phase, True) for phase in phases(verdict.evidence))
    return Dynamic(volumes, "named by an operator") if volumes else None


def only_volume(dynamic: Dynamic) -> tuple[T1Volume, str] | None:
    """The volume after contrast of a series that a person named, where it holds no other; no phase is to be chosen."""
    posts = dynamic.posts
    return (posts[0], "first phase after contrast of 1") if len(posts) == 1 else None


def source_of(verdict: Verdict, dynamics: Sequence[Dynamic]) -> tuple[T1Volume, Dynamic] | None:
    """The volume after contrast that a subtraction (or its projection) was made from.

    By the series numbers in its name ("(10037/801/1)-(10037/800/1)", "SUB_S8-S5"), by the number of the phase
    ("SUB 2", "PH 2"), by its acquisition time, and where only one volume after contrast exists, that one.
    """
    name = verdict.evidence.name
    posts = [(v, d) for d in dynamics for v in d.posts]
    number = subtracted_series(name)
    if number is not None:
        same = [p for p in posts if p[0].verdict.evidence.series_number == number]
        if len(same) == 1:
            return same[0]
    time = verdict.evidence.start_s
    if time is not None:
        same = [p for p in posts if p[0].phase.time_s is not None and abs(p[0].phase.time_s - time) < 1.0]
        if len(same) == 1:
            return same[0]
    ordinal = ordinal_of_subtraction(name)
    usable = [d for d in dynamics if d.posts]
    if ordinal is not None and len(usable) == 1 and 1 <= ordinal <= len(usable[0].posts):
        return usable[0].posts[ordinal - 1], usable[0]
    return posts[0] if len(posts) == 1 or len(usable) == 1 else None


def _candidate(
    dynamic: Dynamic, phase: str, brightness: Brightness, reasons: list[tuple[str, str]]
) -> Candidate | None:
    chosen = volume_of(dynamic, phase, brightness)
    if chosen is None:
        reasons.append(("phase-missing", f"series {dynamic.posts[0].uid} has no phase {phase}"))
        return None
    score, why = _score(dynamic)
    return Candidate(score, selection_of(chosen[0], dynamic, f"{why}; {chosen[1]}", min(1.0, score)))


def _score(dynamic: Dynamic) -> tuple[float, str]:
    """How good a dynamic is as the source of T1+C, in 0..1, and why."""
    names = {v.verdict.name.label for v in dynamic.volumes}
    concepts = frozenset(c for v in dynamic.posts for c in v.verdict.name.concepts)
    agent = any(v.verdict.evidence.has_agent for v in dynamic.posts)
    points = [
        (0.35, True, "T1-weighted after contrast"),
        (0.15, agent, "contrast agent named"),
        (0.15, bool(dynamic.pres), f"{len(dynamic.pres)} volume(s) before and {len(dynamic.posts)} after contrast"),
        (0.15, bool(names & {"t1_post", "t1_dynamic"}), "named as dynamic or after contrast"),
        (0.10, len(dynamic.posts) > 1, "several phases"),
        (0.10, "fat_suppressed" in concepts or len(dynamic.volumes) > 1, "dynamic or fat-suppressed"),
        (-0.25, "registered" in concepts, "a registered copy"),
        (-0.25, any(v.verdict.evidence.secondary for v in dynamic.posts), "made from other images"),
        (-0.25, "cropped" in concepts, "a cropped or test acquisition"),
        (-0.20, (dynamic.interval_s or FAST_S) < FAST_S, "time-resolved, little detail"),
    ]
    given = [(p, text) for p, holds, text in points if holds]
    return round(max(0.05, sum(p for p, _ in given)), 3), ", ".join(text for _, text in given)


def volume_of(dynamic: Dynamic, phase: str, brightness: Brightness) -> tuple[T1Volume, str] | None:
    """The volume after contrast that `phase` asks for, and a word on it; None where there is none.

    `phase`: `first_post`; `nth:N`, the N-th after contrast; `seconds:S`, the one nearest S seconds after injection
    (which is taken as the end of the last volume before contrast where the header does not tell); `peak`, the
    brightest.
    """
    posts = dynamic.posts
    kind, _, number = phase.partition(":")
    if not posts:
        return None
    if kind == "nth":
        n = int(number)
        return (posts[n - 1], f"phase {n} after contrast of {len(posts)}") if 1 <= n <= len(posts) else None
    if kind == "seconds":
        return _by_time(dynamic, float(number))
    if kind == "peak" and len(posts) > 1:
        if any(s.frame.instance.path is None for v in posts for s in v.phase.slices):
            # Whoever only keeps books (the ledger has facts, not files) must count on every phase.
            together = Phase(tuple(s for v in posts for s in v.phase.slices), posts[0].phase.time_s, "all phases")
            return replace(posts[0], phase=together), "the brightest phase, to be measured where the files are"
        values = [brightness(tuple(s.frame for s in v.phase.slices)) for v in posts]
        best = max(range(len(posts)), key=lambda n: values[n])
        return posts[best], f"brightest phase, {best + 1} after contrast of {len(posts)}"
    if (dynamic.interval_s or FAST_S) < FAST_S:
        timed = _by_time(dynamic, FAST_FIRST_POST_S)
        if timed is not None:
            return timed[0], f"{timed[1]}, as the phases are too fast for the first to show contrast"
    return posts[0], f"first phase after contrast of {len(posts)}"


def _by_time(dynamic: Dynamic, seconds: float) -> tuple[T1Volume, str] | None:
    injection = injection_s(dynamic)
    if injection is None:
        return None
    timed = [(abs(v.phase.time_s - injection - seconds), n) for n, v in enumerate(dynamic.posts) if v.phase.time_s]
    if not timed:
        return None
    _, best = min(timed)
    volume = dynamic.posts[best]
    assert volume.phase.time_s is not None
    after = volume.phase.time_s - injection
    return volume, f"phase {best + 1} after contrast of {len(dynamic.posts)}, {after:.0f} s after injection"


def injection_s(dynamic: Dynamic) -> float | None:
    """Seconds of the day: by the header, else the end of the last volume before contrast; None where not known."""
    injected = seconds_of_day(dynamic.volumes[0].verdict.evidence.text("ContrastBolusStartTime"))
    if injected is not None:
        return injected
    before = [v.phase.time_s for v in dynamic.pres if v.phase.time_s is not None]
    first = dynamic.posts[0].phase.time_s
    return first if before and first is not None else None


def selection_of(volume: T1Volume, dynamic: Dynamic, why: str, confidence: float) -> Selection:
    evidence = volume.verdict.evidence
    number = dynamic.posts.index(volume) + 1 if volume in dynamic.posts else 0
    return Selection(
        series_uid=evidence.uid,
        why=why,
        confidence=confidence,
        phase=f"post {number} of {len(dynamic.posts)}" if number else "pre",
        description=evidence.name,
        frames=tuple(s.frame for s in volume.phase.slices),
    )
