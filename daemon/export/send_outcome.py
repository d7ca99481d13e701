"""What is sent, and what the destination said of it: the same for C-STORE and STOW-RS."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydicom import dcmread

from daemon.export.association import Address
from daemon.export.statuses import MENDABLE, OUT_OF_RESOURCES, is_stored
from pipeline.dicom_file.reading_marker import marked
from pipeline.errors import ExamRejected, PeerUnreachable, TryLater

HEADER = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]


class ObjectRefused(ExamRejected):
    """The destination refuses this object for good."""

    code = "object-refused"


class NotNow(TryLater):
    """The destination answers, and does not take this object as things are."""

    code = "object-not-taken"


class Congested(PeerUnreachable):
    """The destination is out of resources."""

    code = "destination-congested"


class ContentConflict(ExamRejected):
    """The destination has another object under a UID of ours: nothing that we may do mends that."""

    code = "uid-conflict"


class ContentUnchecked(ExamRejected):
    """The destination has some object under our UID, and nothing proves that it is ours."""

    code = "content-unchecked"


class Content(StrEnum):
    """What is known of an object beyond a status that says `stored`; empty: nothing needs to be known."""

    # There already, and the same; another; not compared; said to be there and not found.
    EQUAL = "equal"
    OTHER = "other"
    UNCHECKED = "unchecked"
    ABSENT = "absent"
    # The answer says nothing of it.
    UNNAMED = "unnamed"


# There. Whether an object that nobody compared counts is for the destination's `proof` to say.
THERE = (Content.EQUAL, Content.UNCHECKED)


@dataclass(frozen=True, slots=True)
class Item:
    """One file that is to be sent."""

    kind: str
    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    study_uid: str
    series_uid: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What a destination said of one item. `status` None: nothing. `coerced_uid`: it keeps it under another UID.

    `content`: what a look at the destination came to (a `Content` or empty). `answer`: in words, what said nothing.
    """

    item: Item
    status: int | None
    coerced_uid: str | None = None
    content: str = ""
    answer: str = ""

    @property
    def stored(self) -> bool:
        return is_there(self.status, self.content)

    @property
    def kept_as(self) -> str:
        return self.coerced_uid or self.item.sop_instance_uid


def is_there(status: int | None, content: str) -> bool:
    """Whether the object need not be sent (again): stored now, or there already."""
    return is_stored(status) or content in THERE


def items_of(files: Sequence[Path]) -> tuple[Item, ...]:
    """Read the headers of finished objects; the kind of each is its file's name."""
    found = []
    for path in files:
        with marked(path):
            header = dcmread(path, specific_tags=HEADER)
        found.append(
            Item(
                path.stem,
                path,
                str(header.SOPClassUID),
                str(header.SOPInstanceUID),
                str(header.file_meta.TransferSyntaxUID),
                str(header.StudyInstanceUID),
                str(header.SeriesInstanceUID),
            )
        )
    return tuple(found)


REMARKS = {
    Content.EQUAL: "it was there already, with the same content",
    Content.UNCHECKED: "an object of this UID is there, content unchecked",
}


def remarks(sent: Iterable[Sent]) -> str:
    """What a person should know of objects that were stored, e.g. "sr: 0xB000, kept as 1.2.3"."""
    told = []
    for one in sent:
        parts = [f"0x{one.status:04X}"] if one.status else []
        parts += [REMARKS[Content(one.content)]] if one.content in REMARKS else []
        parts += [f"kept as {one.coerced_uid}"] if one.coerced_uid else []
        if parts:
            told.append(f"{one.item.kind}: {', '.join(parts)}")
    return "; ".join(told)


def require_stored(address: Address, sent: Sequence[Sent], *, by_status: bool) -> None:
    """Raise the error that fits unless every object is stored; what may yet succeed goes before what never will.

    Args:
        by_status: nothing else will prove that the objects are there, so one that was not compared does not count.
    """
    missing = [one for one in sent if not one.stored]
    if missing:
        _explain(address, missing)
    unchecked = [one.item.kind for one in sent if one.content == Content.UNCHECKED]
    if unchecked and by_status:
        raise ContentUnchecked(
            f"{address.name}: for {', '.join(unchecked)} an object of this UID is there, content unchecked; "
            'set proof = "readback" or "commit" for this destination, or let its archive be read (dicomweb_url, "get")'
        )


def _explain(address: Address, missing: Sequence[Sent]) -> None:
    def kinds(content: Content) -> str:
        return ", ".join(one.item.kind for one in missing if one.content == content)

    if any(one.status is None and not one.content for one in missing):
        raise PeerUnreachable(f"{address.name} broke off or did not answer in time")
    told = ", ".join(f"{one.item.kind} with status 0x{one.status:04X}" for one in missing if one.status is not None)
    statuses = {one.status for one in missing if one.status is not None}
    if any(status >> 8 == OUT_OF_RESOURCES for status in statuses):
        raise Congested(f"{address.name} is out of resources: {told}")
    if any(status in MENDABLE for status in statuses):
        raise NotNow(f"{address.name} does not take {told}")
    if unnamed := kinds(Content.UNNAMED):
        said = next(one.answer for one in missing if one.content == Content.UNNAMED)
        raise NotNow(f"{address.name} does not say that it stored {unnamed} ({said})", code="not-confirmed")
    if absent := kinds(Content.ABSENT):
        raise NotNow(f"{address.name} says that it has {absent} already, and does not have it when asked")
    if other := kinds(Content.OTHER):
        raise ContentConflict(f"{address.name} has other content under the UID of {other}")
    raise ObjectRefused(f"{address.name} refuses {told}")
