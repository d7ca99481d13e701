"""Several data sets under one SOP Instance UID: which one counts, and whether they are in conflict."""

from __future__ import annotations

from collections.abc import Sequence

from daemon.assembly.records import Stored
from pipeline.catalog import ACCEPTED, InstanceFacts

GEOMETRY_TAGS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
# Set only where two data sets came under one UID: a process beside the indexer compares their content.
CONTENT_TAG = "content_digest"
# Its value where the content cannot be compared.
NOT_COMPARABLE = ""


def without_duplicates(
    stored: Sequence[Stored], on_conflict: str, identity: str | None = None
) -> tuple[list[Stored], str]:
    """One data set per SOP Instance UID, and a sentence if any were in conflict.

    Headers that a PACS rewrote are no conflict: of such data sets the first that is present counts, so that a report
    does not change when a PACS rewrites headers. In a conflict the setting decides. Of data sets under several patients
    those under `identity` count, where there are any. Of copies of a proposal with a reader's word the one counts that
    accepts most: each word on another kind of region adds to what was accepted.
    """
    by_uid: dict[str, list[Stored]] = {}
    for item in sorted(stored, key=lambda s: (s.received_at, s.id)):
        by_uid.setdefault(item.facts.ref.sop_instance_uid, []).append(item)
    counting, conflicts = [], 0
    for items in by_uid.values():
        if len(items) == 1:
            counting += items
            continue
        items = _with_last_word([i for i in items if i.facts.patient_key == identity] or items)
        same = [i for i in items if not differs(items[0].facts, i.facts)]
        if len(same) < len(items):
            conflicts += 1
            if on_conflict == "keep_last":
                same = [i for i in items if not differs(items[-1].facts, i.facts)]
        counting.append(next((i for i in same if i.present), same[0]))
    which = "first" if on_conflict == "keep_first" else "last"
    return counting, (
        f"{conflicts} instances came twice with different identity, geometry or pixels; the {which} was kept"
        if conflicts
        else ""
    )


def _with_last_word(items: Sequence[Stored]) -> list[Stored]:
    """The data sets without the copies of an accepted proposal that another copy takes the place of."""
    accepted = [i for i in items if ACCEPTED in i.facts.tags and not i.facts.unconfirmed]
    last = max(accepted, key=lambda i: len(i.facts.segments), default=None)
    return [i for i in items if i is last or i not in accepted]


def differs(one: InstanceFacts, other: InstanceFacts) -> bool:
    """Whether two data sets under one UID differ in what matters: patient, study, series, geometry, content."""
    contents = one.tags.get(CONTENT_TAG) or None, other.tags.get(CONTENT_TAG) or None
    return (
        one.patient_key != other.patient_key
        or one.ref != other.ref
        or one.frame_of_reference_uid != other.frame_of_reference_uid
        or one.frames != other.frames
        or one.segments != other.segments
        or (None not in contents and contents[0] != contents[1])
        or any(one.tags.get(t) != other.tags.get(t) for t in GEOMETRY_TAGS)
    )
