"""What an exam still needs: as phrases for a person and as a list to fetch."""

from __future__ import annotations

from collections.abc import Sequence

from config.schema import Settings
from daemon.assembly.records import Arrived, Stored, Wanted
from daemon.assembly.requirements import Requirements, why_absent
from pipeline.catalog import MR_CLASSES, Exam
from pipeline.records import InstanceRef, Role
from pipeline.records import Sequence as SequenceName
from pipeline.sequences import Match

# Noun phrases: command line, page and report put them into sentences of their own.
SEQUENCE_NAMES: dict[SequenceName, str] = {
    "t1c": "a T1+C series",
    "t2": "a T2 series",
    "adc": "an ADC map or DWI series",
}
ROLE_NAMES: dict[Role, str] = {"tumor": "tumour ROI", "lymph_nodes": "axillary lymph node ROI"}
Missing = tuple[list[str], list[Wanted]]


def find_missing(
    exam: Arrived,
    content: Exam,
    matched: Match,
    counting: Sequence[Stored],
    inputs: frozenset[str],
    needed: Requirements,
    settings: Settings,
) -> tuple[list[str], tuple[Wanted, ...]]:
    """Noun phrases for what an answer needs, and what to fetch, for a better answer too.

    Nothing is fetched before there is a ROI or a measurement: without one there will be no report.
    """
    absent = {*needed.missing, *needed.preferred_sequences} & set(SEQUENCE_NAMES)
    parts: list[Missing] = [
        (sequences_in_words(matched, needed.missing), _series_to_fetch(exam, counting, settings) if absent else []),
        (_roles(content, needed.missing), []),
        _referred(content, counting),
        ([], _measured_on(content, counting)),
        _gone(counting, inputs),
        _partial(exam, counting, matched, needed.asked.sequences if needed.asked else frozenset(matched.chosen)),
    ]
    phrases = [phrase for part, _ in parts for phrase in part]
    wanted = {one: None for _, part in parts for one in part} if content.rois or content.measurements else {}
    whole = {w.study_uid for w in wanted if not w.series_uid and not w.sop_uid}
    return phrases, tuple(w for w in wanted if w.study_uid not in whole or not (w.series_uid or w.sop_uid))


def sequences_in_words(matched: Match, names: Sequence[str]) -> list[str]:
    """A noun phrase for each sequence of `names`, with the reasons why it is missing."""
    return [
        _named(phrase, [text for code, text in why_absent(matched, name) if code != f"no-{name}"])
        for name, phrase in SEQUENCE_NAMES.items()
        if name in names
    ]


def preferred_in_words(content: Exam, matched: Match, needed: Requirements) -> list[str]:
    """A noun phrase for each thing that a better answer would read."""
    return [*sequences_in_words(matched, needed.preferred_sequences), *_roles(content, needed.preferred_regions)]


def _series_to_fetch(exam: Arrived, counting: Sequence[Stored], settings: Settings) -> list[Wanted]:
    """Series that archives have of this exam and that are not here, one of which may be the absent sequence.

    Where no archive can list its series, and where no image is here at all, the study is asked for.
    """
    here = {s.facts.ref.series_uid for s in counting if s.facts.is_image}
    listed = [series for answer in exam.answers for series in answer.series]
    if not here or (settings.pacs and not any("find" in archive.can for archive in settings.pacs)):
        return [Wanted(exam.study_uid)]
    return [Wanted(exam.study_uid, uid) for uid, modality, _ in listed if modality == "MR" and uid not in here]


def _named(phrase: str, why: Sequence[str]) -> str:
    """A noun phrase, with the reasons in brackets."""
    return f"{phrase} ({', '.join(why)})" if why else phrase


def _roles(content: Exam, missing: Sequence[str]) -> list[str]:
    wanted = [role for role in ROLE_NAMES if role in missing]
    if not wanted:
        return []
    if not content.rois:
        return ["the " + " and the ".join(ROLE_NAMES[r] for r in wanted) + " (DICOM SEG or RTSTRUCT)"]
    labels = ", ".join(f'"{segment.label}"' for roi in content.rois for segment in roi.segments)
    return [f"the {ROLE_NAMES[role]} (the ROIs here are {labels})" for role in wanted]


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


def measured_images_absent(content: Exam, counting: Sequence[Stored]) -> list[InstanceRef]:
    """MR images of this exam that something was measured on and that have never come."""
    known = {s.facts.ref.sop_instance_uid for s in counting}
    named = dict.fromkeys(reference for report in content.measurements for reference in report.references)
    return [
        reference
        for reference in named
        if reference.study_uid in ("", content.study_uid)
        and reference.sop_class_uid in ("", *MR_CLASSES)
        and reference.sop_instance_uid not in known
    ]


def _measured_on(content: Exam, counting: Sequence[Stored]) -> list[Wanted]:
    """They are fetched, and nothing waits for them: others may have been measured on as well."""
    absent = measured_images_absent(content, counting)
    return [Wanted(content.study_uid, r.series_uid, r.sop_instance_uid if r.series_uid else "") for r in absent]


def _gone(counting: Sequence[Stored], inputs: frozenset[str]) -> Missing:
    """Chosen instances whose files were cleaned away or lost."""
    chosen = [s for s in counting if s.facts.ref.sop_instance_uid in inputs and not s.present]
    refs = [s.facts.ref for s in chosen if not s.unreadable]
    phrases = [f"{len(refs)} images and ROIs that are no longer in the spool"] if refs else []
    phrases += [f"instance {s.facts.ref.sop_instance_uid}, whose readers died of it" for s in chosen if s.unreadable]
    return phrases, [Wanted(r.study_uid, r.series_uid, r.sop_instance_uid) for r in refs]


def _partial(exam: Arrived, counting: Sequence[Stored], matched: Match, read: frozenset[SequenceName]) -> Missing:
    """Chosen series of the sequences that are read, and of T1+C, of which the archive has more than has come."""
    names = {s.series_uid: name for name, s in matched.chosen.items() if name in read or name == "t1c"}
    refs_by_series: dict[str, list[InstanceRef]] = {}
    for ref in (s.facts.ref for s in counting if s.facts.ref.series_uid in names):
        refs_by_series.setdefault(ref.series_uid, []).append(ref)
    phrases: list[str] = []
    wanted: list[Wanted] = []
    for answer in exam.answers:
        for uid, _, number in answer.series:
            refs = refs_by_series.get(uid, [])
            if refs and number is not None and len(refs) < number:
                missing = number - len(refs)
                phrases.append(f"{missing} of the {number} images that {answer.pacs} has of series {uid}")
                wanted.append(Wanted(refs[0].study_uid, uid))
    return phrases, wanted
