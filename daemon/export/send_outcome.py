"""What is sent, and the outcome at the destination: the same for C-STORE and STOW-RS."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from daemon.export.association import Address
from daemon.export.statuses import (
    MENDABLE,
    NOT_SUPPORTED,
    OUT_OF_RESOURCES,
    Content,
    is_present,
    refuses_class,
)
from dicom_sr.kinds import UNION_PREFIX, kind_of
from pipeline.dicom_file.reading_marker import marked
from pipeline.errors import ExamRejected, PeerUnreachable, TryLater

HEADER = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]


class ObjectRefused(ExamRejected):
    """The destination refuses this object for good."""

    code = "object-refused"


class ObjectNotTaken(TryLater):
    """The destination answers and does not take this object now; later it may."""

    code = "object-not-taken"


class Congested(PeerUnreachable):
    """The destination is out of resources."""

    code = "destination-congested"


class ContentConflict(ExamRejected):
    """The destination has another object under a UID of ours; only an operator can resolve that."""

    code = "uid-conflict"


class ContentUnchecked(ExamRejected):
    """The destination has some object under our UID, and nothing proves that it is ours."""

    code = "content-unchecked"


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
    """The outcome for one item. `status`: None without an answer. `coerced_uid`: the other UID it is stored under.

    `content`: a `Content`, or empty. `answer`: a summary of an answer that does not name the item.
    """

    item: Item
    status: int | None
    coerced_uid: str | None = None
    content: str = ""
    answer: str = ""

    @property
    def stored(self) -> bool:
        return is_present(self.status, self.content)

    @property
    def refuses_class(self) -> bool:
        """Whether the destination may take the same in another SOP class: it says so, or only that there is a conflict
        (STOW-RS; PS3.18 10.5.3.1 names classes that are not supported) and does not have the object."""
        conflict = self.content == Content.UNNAMED and self.answer.startswith("HTTP status 409")
        return refuses_class(self.status) or (conflict and ";" not in self.answer)

    @property
    def is_dispensable(self) -> bool:
        """A union of segments goes along with the report; where a destination takes no segmentations, the report does
        without it."""
        return self.status == NOT_SUPPORTED and self.item.kind.startswith(UNION_PREFIX)

    @property
    def kept_as(self) -> str:
        return self.coerced_uid or self.item.sop_instance_uid


def items_of(files: Sequence[Path]) -> tuple[Item, ...]:
    """Read the headers of finished objects; the kind of each is its file's name."""
    items = []
    for path in files:
        with marked(path):
            header = dcmread(path, specific_tags=HEADER)
        items.append(
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
    return tuple(items)


REMARKS = {
    Content.EQUAL: "it was there already, with the same content",
    Content.UNCHECKED: "an object of this UID is there, content unchecked",
}


def remarks(sent: Iterable[Sent]) -> str:
    """Remarks on objects that were stored, for a person, e.g. "sr: 0xB000, kept as 1.2.3"."""
    remarks_by_item = []
    for one in sent:
        parts = [f"0x{one.status:04X}"] if one.status else []
        parts += [REMARKS[Content(one.content)]] if one.content in REMARKS else []
        parts += [f"kept as {one.coerced_uid}"] if one.coerced_uid else []
        if parts:
            remarks_by_item.append(f"{kind_of(one.item.kind)}: {', '.join(parts)}")
    return "; ".join(remarks_by_item)


def require_stored(address: Address, sent: Sequence[Sent], *, by_status: bool) -> None:
    """Raise the error that fits unless every object is stored; errors that may pass go before permanent ones.

    Args:
        by_status: the status is the only proof, so an object that was not compared does not count.
    """
    missing = [one for one in sent if not one.stored and not one.is_dispensable]
    if missing:
        _raise_for_missing(address, missing)
    unchecked = [kind_of(one.item.kind) for one in sent if one.content == Content.UNCHECKED]
    if unchecked and by_status:
        raise ContentUnchecked(
            f"{address.name}: for {', '.join(unchecked)} an object of this UID is there, content unchecked; "
            'set proof = "readback" or "commit" for this destination, or let its archive be read (dicomweb_url, "get")'
        )


def _raise_for_missing(address: Address, missing: Sequence[Sent]) -> None:
    def kinds(content: Content) -> str:
        return ", ".join(kind_of(one.item.kind) for one in missing if one.content == content)

    if any(one.status is None and not one.content for one in missing):
        raise PeerUnreachable(f"{address.name} broke off or did not answer in time")
    refusals = ", ".join(
        f"{kind_of(one.item.kind)} with status 0x{one.status:04X}" for one in missing if one.status is not None
    )
    statuses = {one.status for one in missing if one.status is not None}
    if any(status >> 8 == OUT_OF_RESOURCES for status in statuses):
        raise Congested(f"{address.name} is out of resources: {refusals}")
    if any(status in MENDABLE for status in statuses):
        raise ObjectNotTaken(f"{address.name} does not take {refusals}")
    if unnamed := kinds(Content.UNNAMED):
        answer = next(one.answer for one in missing if one.content == Content.UNNAMED)
        raise ObjectNotTaken(f"{address.name} does not say that it stored {unnamed} ({answer})", code="not-confirmed")
    if absent := kinds(Content.ABSENT):
        raise ObjectNotTaken(f"{address.name} says that it has {absent} already, and does not have it when asked")
    if other := kinds(Content.OTHER):
        raise ContentConflict(f"{address.name} has other content under the UID of {other}")
    raise ObjectRefused(f"{address.name} refuses {refusals}")
