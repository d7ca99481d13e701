"""Is this exam complete? A pure judgement on what has arrived, in the order in which a person would ask.

The key of an exam is the study of the images that the ROIs refer to. It is ready when T1+C, T2 and ADC (or a DWI that
yields it), both ROIs and every image they refer to are here and nothing of it has arrived for `assembly.quiet_s`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from config.schema import Settings
from pipeline.catalog import Exam, InstanceFacts, SegmentFacts, exam_of
from pipeline.records import ROLES, Role
from pipeline.roi.describe import Description
from pipeline.roi.roles import Recognised, role_of
from pipeline.roi.rules import Rules, load_rules
from pipeline.sequences import Match, Selection, match

ROLE_NAMES: dict[Role, str] = {"tumor": "tumour ROI", "lymph_nodes": "axillary lymph node ROI"}


@dataclass(frozen=True, slots=True)
class Stored:
    """One instance of an exam as the ledger has it."""

    id: int
    facts: InstanceFacts
    digest: str
    received_at: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What assembly says. `due_at`: when to look again unasked. `inputs`: (SOP UID, digest), sorted."""

    state: str
    code: str = ""
    reason: str = ""
    due_at: float | None = None
    inputs: tuple[tuple[str, str], ...] = ()
    context: tuple[int, ...] = ()
    flagged: str = ""
    role: str | None = None


def judge(
    study_uid: str,
    stored: Sequence[Stored],
    last_arrival_at: float,
    now: float,
    settings: Settings,
    identity_accepted: bool = False,
) -> Verdict:
    """What to do with this exam now."""
    kept, flagged = without_duplicates(stored, settings.intake.on_conflict)
    keys = {s.facts.patient_key for s in kept if s.facts.is_image}
    if len(keys) > 1 and not identity_accepted:
        return Verdict(
            "held",
            "identity-changes",
            f"the images of this study name {len(keys)} different patients; check them, then "
            f"`axrad retry {study_uid} --accept-identity` or remove the wrong ones",
            flagged=flagged,
        )
    quiet_at = last_arrival_at + settings.assembly.quiet_s
    if now < quiet_at:
        return Verdict("assembling", due_at=quiet_at, flagged=flagged)
    role = role_by_age(kept, now, settings.assembly.max_age_days)
    rules = load_rules(settings.roi.rules)
    exam = exam_of(study_uid, [s.facts for s in newest_rois(kept, rules)])
    matched = match(exam, settings.sequences)
    missing = what_is_missing(exam, matched, rules)
    give_up_at = last_arrival_at + settings.assembly.give_up_days * 86400
    if missing:
        if now >= give_up_at:
            days = settings.assembly.give_up_days
            return Verdict(
                "expired", "gave-up", f"nothing came for {days:g} days; still missing: {'; '.join(missing)}", role=role
            )
        return Verdict(
            "waiting", "incomplete", "waits for " + "; ".join(missing), give_up_at, flagged=flagged, role=role
        )
    chosen = {uid for selection in matched.chosen.values() for uid in selected_uids(selection)}
    chosen |= {r.ref.sop_instance_uid for r in (*exam.rois, *exam.registrations)}
    inputs = tuple(
        sorted((s.facts.ref.sop_instance_uid, s.digest) for s in kept if s.facts.ref.sop_instance_uid in chosen)
    )
    context = tuple(sorted(s.id for s in newest_rois(kept, rules)))
    return Verdict("ready", inputs=inputs, context=context, flagged=flagged, role=role)


def selected_uids(selection: Selection) -> set[str]:
    """SOP Instance UIDs of every slice that a selection reads."""
    groups = [selection.frames, *selection.frames_by_b.values()]
    groups += [frames for repeats in selection.repeats_by_b.values() for frames in repeats]
    return {frame.instance.ref.sop_instance_uid for frames in groups for frame in frames}


def input_digest(inputs: Sequence[tuple[str, str]], redo: int = 0) -> str:
    """The identity of a revision. `redo` makes the same inputs count as new when an operator asks for it."""
    text = json.dumps([list(pair) for pair in inputs] + ([redo] if redo else []))
    return hashlib.sha256(text.encode()).hexdigest()


