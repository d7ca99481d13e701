"""The whole of the science: from an exam's files to its result, step by step, each step a room of its own.

matching → volumes → ROIs → alignment → bias field → features → prediction. What cannot be evaluated is a result too:
`not_evaluated`, with the reason and with everything that was measured before.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from config.schema import Settings
from pipeline import align, bias, diffusion, features, roi, sequences, volumes
from pipeline.analysis.acquisition_protocol import protocol_of
from pipeline.analysis.choice_by_regions import decide
from pipeline.analysis.provenance import settings_hash, software
from pipeline.analysis.quality_checks import (
    grey_level_checks,
    header_checks,
    kept_volume_checks,
    place_checks,
    shape_checks,
)
from pipeline.analysis.result_draft import Draft, Masks, Timer, alignment_of, choice_of, summary_of
from pipeline.analysis.signatures_in_use import Outcome, Signatures
from pipeline.catalog import Exam, Selection, exam_in, same_images
from pipeline.errors import ExamRejected, RoiRejected, SequenceRejected
from pipeline.parallel.forked_work import cores_for
from pipeline.parallel.thread_counts import fixed_threads
from pipeline.pictures import Panel, make_panels
from pipeline.records import (
    ROLES,
    SEQUENCES,
    FeatureSet,
    Mask,
    Roi,
    Role,
    Side,
    Volume,
)
from pipeline.records import Sequence as SequenceName
from pipeline.result import (
    Alignment,
    Clinical,
    Part,
    QualityCheck,
    RoiSummary,
    StudyResult,
)
from pipeline.sequences import Match

# Fields of a part that the top level has as its own.
TOP_LEVEL = ("reasons", "sequences", "alignment")


@dataclass(frozen=True, slots=True)
class Analysis:
    """The result, and the pictures for its page."""

    result: StudyResult
    panels: tuple[Panel, ...]


def analyse(
    exam: Exam,
    settings: Settings,
    signatures: Signatures,
    *,
    revision: int = 1,
    input_digest: str = "",
    clinical: Clinical | None = None,
    timer: Timer = time.perf_counter,
) -> Analysis:
    """Evaluate one exam whose facts carry paths. Never raises ExamRejected: that becomes the result's reason.

    `clinical` None: not looked up, because no signature in use reads any.
    """
    started = timer()
    draft = Draft(exam.study_uid, timer)
    draft.fields |= {
        "revision": revision,
        "input_digest": input_digest,
        "demonstration": signatures.demonstration,
        "signature": signatures.provenance(None),
        "settings_hash": settings_hash(settings),
        "software": software(),
        "clinical": clinical,
    }
    try:
        with fixed_threads():
            reasons = _evaluate(exam, settings, signatures, clinical or Clinical(), draft)
    except ExamRejected as error:
        reasons = [(error.code, error.message)]
    draft.timings_s["total"] = timer() - started
    result = StudyResult(
        study_uid=exam.study_uid,
        status="not_evaluated" if reasons else "evaluated",
        reasons=tuple(text for _, text in reasons),
        reason_codes=tuple(code for code, _ in reasons),
        quality=tuple(draft.quality),
        evidence=tuple(dict.fromkeys(draft.evidence)),
        timings_s={stage: round(seconds, 4) for stage, seconds in draft.timings_s.items()},
        **draft.fields,
    )
    return Analysis(result, draft.panels)


def _evaluate(
    exam: Exam, settings: Settings, signatures: Signatures, clinical: Clinical, draft: Draft
) -> list[tuple[str, str]]:
    """Run every step, filling the draft; the reasons why there is no prediction (empty: there is one)."""
    matched = _match(exam, settings, draft)
    with draft.timed("load"):
        loaded = _load_all(matched, exam, settings)
    with draft.timed("roi"):
        others = {str(name): volume for name, volume in loaded.items() if name != "t1c"}
        images = (image for series in exam.series for image in series.instances)
        reading = roi.read_all(exam.rois, loaded["t1c"], settings.roi, others, images)
        rois = reading.rois
        draft.fields["left_out"] = reading.left_out
        draft.evidence += [segment.source for found in rois for segment in found.segments]
        draft.quality += [*place_checks(rois), *shape_checks(rois)]
        _check_places(rois, settings)
    sides = _sides(rois)
    draft.fields["laterality"] = "B" if len(sides) > 1 else sides[0]
    parts: dict[Side | None, Part] = {}
    reasons: list[tuple[str, str]] = []
    for group, choice in _by_choice(decide(exam, settings, matched, rois)):
        told = f"side {group[0]}: " if len(sides) > len(group) else ""
        if choice.reasons:
            raise SequenceRejected(told + "; ".join(choice.reasons), code=choice.codes[0])
        with draft.timed("load"):
            grids = _load_all(choice, exam, settings, matched, loaded)
        mine = [r for r in rois if r.side in group]
        found, why = _measured(mine, group, choice, grids, exam, settings, signatures, clinical, draft)
        parts |= found
        reasons += [(code, f"side {side}: {text}" if len(sides) > 1 else text) for side, code, text in why]
    answered = next((p.prediction.signature for p in parts.values() if p.prediction), None)
    draft.fields["signature"] = signatures.provenance(answered)
    return _fold(parts, reasons, draft)


def _by_choice(choices: Mapping[Side | None, Match]) -> list[tuple[list[Side | None], Match]]:
    """The sides grouped by what they are measured on."""
    groups: list[tuple[list[Side | None], Match]] = []
    for side, choice in choices.items():
        same = next((sides for sides, other in groups if other.chosen == choice.chosen), None)
        if same is None:
            groups.append(([side], choice))
        else:
            same.append(side)
    return groups


def _measured(
    rois: Sequence[Roi],
    sides: Sequence[Side | None],
    choice: Match,
    grids: dict[SequenceName, Volume],
    exam: Exam,
    settings: Settings,
    signatures: Signatures,
    clinical: Clinical,
    draft: Draft,
) -> tuple[dict[Side | None, Part], list[tuple[Side | None, str, str]]]:
    """The parts of the sides that are measured on these grids, and per side the reasons why it has no prediction."""
    draft.evidence += [r for volume in grids.values() for r in volume.references]
    with draft.timed("align"):
        masks, kept, alignment = _carry(rois, grids, exam, settings, draft)
    with draft.timed("pictures"):
        draft.panels += make_panels(grids, masks)
    protocol = protocol_of(exam, choice, grids, draft.fields["settings_hash"])
    chosen = {name: choice_of(s) for name, s in choice.chosen.items()}
    # What sides have in common stands at the top of the result; a later side says where it differs.
    first = "alignment" not in draft.fields
    if first:
        draft.fields |= {"alignment": alignment, "protocol": protocol, "sequences": chosen}
    with draft.timed("bias"):
        corrected = _correct(grids, settings, draft)
    parts: dict[Side | None, Part] = {}
    reasons: list[tuple[Side | None, str, str]] = []
    for side in sides:
        summaries = {r.role: summary_of(r, masks, kept) for r in rois if r.side == side}
        ours = {(s, r): m for (s, r, where), m in masks.items() if where == side}
        part, why = _one_side(side, corrected, ours, summaries, settings, signatures, clinical, protocol, draft)
        parts[side] = part if first else part.model_copy(update={"sequences": chosen, "alignment": alignment})
        reasons += [(side, code, text) for code, text in why]
    return parts, reasons


def _match(exam: Exam, settings: Settings, draft: Draft) -> Match:
    """Which series is which. Raises SequenceRejected, and RoiRejected where there is nothing drawn on them."""
    with draft.timed("match"):
        matched = sequences.match(exam, settings.sequences)
    draft.fields["sequences"] = {name: choice_of(s) for name, s in matched.chosen.items()}
    draft.quality += [QualityCheck(check="sequences", value=note, ok=True) for note in matched.notes]
    draft.quality += header_checks(matched.chosen)
    open_to_regions = {f"ambiguous-{name}" for name in matched.contenders}
    if any(code not in open_to_regions for code in matched.codes):
        raise SequenceRejected("; ".join(matched.reasons), code=matched.codes[0])
    if not exam.rois:
        raise RoiRejected("there is no ROI object (DICOM SEG or RTSTRUCT) in this exam", code="no-roi-object")
    return matched


def _load_all(
    matched: Match,
    exam: Exam,
    settings: Settings,
    before: Match | None = None,
    loaded: Mapping[SequenceName, Volume] = MappingProxyType({}),
) -> dict[SequenceName, Volume]:
    """The chosen volumes, side by side: reading is mostly waiting for disk and decoders.

    What a match `before` chose alike is taken from `loaded`.
    """

    def of_one(selection: Selection) -> Volume:
        return volumes.load(selection, settings.sequences, exam.rois)

    def load(name: SequenceName) -> Volume:
        selection = matched.chosen[name]
        if before is not None and name in loaded and same_images(selection, before.chosen[name]):
            return loaded[name]
        return diffusion.adc_of(selection, of_one) if name == "adc" else of_one(selection)

    names = [name for name in SEQUENCES if name in matched.chosen]
    with ThreadPoolExecutor(max_workers=3) as pool:
        return dict(zip(names, pool.map(load, names), strict=True))


def _check_places(rois: Sequence[Roi], settings: Settings) -> None:
    """Raises RoiRejected where a region lies elsewhere than the images it was drawn on, unless a setting allows it."""
    stopping = [(s, c) for r in rois for s in r.segments for c in s.contradictions if c.stops]
    if stopping and not settings.roi.allow_contradictory_positions:
        said = "; ".join(f"segment {s.number} of {s.source.sop_instance_uid}: {c.text}" for s, c in stopping)
        raise RoiRejected(
            f"{said}; nobody can tell which is right. Set roi.allow_contradictory_positions to go by the positions",
            code="roi-contradicts-images",
        )


def _sides(rois: Sequence[Roi]) -> list[Side | None]:
    """The sides to evaluate one by one. With both sides present, every ROI must say which it is on."""
    sides = sorted({r.side for r in rois}, key=lambda s: s or "")
    if len(sides) > 1 and None in sides:
        raise RoiRejected(
            "ROIs of different sides are in this exam and at least one does not say which side it is on",
            code="laterality-ambiguous",
        )
    return sides


def _carry(
    rois: Sequence[Roi], grids: Mapping[SequenceName, Volume], exam: Exam, settings: Settings, draft: Draft
) -> tuple[Masks, dict[tuple[SequenceName, Role, Side | None], float], dict[SequenceName, Alignment]]:
    """Every ROI on every grid, with what it kept of its volume, and how the grids are related."""
    masks: Masks = {}
    kept: dict[tuple[SequenceName, Role, Side | None], float] = {}
    alignment: dict[SequenceName, Alignment] = {}
    masks |= {("t1c", found.role, found.side): found.mask for found in rois}
    for name in SEQUENCES[1:]:
        how = align.relate(grids["t1c"], grids[name], settings.align, exam.registrations)
        alignment[name] = alignment_of(how)
        for found in rois:
            carried = align.apply(found, grids[name], how, settings.align)
            masks[name, found.role, found.side] = carried.mask
            kept[name, found.role, found.side] = carried.kept_volume
    draft.quality += kept_volume_checks(kept, settings.align)
    return masks, kept, alignment


def _correct(grids: Mapping[SequenceName, Volume], settings: Settings, draft: Draft) -> dict[SequenceName, Volume]:
    """N4 on the sequences that the settings name, side by side."""

    def correct(name: SequenceName) -> tuple[Volume, QualityCheck | None]:
        if name not in settings.bias.sequences:
            return grids[name], None
        corrected, evidence = _n4(grids[name], settings)
        note = "; ".join(evidence.deviations)
        iterations = " + ".join(str(n) for n in evidence.iterations)
        return corrected, QualityCheck(check=f"bias.{name}.iterations", value=iterations, ok=True, note=note)

    with ThreadPoolExecutor(max_workers=settings.work.threads or 2) as pool:
        done = dict(zip(SEQUENCES, pool.map(correct, SEQUENCES), strict=True))
    draft.quality += [check for _, check in done.values() if check is not None]
    return {name: volume for name, (volume, _) in done.items()}


def _n4(volume: Volume, settings: Settings) -> tuple[Volume, bias.BiasEvidence]:
    """N4 where values are known. A computed ADC is unknown (NaN) in air: background to N4, and unknown after it."""
    unknown = np.isnan(volume.voxels_zyx) if volume.voxels_zyx.dtype.kind == "f" else None
    if unknown is None or not unknown.any():
        return bias.correct(volume, settings.bias)
    filled = replace(volume, voxels_zyx=np.where(unknown, 0, volume.voxels_zyx).astype(volume.voxels_zyx.dtype))
    corrected, evidence = bias.correct(filled, settings.bias)
    voxels = np.where(unknown, np.float32(np.nan), corrected.voxels_zyx)
    return replace(corrected, voxels_zyx=voxels), evidence


def _one_side(
    side: Side | None,
    corrected: Mapping[SequenceName, Volume],
    masks: Mapping[tuple[SequenceName, Role], Mask],
    summaries: Mapping[Role, RoiSummary],
    settings: Settings,
    signatures: Signatures,
    clinical: Clinical,
    protocol: Mapping[str, float | str],
    draft: Draft,
) -> tuple[Part, tuple[tuple[str, str], ...]]:
    """One side's measurements with its prediction, or with the reasons why there is none."""
    wanted = signatures.features if settings.features.set == "signature" else None
    with draft.timed("features"):
        found = features.extract(corrected, masks, settings.features, wanted, cores_for(settings.work))
    draft.quality += grey_level_checks(found, side)
    if not draft.fields.get("diagnostics"):
        draft.fields["diagnostics"] = dict(found.diagnostics)
    with draft.timed("predict"):
        outcome = _asked(found, summaries, signatures, clinical, protocol)
    part = Part(
        rois=dict(summaries),
        prediction=outcome.prediction,
        reasons=tuple(text for _, text in outcome.reasons),
        features=dict(found.values),
        missing_features=dict(found.missing),
        grey_levels=dict(found.grey_levels),
        shadow=outcome.shadow,
    )
    return part, outcome.reasons


