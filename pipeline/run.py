"""The whole of the science: from an exam's files to its result, step by step, each step a room of its own.

matching → volumes → ROIs → alignment → bias field → features → prediction. What cannot be evaluated is a result too:
`not_evaluated`, with the reason and with everything that was measured before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from config.schema import Settings
from pipeline.analysis.acquisition_protocol import protocol_of
from pipeline.analysis.bias_correction import correct_volumes
from pipeline.analysis.choice_by_regions import decide
from pipeline.analysis.inputs import Also, Inputs
from pipeline.analysis.inventory import Inventory
from pipeline.analysis.provenance import software
from pipeline.analysis.region_carrying import carry_regions
from pipeline.analysis.region_reading import read_regions, sides_of
from pipeline.analysis.result_draft import Draft, Timer, choice_of, summary_of
from pipeline.analysis.sequence_matching import match_series, require_answer, require_readable, sides_by_choice
from pipeline.analysis.side_parts import join_sides, part_of_side
from pipeline.analysis.signatures_in_use import Signatures
from pipeline.analysis.volume_loading import load_volumes
from pipeline.catalog import Bring, Exam, all_here, exam_in
from pipeline.errors import ExamRejected, RoiRejected
from pipeline.extraction_settings import settings_hash
from pipeline.parallel.thread_counts import fixed_threads
from pipeline.pictures import Panel, make_panels
from pipeline.records import Roi, Side, Volume
from pipeline.records import Sequence as SequenceName
from pipeline.result import Clinical, Part, StudyResult
from pipeline.roi.grid_regions import GridRegion, grid_regions
from pipeline.sequences import Match

# Reason of a result that a reader's word against a proposal leaves: code and message.
REJECTED = ("rejected", "rejected by the reader")


@dataclass(frozen=True, slots=True)
class Analysis:
    """The result, the pictures for its page, and its regions on every grid."""

    result: StudyResult
    panels: tuple[Panel, ...]
    regions: tuple[GridRegion, ...] = ()


def analyse(
    exam: Exam,
    settings: Settings,
    signatures: Signatures,
    *,
    revision: int = 1,
    input_digest: str = "",
    clinical: Clinical | None = None,
    timer: Timer = time.perf_counter,
    also: Also | None = None,
    bring: Bring = all_here,
) -> Analysis:
    """Evaluate one exam whose facts carry paths. Never raises ExamRejected: that becomes the result's reason.

    Features are extracted as the first signature in use was trained, whatever the settings say of that. `clinical`
    None: not looked up, because no signature in use reads any. `also`: handed the volumes and masks of each side.
    `bring`: has files in their places before they are read; what it raises ends the evaluation.
    """
    started = timer()
    draft = Draft(exam.study_uid, timer)
    unusable: ExamRejected | None = None
    try:
        settings = signatures.as_trained(settings)
    except ExamRejected as error:
        unusable = error
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
        if unusable is not None:
            raise unusable
        with fixed_threads():
            reasons = _evaluate(Inputs(exam, settings, signatures, clinical or Clinical(), also, bring), draft)
    except ExamRejected as error:
        reasons = [(error.code, error.message)]
    draft.timings_s["total"] = timer() - started
    return Analysis(_result(draft, reasons), draft.panels, draft.regions)


def analyse_folder(path: Path, settings: Settings, signatures: Signatures | None = None) -> StudyResult:
    """The pipeline on a folder of DICOM files, without pictures; for tables of features."""
    chosen = signatures or Signatures.from_settings(settings.signature)
    return analyse(exam_in(path), settings, chosen).result


def _evaluate(inputs: Inputs, draft: Draft) -> list[tuple[str, str]]:
    """Run every step, filling the draft; the reasons why there is no prediction (empty: there is one)."""
    if inputs.exam.rejected and not inputs.exam.rois:
        raise RoiRejected(REJECTED[1], code=REJECTED[0])
    match, exam_inventory = match_series(inputs, draft)
    with draft.timed("load"):
        loaded, exam_inventory.faulty = load_volumes(match, inputs)
    require_readable(loaded, exam_inventory, inputs)
    with draft.timed("roi"):
        rois = read_regions(loaded, exam_inventory, match, inputs, draft)
    if inputs.exam.rejected and set(inputs.settings.assembly.require_rois) - {roi.role for roi in rois}:
        # One kind of region counts, and the reader rejected the other, which the exam is to have.
        raise RoiRejected(REJECTED[1], code=REJECTED[0])
    sides = sides_of(rois)
    draft.fields["laterality"] = "B" if len(sides) > 1 else sides[0]
    parts: dict[Side | None, Part] = {}
    reasons: list[tuple[str, str]] = []
    for group, choice in sides_by_choice(decide(inputs.exam, inputs.settings, match, rois)):
        inventory = require_answer(choice, inputs, f"side {group[0]}: " if len(sides) > len(group) else "")
        with draft.timed("load"):
            grids, inventory.faulty = load_volumes(choice, inputs, match, loaded)
        require_readable(grids, inventory, inputs)
        regions = [r for r in rois if r.side in group]
        measured, unpredicted = _measure_sides(regions, group, choice, grids, inventory, inputs, draft)
        parts |= measured
        reasons += [(code, f"side {side}: {text}" if len(sides) > 1 else text) for side, code, text in unpredicted]
    answered = next((p.signature for p in parts.values() if p.prediction), None)
    draft.fields["signature"] = answered or inputs.signatures.provenance(None)
    return join_sides(parts, reasons, draft)


def _measure_sides(
    rois: Sequence[Roi],
    sides: Sequence[Side | None],
    choice: Match,
    grids: dict[SequenceName, Volume],
    inventory: Inventory,
    inputs: Inputs,
    draft: Draft,
) -> tuple[dict[Side | None, Part], list[tuple[Side | None, str, str]]]:
    """The parts of the sides that are measured on these grids, and per side the reasons why it has no prediction."""
    draft.evidence += [r for volume in grids.values() for r in volume.references]
    with draft.timed("align"):
        masks, kept_volumes, alignment = carry_regions(rois, grids, inputs, inventory, draft)
    _require_carried(rois, sides, inventory, inputs)
    with draft.timed("pictures"):
        draft.panels += make_panels(grids, masks)
        draft.regions += grid_regions(grids, masks)
    protocol = protocol_of(inputs.exam, choice, grids, draft.fields["settings_hash"])
    chosen = {name: choice_of(s) for name, s in choice.chosen.items()}
    # What sides have in common stands at the top of the result; a later side says where it differs.
    first = "alignment" not in draft.fields
    if first:
        draft.fields |= {"alignment": alignment, "protocol": protocol, "sequences": chosen}
    with draft.timed("bias"):
        corrected = correct_volumes(grids, inputs.settings, draft)
    parts: dict[Side | None, Part] = {}
    reasons: list[tuple[Side | None, str, str]] = []
    for side in sides:
        summaries = {r.role: summary_of(r, masks, kept_volumes) for r in rois if r.side == side}
        side_masks = {(s, r): m for (s, r, of_side), m in masks.items() if of_side == side}
        part, unpredicted = part_of_side(side, corrected, side_masks, summaries, protocol, inventory, inputs, draft)
        parts[side] = part if first else part.model_copy(update={"sequences": chosen, "alignment": alignment})
        reasons += [(side, code, text) for code, text in unpredicted]
    return parts, reasons


def _require_carried(rois: Sequence[Roi], sides: Sequence[Side | None], inventory: Inventory, inputs: Inputs) -> None:
    """Raise why no side can be answered, where that is because regions could not be carried."""
    if not inventory.regions or not inputs.signatures.asked:
        return
    stops = [inventory.stop(inputs.signatures.needs, side, [r.role for r in rois if r.side == side]) for side in sides]
    if all(stops):
        raise next(stop for stop in stops if stop is not None)


def _result(draft: Draft, reasons: list[tuple[str, str]]) -> StudyResult:
    result = StudyResult(
        study_uid=draft.study_uid,
        status="not_evaluated" if reasons else "evaluated",
        reasons=tuple(text for _, text in reasons),
        reason_codes=tuple(code for code, _ in reasons),
        quality=tuple(draft.quality),
        evidence=tuple(dict.fromkeys(draft.evidence)),
        timings_s={stage: round(seconds, 4) for stage, seconds in draft.timings_s.items()},
        **draft.fields,
    )
    unconfirmed = any(roi.unconfirmed for _, part in result.parts() for roi in part.rois.values())
    return result.model_copy(update={"preliminary": unconfirmed})
