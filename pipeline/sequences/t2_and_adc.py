"""Which series is T2, and which is the ADC map or the diffusion series to compute it from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipeline.catalog import FrameRef, Selection
from pipeline.diffusion.units import stated_scale
from pipeline.sequences import placed_candidates
from pipeline.sequences.candidates import Candidate, Chosen, preference
from pipeline.sequences.classify import Verdict
from pipeline.sequences.evidence import B_ZERO, Evidence, same_b
from pipeline.sequences.phases import Phase, phases, split, usable
from pipeline.sequences.placed_candidates import Placed
from pipeline.sequences.records import Region
from pipeline.sequences.series_position import coverage
from pipeline.sequences.slices import Slice

Points = Mapping[str, float]
# b-values that a fit may start from and end at, s/mm2; the high one is best between 800 and 1000.
HIGHEST_LOW_B = 100.0
HIGH_B = (500.0, 1500.0)
BEST_HIGH_B = (800.0, 1000.0)
# What the parts of a Dixon acquisition lose as T2 against its water image.
PART_OF_DIXON = {"in": 0.15, "opposed": 0.3}


def choose_t2(
    verdicts: Sequence[Verdict],
    t1c: Evidence | None,
    drawn: frozenset[str],
    points: Points,
    margin: float,
    region: Region | None = None,
) -> Chosen:
    """The T2-weighted series that shows the regions, by the preferences of the rule table.

    Where `region` is not known, that shows what T1+C shows. `drawn`: series that a ROI was drawn on.
    """
    candidates = []
    reasons: list[tuple[str, str]] = []
    for verdict in verdicts:
        if verdict.label not in ("t2", "t2_stir"):
            continue
        volumes = phases(verdict.evidence)
        if len(volumes) != 1:
            reasons.append(
                ("t2-several-volumes", f"series {verdict.evidence.uid} holds {len(volumes)} volumes of T2, not one")
            )
            continue
        score, why = _score(verdict, t1c, points, 0.55 if verdict.label == "t2" else 0.45)
        score -= PART_OF_DIXON.get(usable(verdict.evidence.slices)[0], 0.0)
        if verdict.evidence.uid in drawn:
            score, why = score + 0.5, f"{why}, the ROI was drawn on it"
        slices = volumes[0].slices
        selection = _selection(verdict, f"{verdict.why}{why}", tuple(s.frame for s in slices))
        candidates.append(Placed(Candidate(round(score, 3), selection), verdict.evidence, slices))
    chosen = placed_candidates.choose("T2", "t2", candidates, t1c, region, margin)
    return replace(chosen, reasons=(*(() if chosen.selection else reasons), *chosen.reasons))


def choose_adc(
    verdicts: Sequence[Verdict],
    t1c: Evidence | None,
    drawn: frozenset[str],
    points: Points,
    margin: float,
    site_scale: float | None = None,
    region: Region | None = None,
) -> Chosen:
    """The ADC map, else the diffusion series that an ADC can be fitted from.

    `drawn`: series that a ROI was drawn on; a ROI on diffusion images decides for the map of those. `site_scale` brings
    maps that do not tell their unit to 10-6 mm2/s.
    """
    dwi = _diffusion_groups([v for v in verdicts if v.label == "dwi"])
    drawn_grids = {_grid(v.evidence) for v in verdicts if v.evidence.uid in drawn and v.label in ("dwi", "adc")}
    maps = []
    for verdict in verdicts:
        volumes = _maps(verdict.evidence) if verdict.label == "adc" else ()
        if len(volumes) != 1:
            continue
        score, why = _score(verdict, t1c, points, 0.6)
        if verdict.evidence.uid in drawn:
            score, why = score + 0.5, f"{why}, the ROI was drawn on it"
        elif _grid(verdict.evidence) in drawn_grids:
            score, why = score + 0.4, f"{why}, the ROI was drawn on its diffusion images"
        slices = volumes[0].slices
        frames = tuple(s.frame for s in slices)
        scale = stated_scale(frames[0].instance.tags)
        selection = _selection(verdict, f"ADC map: {verdict.why}{why}", frames, scale.factor if scale else site_scale)
        maps.append(Placed(Candidate(score, selection), verdict.evidence, slices))
    if maps:
        return placed_candidates.choose("ADC", "adc", maps, t1c, region, margin)
    return _from_diffusion(dwi, t1c, points, margin, region)


def _maps(evidence: Evidence) -> tuple[Phase, ...]:
    """The volumes of an ADC series; where an enhanced image holds the map beside what it came from, of the map."""
    of_map = tuple(s for s in evidence.slices if s.kind == "adc")
    return split(of_map) if of_map and len(of_map) < len(evidence.slices) else phases(evidence)


def _from_diffusion(
    groups: Sequence[tuple[Verdict, ...]],
    t1c: Evidence | None,
    points: Points,
    margin: float,
    region: Region | None,
) -> Chosen:
    candidates, reasons = [], []
    for group in groups:
        selection = _to_fit(group)
        if selection is None:
            reasons.append(_why_not(group))
            continue
        score, why = _score(group[0], t1c, points, 0.5)
        candidate = Candidate(score, replace(selection, why=selection.why + why))
        slices = tuple(s for v in group for s in usable(v.evidence.slices)[1])
        candidates.append(Placed(candidate, group[0].evidence, slices))
    chosen = placed_candidates.choose("ADC", "adc", candidates, t1c, region, margin)
    return replace(chosen, reasons=(*(() if chosen.selection else reasons), *chosen.reasons))


def _diffusion_groups(verdicts: Sequence[Verdict]) -> list[tuple[Verdict, ...]]:
    """Diffusion series by grid: scanners may write one series per b-value.

    A series that holds all it needs stands for itself.
    """
    whole = [(v,) for v in verdicts if _to_fit((v,)) is not None]
    rest: dict[object, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if (verdict,) not in whole:
            rest[_grid(verdict.evidence)].append(verdict)
    return [*whole, *(tuple(group) for group in rest.values())]


def _grid(evidence: Evidence) -> object:
    return evidence.grid, evidence.places


def _to_fit(group: tuple[Verdict, ...]) -> Selection | None:
    """The images of one low and one high b-value; trace images where there are any, else every direction."""
    by_b: dict[float, list[Slice]] = defaultdict(list)
    for verdict in group:
        for one in usable(verdict.evidence.slices)[1]:
            if one.b_value is not None and one.kind not in ("adc", "fa"):
                by_b[same_b(one.b_value)].append(one)
    low = min((b for b in by_b if b <= HIGHEST_LOW_B), default=None)
    high = min((b for b in by_b if HIGH_B[0] <= b <= HIGH_B[1]), key=_off_best, default=None)
    if low is None or high is None:
        return None
    frames_by_b: dict[float, tuple[FrameRef, ...]] = {}
    repeats_by_b: dict[float, tuple[tuple[FrameRef, ...], ...]] = {}
    parts = []
    for b in (low, high):
        traces = [s for s in by_b[b] if s.kind == "trace"]
        measured = _measurements(traces or by_b[b])
        if not measured:
            return None
        value = _mean_b(traces or by_b[b])
        frames_by_b[value] = tuple(f for one in measured for f in one)
        if len(measured) > 1:
            repeats_by_b[value] = measured
        parts.append(f"b={value:g}{' trace' if traces else ''} x {len(measured)}")
    evidence = group[0].evidence
    return Selection(
        series_uid=evidence.uid,
        why=f"ADC to be computed from {' and '.join(parts)}: {group[0].why}",
        description=evidence.name,
        frames_by_b=frames_by_b,
        repeats_by_b=repeats_by_b,
    )


def _why_not(group: tuple[Verdict, ...]) -> tuple[str, str]:
    uid = group[0].evidence.uid
    b_values = sorted({b for v in group for b in v.evidence.b_values})
    shown = ", ".join(f"{b:g}" for b in b_values) or "not told"
    if any(b <= HIGHEST_LOW_B for b in b_values) and any(HIGH_B[0] <= b <= HIGH_B[1] for b in b_values):
        return "dwi-incomplete", f"the images of diffusion series {uid} (b = {shown}) do not make up whole volumes"
    return "b-values-missing", f"diffusion series {uid} has no pair of b-values for an ADC (b = {shown})"


def _off_best(b: float) -> tuple[float, float]:
    return max(BEST_HIGH_B[0] - b, b - BEST_HIGH_B[1], 0.0), b


def _mean_b(slices: Sequence[Slice]) -> float:
    values = [0.0 if s.b_value < B_ZERO else s.b_value for s in slices if s.b_value is not None]
    return round(sum(values) / len(values), 1)


def _measurements(slices: Sequence[Slice]) -> tuple[tuple[FrameRef, ...], ...]:
    """The images of one b-value as complete volumes, one per direction and repetition; none where they do not fit."""
    by_series: dict[str, list[Slice]] = defaultdict(list)
    for one in slices:
        by_series[one.frame.instance.ref.series_uid].append(one)
    volumes = [p for group in by_series.values() for p in split(tuple(group))]
    positions = {len(p.slices) for p in volumes}
    complete = volumes and len(positions) == 1 and sum(len(p.slices) for p in volumes) == len(slices)
    return tuple(tuple(s.frame for s in p.slices) for p in volumes) if complete else ()


def _score(verdict: Verdict, t1c: Evidence | None, points: Points, base: float) -> tuple[float, str]:
    """How good a candidate is (1 is very good), and what counted beside its label."""
    preferred, named = preference(verdict.name.concepts, points)
    score, reasons = base + 0.1 * verdict.confidence + preferred, [concept.replace("_", " ") for concept in named]
    if t1c is not None:
        covered = coverage(verdict.evidence, t1c)
        if covered is not None:
            score += 0.2 * covered
            reasons.append(f"covers {covered:.0%} of T1+C")
        same_frame = verdict.evidence.series.instances[0].frame_of_reference_uid
        if same_frame and same_frame == t1c.series.instances[0].frame_of_reference_uid:
            score += 0.1
            reasons.append("same frame of reference")
    return round(max(0.05, score), 3), "".join(f", {t}" for t in reasons)


def _selection(verdict: Verdict, why: str, frames: tuple[FrameRef, ...], unit_scale: float | None = None) -> Selection:
    return Selection(
        series_uid=verdict.evidence.uid,
        why=why,
        description=verdict.evidence.name,
        frames=frames,
        unit_scale=unit_scale,
    )