def without_duplicates(stored: Sequence[Stored], on_conflict: str) -> tuple[list[Stored], str]:
    """One data set per SOP Instance UID. Headers that a PACS rewrote are no conflict: identity and geometry are."""
    by_uid: dict[str, list[Stored]] = {}
    for item in sorted(stored, key=lambda s: (s.received_at, s.id)):
        by_uid.setdefault(item.facts.ref.sop_instance_uid, []).append(item)
    kept, conflicts = [], 0
    for items in by_uid.values():
        kept.append(items[0] if on_conflict == "keep_first" else items[-1])
        conflicts += any(differs(items[0].facts, other.facts) for other in items[1:])
    which = "first" if on_conflict == "keep_first" else "last"
    flagged = (
        f"{conflicts} instances came twice with different identity or geometry; the {which} was kept"
        if conflicts
        else ""
    )
    return kept, flagged


GEOMETRY_TAGS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "PixelDigest")


def differs(one: InstanceFacts, other: InstanceFacts) -> bool:
    """Whether two data sets under one UID are different in a way that matters: patient, study, series, geometry."""
    return (
        one.patient_key != other.patient_key
        or one.ref != other.ref
        or one.frame_of_reference_uid != other.frame_of_reference_uid
        or any(one.tags.get(t) != other.tags.get(t) for t in GEOMETRY_TAGS)
    )


def newest_rois(stored: Sequence[Stored], rules: Rules) -> list[Stored]:
    """Of several ROI objects by one author for the same ROIs, the newest (content date and time, then arrival)."""
    others = [s for s in stored if not s.facts.is_roi]
    newest: dict[tuple[object, ...], Stored] = {}
    for item in sorted(
        (s for s in stored if s.facts.is_roi), key=lambda s: (_content_time(s.facts), s.received_at, s.id)
    ):
        labels = frozenset((s.number, s.label) for s in item.facts.segments)
        roles = frozenset(recognise(item.facts, segment, rules).role for segment in item.facts.segments)
        newest[(item.facts.tags.get("author_key"), roles if roles - {None} else labels)] = item
    return others + list(newest.values())


def recognise(roi: InstanceFacts, segment: SegmentFacts, rules: Rules) -> Recognised:
    """What a segment is, from its header alone, by the same rules that read its voxels later."""
    described = Description(
        path=roi.path or Path(),
        source=roi.ref,
        number=segment.number,
        label=segment.label,
        category=segment.property_category,
        type=segment.property_type,
        anatomies=(segment.anatomy,) if segment.anatomy else (),
    )
    return role_of(described, rules)


def _content_time(facts: InstanceFacts) -> str:
    return f"{facts.tags.get('ContentDate') or ''}{facts.tags.get('ContentTime') or ''}"


def what_is_missing(exam: Exam, matched: Match, rules: Rules) -> list[str]:
    """In words, what the exam still needs. Ambiguity is not absence: waiting would not resolve it."""
    missing = [
        reason for code, reason in zip(matched.codes, matched.reasons, strict=True) if not code.startswith("ambiguous")
    ]
    recognised = [recognise(roi, segment, rules) for roi in exam.rois for segment in roi.segments]
    found = {r.role for r in recognised}
    if not exam.rois:
        missing.append("the tumour and lymph node ROIs (DICOM SEG or RTSTRUCT)")
    elif not any(r.unclear for r in recognised):
        labels = ", ".join(f'"{segment.label}"' for roi in exam.rois for segment in roi.segments)
        missing += [f"{ROLE_NAMES[role]} (the ROIs here are {labels})" for role in ROLES if role not in found]
    here = {i.ref.sop_instance_uid for series in exam.series for i in series.instances}
    referred = {r.sop_instance_uid for roi in exam.rois for r in roi.references}
    if referred - here:
        missing.append(f"{len(referred - here)} of the {len(referred)} images that the ROIs refer to")
    return missing


def role_by_age(stored: Sequence[Stored], now: float, max_age_days: float | None) -> str | None:
    """`prior` for a study older than the limit; None leaves the role as it is."""
    dates = [d for s in stored if s.facts.is_image and isinstance(d := s.facts.tags.get("StudyDate"), str)]
    if max_age_days is None or not dates:
        return None
    try:
        taken = datetime.strptime(min(dates)[:8], "%Y%m%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
    return "prior" if now - taken > max_age_days * 86400 else None
