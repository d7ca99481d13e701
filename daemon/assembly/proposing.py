"""Whether regions are proposed for an exam in which readers measured and nobody drew, or nobody did either."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import replace

from config.schema import Proposal
from daemon.assembly.records import Arrived, Stored, Verdict
from pipeline.catalog import Exam
from pipeline.records import ROLES

CODE = "measured"
REJECTED = "rejected"
REJECTED_WORDS = "not evaluated: rejected by the reader"
HERE = "measurements are here"
FROM_IMAGES, NOTHING = "from-images", "nobody has drawn or measured anything"


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
    digest = digest_of([(s.facts.ref.sop_instance_uid, s.digest) for s in measured])
    if exam.proposed is not None and exam.proposed.digest == digest:
        if exam.proposed.rejected:
            return replace(verdict, code=REJECTED, reason=f"{REJECTED_WORDS}; still missing: {verdict.reason}")
        return replace(verdict, code=CODE, reason=f"{HERE}, {exam.proposed.words}; still missing: {verdict.reason}")
    quiet_at = max(s.received_at for s in measured) + settings.quiet_s
    if now < quiet_at:
        reason = f"{HERE}, regions are proposed when nothing has been measured for {settings.quiet_s:g} s"
        due = quiet_at if verdict.due_at is None else min(quiet_at, verdict.due_at)
        return replace(verdict, code=CODE, reason=f"{reason}; still missing: {verdict.reason}", due_at=due)
    reason = f"{HERE}, regions are being proposed; still missing: {verdict.reason}"
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
        if exam.proposed.rejected:
            return replace(verdict, code=REJECTED, reason=f"{REJECTED_WORDS}; still missing: {verdict.reason}")
        words = f"{NOTHING}; from the images alone: {exam.proposed.words}"
        return replace(verdict, code=FROM_IMAGES, reason=f"{words}; still missing: {verdict.reason}")
    quiet_at = exam.last_arrival_at + settings.quiet_s
    if now < quiet_at:
        due = quiet_at if verdict.due_at is None else min(quiet_at, verdict.due_at)
        return replace(verdict, due_at=due)
    reason = f"{NOTHING}, regions are being proposed from the images alone; still missing: {verdict.reason}"
    return replace(verdict, code=FROM_IMAGES, reason=reason, propose=digest)


def digest_of(pairs: Sequence[tuple[str, str]]) -> str:
    """Of (SOP Instance UID, digest) of every object that regions are proposed from."""
    return hashlib.sha256(json.dumps(sorted(pairs)).encode()).hexdigest()
