"""Which series of an exam are T1+C, T2 and ADC: by headers first, then by where the regions lie."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline import sequences
from pipeline.analysis.inputs import Inputs
from pipeline.analysis.quality_checks import header_checks
from pipeline.analysis.result_draft import Draft, choice_of
from pipeline.errors import RoiRejected, SequenceRejected
from pipeline.records import Side
from pipeline.result import QualityCheck
from pipeline.sequences import Match


def match_series(inputs: Inputs, draft: Draft) -> Match:
    """Which series is which. Raises SequenceRejected, and RoiRejected where there is nothing drawn on them."""
    with draft.timed("match"):
        match = sequences.match(inputs.exam, inputs.settings.sequences)
    draft.fields["sequences"] = {name: choice_of(s) for name, s in match.chosen.items()}
    draft.quality += [QualityCheck(check="sequences", value=note, ok=True) for note in match.notes]
    draft.quality += header_checks(match.chosen)
    open_to_regions = {f"ambiguous-{name}" for name in match.contenders}
    if any(code not in open_to_regions for code in match.codes):
        raise SequenceRejected("; ".join(match.reasons), code=match.codes[0])
    if not inputs.exam.rois:
        raise RoiRejected("there is no ROI object (DICOM SEG or RTSTRUCT) in this exam", code="no-roi-object")
    return match


def sides_by_choice(choices: Mapping[Side | None, Match]) -> list[tuple[list[Side | None], Match]]:
    """The sides grouped by the series that they are measured on."""
    groups: list[tuple[list[Side | None], Match]] = []
    for side, choice in choices.items():
        same = next((sides for sides, other in groups if other.chosen == choice.chosen), None)
        if same is None:
            groups.append(([side], choice))
        else:
            same.append(side)
    return groups