def _asked(
    found: FeatureSet,
    summaries: Mapping[Role, RoiSummary],
    signatures: Signatures,
    clinical: Clinical,
    protocol: Mapping[str, object],
) -> Outcome:
    """What the signatures say; without both regions they are not asked."""
    lacking = [role for role in ROLES if role not in summaries]
    if lacking:
        names = {"tumor": "the tumour ROI", "lymph_nodes": "the axillary lymph node ROI"}
        return Outcome(None, (("roi-missing", f"{' and '.join(names[r] for r in lacking)} is missing"),))
    return signatures.predict(found, clinical, protocol)


def _fold(parts: Mapping[Side | None, Part], reasons: list[tuple[str, str]], draft: Draft) -> list[tuple[str, str]]:
    """One side goes to the top level, two stay apart. Evaluated means: at least one side has a prediction."""
    if len(parts) > 1:
        draft.fields["sides"] = dict(parts)
    else:
        (part,) = parts.values()
        draft.fields |= {name: getattr(part, name) for name in Part.model_fields if name not in TOP_LEVEL}
    if not any(part.prediction is not None for part in parts.values()):
        return reasons
    if reasons:
        said = "; ".join(text for _, text in reasons)
        draft.quality.append(QualityCheck(check="one side not evaluated", value=said, ok=False))
    return []


def analyse_folder(path: Path, settings: Settings, signatures: Signatures | None = None) -> StudyResult:
    """The pipeline on a folder of DICOM files, without pictures; for tables of features."""
    chosen = signatures or Signatures.from_settings(settings.signature)
    return analyse(exam_in(path), settings, chosen).result
