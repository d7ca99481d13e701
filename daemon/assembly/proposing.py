"""Whether regions are proposed for an exam in which readers measured and nobody drew, or nobody did either."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import replace

from config.schema import Proposal
from daemon.assembly.missing import measured_images_absent
from daemon.assembly.records import Arrived, Proposed, Stored, Verdict
from pipeline.catalog import Exam
from pipeline.records import ROLES

CODE = "measured"
REJECTED = "rejected"
REJECTED_WORDS = "not evaluated: rejected by the reader"
HERE = "measurements are here"
FROM_IMAGES, NOTHING = "from-images", "nobody has drawn or measured anything"
STILL_MISSING = "; still missing: "


def proposing(
    verdict: Verdict,
    exam: Arrived,
    content: Exam,
    counting: Sequence[Stored],
    missing: Collection[str],
    now: float,
    settings: Proposal,
) -> Verdict:
    """The verdict on an exam that waits, with what its measurements change: what it says, when it is looked at again,
    and whether regions are proposed now.

    Nothing is proposed while a sequence is missing, and nothing for a region that is drawn.
    """
    if not settings.enabled or verdict.state != "waiting":
        return verdict
    if not set(missing) & set(ROLES) or set(missing) - set(ROLES):
        return verdict
    if not content.measurements:
        return _from_images(verdict, exam, counting, missing, now, settings)
    measured = [s for s in counting if s.facts.measures]
    # When images come that were measured on and were not here, it is proposed anew.
    absent = [(ref.sop_instance_uid, "") for ref in measured_images_absent(content, counting)]
    digest = digest_of([*((s.facts.ref.sop_instance_uid, s.digest) for s in measured), *absent])
    if exam.proposed is not None and exam.proposed.digest == digest:
        return _answered(verdict, exam.proposed, CODE, f"{HERE}, {exam.proposed.words}")
    quiet_at = max(s.received_at for s in measured) + settings.quiet_s
    if now < quiet_at:
        reason = f"{HERE}, regions are proposed when nothing has been measured for {settings.quiet_s:g} s"
        due = quiet_at if verdict.due_at is None else min(quiet_at, verdict.due_at)
        return replace(verdict, code=CODE, reason=f"{reason}{STILL_MISSING}{verdict.reason}", due_at=due)
    reason = f"{HERE}, regions are being proposed{STILL_MISSING}{verdict.reason}"
    return replace(verdict, code=CODE, reason=reason, propose=digest)


def _from_images(
    verdict: Verdict,
    exam: Arrived,
    counting: Sequence[Stored],
    missing: Collection[str],
    now: float,
    settings: Proposal,
) -> Verdict:
    """The same where nobody has measured or drawn: a proposal of the tumour from the images alone, if that is set."""
    if settings.from_images == "off" or (settings.from_images == "enhancement" and "tumor" not in missing):
        return verdict
    images = [(s.facts.ref.sop_instance_uid, s.digest) for s in counting if s.facts.is_image]
    digest = digest_of([("from_images", settings.from_images), *images])
    if exam.proposed is not None and exam.proposed.digest == digest:
        return _answered(
            verdict, exam.proposed, FROM_IMAGES, f"{NOTHING}; from the images alone: {exam.proposed.words}"
        )
    quiet_at = exam.last_arrival_at + settings.quiet_s
    if now < quiet_at:
        due = quiet_at if verdict.due_at is None else min(quiet_at, verdict.due_at)
        return replace(verdict, due_at=due)
    reason = f"{NOTHING}, regions are being proposed from the images alone{STILL_MISSING}{verdict.reason}"
    return replace(verdict, code=FROM_IMAGES, reason=reason, propose=digest)


def _answered(verdict: Verdict, proposed: Proposed, code: str, words: str) -> Verdict:
    """What a proposal says. A preliminary report may be out: one that says that the reader rejected it, or one kind of
    region of it, takes its place.
    """
    if proposed.rejected:
        code, words = REJECTED, REJECTED_WORDS
    state = "ready" if proposed.evaluated and (proposed.rejected or proposed.in_part) else verdict.state
    return replace(verdict, state=state, code=code, reason=f"{words}{STILL_MISSING}{verdict.reason}")


def without_unconfirmed(exam: Arrived) -> Arrived:
    """The exam as readers made it."""
    return replace(exam, stored=tuple(s for s in exam.stored if not s.facts.unconfirmed))


def with_waiting_proposal(exam: Arrived, verdict: Verdict, settings: Proposal) -> Arrived | None:
    """The exam with the regions that wait for a reader's word, if a preliminary result may be made of them.

    `verdict`: the one without them.
    """
    if settings.evaluate != "preliminary" or exam.proposed is None or not exam.proposed.waits_as:
        return None
    if (
        (verdict.state, verdict.code) != ("waiting", CODE)
        or verdict.propose
        or exam.proposed.words not in verdict.reason
    ):
        return None
    waits = [s for s in exam.stored if _is(s, exam.proposed.waits_as)]
    return replace(exam, stored=(*without_unconfirmed(exam).stored, *waits)) if waits else None


def _is(item: Stored, sop_uid: str) -> bool:
    return item.facts.unconfirmed and item.facts.ref.sop_instance_uid == sop_uid


def digest_of(pairs: Sequence[tuple[str, str]]) -> str:
    """Of (SOP Instance UID, digest) of every object that regions are proposed from, and (UID, empty) of every image
    that lacks.
    """
    return hashlib.sha256(json.dumps(sorted(pairs)).encode()).hexdigest()
