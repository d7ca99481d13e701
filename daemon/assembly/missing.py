"""What an exam still needs: as phrases for a person and as a list to fetch."""

from __future__ import annotations

from collections.abc import Sequence

from config.schema import Settings
from daemon.assembly.records import Arrived, Stored, Wanted
from daemon.assembly.rois import recognise
from pipeline.catalog import MR_CLASSES, Exam
from pipeline.records import InstanceRef, Role
from pipeline.records import Sequence as SequenceName
from pipeline.roi.rules import load_rules
from pipeline.sequences import Match

# Noun phrases: command line, page and report put them into sentences of their own.
SEQUENCE_NAMES: dict[SequenceName, str] = {
    "t1c": "a T1+C series",
    "t2": "a T2 series",
    "adc": "an ADC map or DWI series",
}
ROLE_NAMES: dict[Role, str] = {"tumor": "tumour ROI", "lymph_nodes": "axillary lymph node ROI"}
# Codes of sequence matching that do not end in the sequence they are about.
ABOUT = {
    "phase-missing": "t1c",
    "roi-on-other-series": "t1c",
    "roi-on-several-series": "t1c",
    "b-values-missing": "adc",
    "dwi-incomplete": "adc",
}
Missing = tuple[list[str], list[Wanted]]


def find_missing(
    exam: Arrived, content: Exam, matched: Match, counting: Sequence[Stored], inputs: frozenset[str], settings: Settings
) -> tuple[list[str], tuple[Wanted, ...]]:
    """Noun phrases, and what to fetch. Ambiguity is not absence: waiting would not resolve it, a report says so.

    Nothing is fetched before there is a ROI: without one there will be no report.
    """
    sequences = _sequences(matched, settings)
    parts: list[Missing] = [
        (sequences, [Wanted(exam.study_uid)] if sequences else []),
        (_roles(content, settings), []),
        _referred(content, counting),
        _gone(counting, inputs),
        _partial(exam, counting, matched),
    ]
    phrases = [phrase for part, _ in parts for phrase in part]
    wanted = {one: None for _, part in parts for one in part} if content.rois else {}
    whole = {w.study_uid for w in wanted if not w.series_uid and not w.sop_uid}
    return phrases, tuple(w for w in wanted if w.study_uid not in whole or not (w.series_uid or w.sop_uid))


def _sequences(matched: Match, settings: Settings) -> list[str]:
    reasons_by_sequence: dict[str, list[tuple[str, str]]] = {}
    for code, sentence in zip(matched.codes, matched.reasons, strict=True):
        reasons_by_sequence.setdefault(ABOUT.get(code, code.rsplit("-", 1)[-1]), []).append((code, sentence))
    missing: list[str] = []
    for name in settings.assembly.require_sequences:
        reasons = reasons_by_sequence.get(name, [])
        if name not in matched.chosen and reasons and not any(code.startswith("ambiguous") for code, _ in reasons):
            missing.append(_named(SEQUENCE_NAMES[name], [text for code, text in reasons if code != f"no-{name}"]))
    return missing


def _named(phrase: str, why: Sequence[str]) -> str:
    """A noun phrase, with the reasons in brackets."""
    return f"{phrase} ({', '.join(why)})" if why else phrase


def _roles(content: Exam, settings: Settings) -> list[str]:
    wanted = settings.assembly.require_rois
    if not wanted:
        return []
    if not content.rois:
        return ["the " + " and the ".join(ROLE_NAMES[r] for r in wanted) + " (DICOM SEG or RTSTRUCT)"]
    rules = load_rules(settings.roi.rules)
    recognised = [recognise(roi, segment, rules) for roi in content.rois for segment in roi.segments]
    if any(r.unclear for r in recognised):
        return []
    roles = {r.role for r in recognised}
    labels = ", ".join(f'"{segment.label}"' for roi in content.rois for segment in roi.segments)
    return [f"the {ROLE_NAMES[role]} (the ROIs here are {labels})" for role in wanted if role not in roles]


def _referred(content: Exam, counting: Sequence[Stored]) -> Missing:
    """MR images that ROIs refer to and that have never come; a structure set may name only a series."""
    known = {s.facts.ref.sop_instance_uid for s in counting}
    series = {s.facts.ref.series_uid for s in counting if s.facts.is_image}
    named: dict[str, tuple[InstanceRef, InstanceRef]] = {}
    wanted: dict[Wanted, None] = {}
    for roi in content.rois:
        for reference in roi.references:
            if reference.sop_class_uid in ("", *MR_CLASSES) and reference.sop_instance_uid:
                named[reference.sop_instance_uid] = reference, roi.ref
            elif not reference.sop_instance_uid and reference.series_uid not in series:
                wanted[Wanted(reference.study_uid or content.study_uid, reference.series_uid)] = None
    phrases = [f"{len(wanted)} image series that the ROIs refer to"] if wanted else []
    absent = [uid for uid in named if uid not in known]
    if absent:
        phrases.append(f"{len(absent)} of the {len(named)} images that the ROIs refer to")
    for uid in absent:
        reference, _ = named[uid]
        wanted[Wanted(reference.study_uid or content.study_uid, reference.series_uid, uid)] = None
    return phrases, list(wanted)


def _gone(counting: Sequence[Stored], inputs: frozenset[str]) -> Missing:
    """Chosen instances whose files were cleaned away or lost."""
    chosen = [s for s in counting if s.facts.ref.sop_instance_uid in inputs and not s.present]
    refs = [s.facts.ref for s in chosen if not s.unreadable]
    phrases = [f"{len(refs)} images and ROIs that are no longer in the spool"] if refs else []
    phrases += [f"instance {s.facts.ref.sop_instance_uid}, whose readers died of it" for s in chosen if s.unreadable]
    return phrases, [Wanted(r.study_uid, r.series_uid, r.sop_instance_uid) for r in refs]


def _partial(exam: Arrived, counting: Sequence[Stored], matched: Match) -> Missing:
    """Chosen series of which the archive has more than has come."""
    names = {selection.series_uid: name for name, selection in matched.chosen.items()}
    here: dict[str, list[InstanceRef]] = {}
    for ref in (s.facts.ref for s in counting if s.facts.ref.series_uid in names):
        here.setdefault(ref.series_uid, []).append(ref)
    phrases: list[str] = []
    wanted: list[Wanted] = []
    for answer in exam.answers:
        for uid, _, number in answer.series:
            refs = here.get(uid, [])
            if refs and number is not None and len(refs) < number:
                missing = number - len(refs)
                phrases.append(f"{missing} of the {number} images that {answer.pacs} has of series {uid}")
                wanted.append(Wanted(refs[0].study_uid, uid))
    return phrases, wanted
