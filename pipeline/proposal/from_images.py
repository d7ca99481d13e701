"""Regions proposed where nobody has measured or drawn anything: by enhancement, or by a site's own model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from config.schema import Settings
from pipeline import diffusion, sequences, volumes
from pipeline.catalog import Exam, Selection
from pipeline.errors import ExamRejected
from pipeline.proposal.enhancement import Phases, functional_volumes, require_one_grid
from pipeline.proposal.model import model_regions
from pipeline.proposal.model_card import ModelCard, load_model
from pipeline.proposal.model_child import Limits
from pipeline.proposal.records import ImageRegion
from pipeline.records import SEQUENCES, Volume
from pipeline.sequences import Match


@dataclass(frozen=True, slots=True)
class FromImages:
    """Regions on T1+C, and why there are no more."""

    t1c: Volume
    regions: tuple[ImageRegion, ...]
    notes: tuple[str, ...]


def propose_from_images(exam: Exam, settings: Settings) -> FromImages:
    """What `proposal.from_images` says, for this exam.

    Raises ExamRejected where it abstains: without T1+C, without a volume before contrast, with one phase, where the
    breasts are not told from the body; and what loading a volume does.
    """
    match = sequences.match(exam, settings.sequences)
    if "t1c" not in match.chosen:
        raise ExamRejected("no T1+C to propose regions on", code="no-t1c")
    if settings.proposal.from_images == "model":
        return _by_model(exam, match, settings)
    return _by_enhancement(exam, match.chosen["t1c"], settings)


def _by_enhancement(exam: Exam, chosen: Selection, settings: Settings) -> FromImages:
    own = settings.proposal
    timed = sequences.enhancement_phases(exam, settings.sequences, chosen, own.early_s, own.late_s)
    t1c = volumes.load(chosen, settings.sequences)
    before, early, late = (volumes.load(one, settings.sequences) for one in (timed.before, timed.early, timed.late))
    phases = Phases(before, early, late, timed.early_s, timed.late_s)
    require_one_grid(phases, t1c)
    regions, notes = functional_volumes(phases, own)
    return FromImages(t1c, regions, notes)


def limits_of(settings: Settings) -> Limits:
    """What the model may take: its own limits, and less than the exam has, so that the exam goes on without it."""
    own, work = settings.proposal, settings.work
    memory = min(own.model_memory_bytes, work.max_memory_bytes or own.model_memory_bytes)
    return Limits(memory, min(own.model_time_s, work.time_limit_s), min(2 * own.model_time_s, 0.8 * work.time_limit_s))


def _by_model(exam: Exam, match: Match, settings: Settings) -> FromImages:
    assert settings.proposal.model is not None
    model = load_model(settings.proposal.model)
    selections: dict[str, Selection | None] = {name: match.chosen.get(name) for name in SEQUENCES}
    selections["before"] = sequences.before_contrast(exam, settings.sequences, match.chosen["t1c"])
    _require_inputs(model.card, selections, match)

    def load(selection: Selection) -> Volume:
        return volumes.load(selection, settings.sequences)

    read = {"t1c", *model.card.input.sequences}
    by_name: dict[str, Volume] = {
        name: diffusion.adc_of(one, load) if name == "adc" else load(one)
        for name, one in selections.items()
        if one is not None and name in read
    }
    regions, notes = model_regions(model, by_name, limits_of(settings))
    return FromImages(by_name["t1c"], regions, notes)


def _require_inputs(card: ModelCard, selections: Mapping[str, Selection | None], match: Match) -> None:
    """Raise what the model reads and was not chosen in this exam, and why, before anything is loaded."""
    lacking = [name for name in card.input.sequences if selections[name] is None]
    reasons = [f"{name}: {absence.why}" for name, absence in match.absent.items() if name in lacking]
    if lacking:
        text = f"the model reads {', '.join(lacking)}, which this exam does not have"
        raise ExamRejected("; ".join([text, *reasons]), code="model-inputs")
