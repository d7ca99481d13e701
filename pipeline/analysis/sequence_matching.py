"""Which series of an exam are T1+C, T2 and ADC: by headers first, then by where the regions lie."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline import sequences
from pipeline.analysis.inputs import Inputs
from pipeline.analysis.inventory import Inventory, rejection
from pipeline.analysis.quality_checks import header_checks
from pipeline.analysis.result_draft import Draft, choice_of
from pipeline.catalog import FrameRef
from pipeline.errors import RoiRejected
from pipeline.records import ROLES, SEQUENCES, Side, Volume
from pipeline.records import Sequence as SequenceName
from pipeline.result import QualityCheck
from pipeline.sequences import Match


def match_series(inputs: Inputs, draft: Draft) -> tuple[Match, Inventory]:
    """Which series is which, and what they leave absent.

    Raises SequenceRejected where no signature in use can answer with them, RoiRejected where nothing is drawn.
    """
    with draft.timed("match"):
        match = sequences.match(inputs.exam, inputs.settings.sequences, lambda frames: _brightness(frames, inputs))
    draft.fields["sequences"] = {name: choice_of(s) for name, s in match.chosen.items()}
    draft.fields["absent"] = {name: absence.why for name, absence in match.absent.items()}
    draft.quality += [QualityCheck(check="sequences", value=note, ok=True) for note in match.notes]
    draft.quality += header_checks(match.chosen)
    inventory = require_answer(match, inputs, "")
    if not inputs.exam.rois:
        raise RoiRejected("there is no ROI object (DICOM SEG or RTSTRUCT) in this exam", code="no-roi-object")
    inputs.bring((*inputs.exam.rois, *inputs.exam.registrations))
    return match, inventory


def _brightness(frames: tuple[FrameRef, ...], inputs: Inputs) -> float:
    """Of a phase; only the slices that are looked at have to be here."""
    middle = sequences.middle_of(frames)
    inputs.bring(frame.instance for frame in middle)
    return sequences.mean_signal(middle)


def require_answer(match: Match, inputs: Inputs, where: str) -> Inventory:
    """What these series leave absent. What regions still decide between is not.

    Raises SequenceRejected: no signature in use can answer without it, or nothing at all was chosen.
    """
    inventory = Inventory({name: why for name, why in match.absent.items() if name not in match.contenders})
    stop = inventory.stop(inputs.signatures.needs, None, ROLES) if inputs.signatures.asked else None
    if stop is None and len(inventory.absent) == len(SEQUENCES):
        stop = rejection(inventory.absent.values())
    if stop is not None:
        raise type(stop)(where + stop.message, code=stop.code)
    return inventory


def require_readable(loaded: Mapping[SequenceName, Volume], inventory: Inventory, inputs: Inputs) -> None:
    """Raise why a series cannot be read that the signature to be asked reads, or where none can be read."""
    if inputs.signatures.asked:
        stop = inventory.stop(inputs.signatures.needs, None, ROLES)
    else:
        stop = None if loaded else next(iter(inventory.faulty.values()))
    if stop is not None:
        raise stop


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
