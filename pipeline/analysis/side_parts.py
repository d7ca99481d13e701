"""One side of the body: its features and its prediction; and how the sides become one result."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline import features
from pipeline.analysis.inputs import Inputs
from pipeline.analysis.inventory import Inventory
from pipeline.analysis.quality_checks import grey_level_checks
from pipeline.analysis.result_draft import Draft
from pipeline.analysis.signatures_in_use import Outcome
from pipeline.needs import answerable
from pipeline.parallel.forked_work import cores_for
from pipeline.records import FeatureSet, Mask, Role, Side, Volume
from pipeline.records import Sequence as SequenceName
from pipeline.result import Part, QualityCheck, RoiSummary

# Fields of a part that the top level has as its own.
TOP_LEVEL = ("reasons", "sequences", "alignment", "signature")


def part_of_side(
    side: Side | None,
    corrected: Mapping[SequenceName, Volume],
    masks: Mapping[tuple[SequenceName, Role], Mask],
    summaries: Mapping[Role, RoiSummary],
    protocol: Mapping[str, float | str],
    inventory: Inventory,
    inputs: Inputs,
    draft: Draft,
) -> tuple[Part, tuple[tuple[str, str], ...]]:
    """One side's measurements with its prediction, or with the reasons (code, sentence) why there is none."""
    settings = inputs.settings
    wanted = inputs.signatures.features if settings.features.set == "signature" else None
    with draft.timed("features"):
        measured = features.extract(corrected, masks, settings.features, wanted, cores_for(settings.work))
    if inputs.also is not None:
        inputs.also(side, corrected, masks)
    draft.quality += grey_level_checks(measured, side)
    if not draft.fields.get("diagnostics"):
        draft.fields["diagnostics"] = dict(measured.diagnostics)
    with draft.timed("predict"):
        outcome = _prediction(side, measured, summaries, protocol, inventory, inputs)
    part = Part(
        rois=dict(summaries),
        prediction=outcome.prediction,
        reasons=tuple(text for _, text in outcome.reasons),
        features=dict(measured.values),
        missing_features=dict(measured.missing),
        grey_levels=dict(measured.grey_levels),
        shadow=outcome.shadow,
        absent=inventory.sentences(side, summaries, inputs.clinical.missing),
        signature=inputs.signatures.provenance(outcome.answered_by) if outcome.answered_by else {},
    )
    return part, outcome.reasons


def _prediction(
    side: Side | None,
    measured: FeatureSet,
    summaries: Mapping[Role, RoiSummary],
    protocol: Mapping[str, object],
    inventory: Inventory,
    inputs: Inputs,
) -> Outcome:
    """What the first signature predicts that can answer with this side's inputs.

    One that reads something faulty abstains: the next is asked where an input is absent or ambiguous, and only then.
    """
    available = inventory.available(side, summaries, inputs.clinical)
    if inputs.signatures.asked:
        needs = inputs.signatures.needs
        stop = inventory.stop(needs, side, summaries)
        first = answerable(needs, available).first
        stop = stop or (inventory.fault(first, side) if first else None)
        if stop is not None:
            return Outcome(None, ((stop.code, stop.message),))
    origins = {role: summary.origin for role, summary in summaries.items()}
    ki67_high_percent = inputs.settings.clinical.ki67_high_percent
    return inputs.signatures.predict(measured, available.groups, inputs.clinical, protocol, origins, ki67_high_percent)


def join_sides(
    parts: Mapping[Side | None, Part], reasons: list[tuple[str, str]], draft: Draft
) -> list[tuple[str, str]]:
    """One side goes to the top level of the result, two stay apart; the reasons why none of them is predicted."""
    if len(parts) > 1:
        draft.fields["sides"] = dict(parts)
        first, *others = (part.absent for part in parts.values())
        draft.fields["absent"] = {n: why for n, why in first.items() if all(o.get(n) == why for o in others)}
    else:
        (part,) = parts.values()
        draft.fields |= {name: getattr(part, name) for name in Part.model_fields if name not in TOP_LEVEL}
    if not any(part.prediction is not None for part in parts.values()):
        return reasons
    if reasons:
        sentences = "; ".join(text for _, text in reasons)
        draft.quality.append(QualityCheck(check="one side not evaluated", value=sentences, ok=False))
    return []
