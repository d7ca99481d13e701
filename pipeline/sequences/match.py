"""From a whole exam to its sequences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from config.schema import Sequences
from pipeline.catalog import Exam, Selection
from pipeline.errors import InputRejected
from pipeline.needs import Absence
from pipeline.records import Sequence as SequenceName
from pipeline.sequences import t1c as t1
from pipeline.sequences.candidates import Chosen
from pipeline.sequences.classify import Verdict, classify
from pipeline.sequences.dynamic import Dynamic, dynamics, relabel
from pipeline.sequences.evidence import Evidence
from pipeline.sequences.operator_choice import as_chosen, named, refused
from pipeline.sequences.records import Match, Region, SeriesLabel
from pipeline.sequences.rules import Rules, rules
from pipeline.sequences.t2_and_adc import choose_adc, choose_t2
from pipeline.sequences.volume_brightness import mean_signal


def match(
    exam: Exam, settings: Sequences, brightness: t1.Brightness = mean_signal, region: Region | None = None
) -> Match:
    """What each series is, which are T1+C, T2 and ADC, and why; what is missing or ambiguous is a reason.

    `brightness` is only asked when `settings.phase` is "peak": a number for how bright a volume is. All else needs
    headers only. `region`: where the regions lie, once they have been read; it decides between the `contenders` for T2
    and ADC of a match without it.

    Raises:
        InputRejected: the settings name an unknown phase, or the site's rules are wrong.
    """
    check_phase(settings.phase)
    table = rules(settings.rules)
    verdicts = as_chosen([classify(Evidence(series), table) for series in exam.series], exam)
    of_exam = dynamics(verdicts)
    verdicts = relabel(verdicts, of_exam)
    chosen: dict[SequenceName, Selection] = {}
    reasons: list[tuple[str, str]] = []
    notes: list[str] = []
    drawn = frozenset(t1.drawn_on(exam))
    absent: dict[SequenceName, Absence] = {}

    def take(name: SequenceName, result: Chosen) -> None:
        """What was thought on the way stands as a reason only where nothing was chosen."""
        if result.selection is not None:
            chosen[name] = result.selection
            notes.extend(sentence for _, sentence in result.reasons)
            return
        reasons.extend(result.reasons)
        absent[name] = Absence(result.reasons[0][0], "; ".join(sentence for _, sentence in result.reasons))

    take("t1c", refused("t1c", exam, verdicts) or _t1c(exam, verdicts, of_exam, settings, brightness))
    reference = _evidence_of(chosen.get("t1c"), verdicts)
    t2 = refused("t2", exam, verdicts, reference) or _t2(exam, verdicts, reference, drawn, settings, table, region)
    adc = refused("adc", exam, verdicts, reference) or _adc(exam, verdicts, reference, drawn, settings, table, region)
    take("t2", t2)
    take("adc", adc)
    contenders: dict[SequenceName, tuple[Selection, ...]] = {"t2": t2.contenders, "adc": adc.contenders}
    return Match(
        tuple(SeriesLabel(v.evidence.uid, v.label, round(v.confidence, 3), v.why) for v in verdicts),
        chosen,
        tuple(sentence for _, sentence in reasons),
        tuple(code for code, _ in reasons),
        tuple(notes),
        {name: those for name, those in contenders.items() if those},
        absent,
    )


def check_phase(phase: str) -> None:
    """Raises InputRejected for a phase that no rule knows."""
    if not re.fullmatch(r"first_post|peak|nth:[1-9]\d*|seconds:\d+(\.\d+)?", phase):
        raise InputRejected(
            f"sequences.phase is {phase!r}; known are first_post, peak, nth:N (the N-th after contrast) and seconds:S"
        )


def _t1c(
    exam: Exam,
    verdicts: list[Verdict],
    of_exam: tuple[Dynamic, ...],
    settings: Sequences,
    brightness: t1.Brightness,
) -> Chosen:
    by_person = named("t1c", exam, verdicts, settings.use)
    if by_person is not None:
        verdict, by = replace(by_person[0], t1=True), by_person[1]
        mine = t1.volumes_of_series(verdict.evidence.uid, of_exam) or t1.as_post(verdict)
        picked = None if mine is None else t1.only_volume(mine) or t1.volume_of(mine, settings.phase, brightness)
        if mine is None or picked is None:
            return Chosen(None, (("phase-missing", f"series {verdict.evidence.uid} has no phase {settings.phase}"),))
        return Chosen(t1.selection_of(picked[0], mine, f"{by}; {picked[1]}", 1.0))
    return t1.choose(exam, verdicts, of_exam, settings.phase, settings.min_margin, brightness)


def _t2(
    exam: Exam,
    verdicts: list[Verdict],
    reference: Evidence | None,
    drawn: frozenset[str],
    settings: Sequences,
    table: Rules,
    region: Region | None,
) -> Chosen:
    by_person = named("t2", exam, verdicts, settings.use)
    if by_person is not None:
        verdicts = [replace(by_person[0], label="t2", why=by_person[1])]
    points = table.prefer.get("t2", {})
    return choose_t2(verdicts, reference, drawn, points, settings.min_margin, region)


def _adc(
    exam: Exam,
    verdicts: list[Verdict],
    reference: Evidence | None,
    drawn: frozenset[str],
    settings: Sequences,
    table: Rules,
    region: Region | None,
) -> Chosen:
    by_person = named("adc", exam, verdicts, settings.use)
    if by_person is not None:
        verdict, by = by_person
        verdicts = [replace(verdict, label=verdict.label if verdict.label in ("adc", "dwi") else "adc", why=by)]
    return choose_adc(
        verdicts,
        reference,
        drawn,
        table.prefer.get("adc", {}),
        settings.min_margin,
        settings.adc_scale,
        region,
    )


def _evidence_of(selection: Selection | None, verdicts: Sequence[Verdict]) -> Evidence | None:
    if selection is None:
        return None
    return next(v.evidence for v in verdicts if v.evidence.uid == selection.series_uid)
