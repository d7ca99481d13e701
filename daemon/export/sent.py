"""What is sent, and what the destination said of it: the same for C-STORE and STOW-RS."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from daemon.export.peer import Address
from daemon.export.statuses import MENDABLE, OUT_OF_RESOURCES, is_stored
from pipeline.errors import ExamRejected, PeerUnreachable, TryLater


class ObjectRefused(ExamRejected):
    """The destination refuses this object for good."""

    code = "object-refused"


class NotNow(TryLater):
    """The destination answers, and does not take this object as things are."""

    code = "object-not-taken"


class Congested(PeerUnreachable):
    """The destination is out of resources."""

    code = "destination-congested"


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
    """What a destination said of one item. `status` None: nothing. `coerced_uid`: it keeps it under another UID."""

    item: Item
    status: int | None
    coerced_uid: str | None = None

    @property
    def stored(self) -> bool:
        return is_stored(self.status)

    @property
    def kept_as(self) -> str:
        return self.coerced_uid or self.item.sop_instance_uid


def items_of(files: Sequence[Path]) -> tuple[Item, ...]:
    """Read the headers of finished objects; the kind of each is its file's name."""
    found = []
    for path in files:
        header = dcmread(path, specific_tags=["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
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


def remarks(sent: Iterable[Sent]) -> str:
    """What a person should know of objects that were stored, e.g. "sr: 0xB000, kept as 1.2.3"."""
    told = []
    for one in sent:
        if one.status or one.coerced_uid:
            kept = f", kept as {one.coerced_uid}" if one.coerced_uid else ""
            told.append(f"{one.item.kind}: 0x{one.status or 0:04X}{kept}")
    return "; ".join(told)


def require_stored(address: Address, sent: Sequence[Sent]) -> None:
    """Raise the error that fits unless every object is stored; what may yet succeed goes before what never will."""
    missing = [one for one in sent if not one.stored]
    if not missing:
        return
    answered = [(one.item.kind, one.status) for one in missing if one.status is not None]
    if len(answered) < len(missing):
        raise PeerUnreachable(f"{address.name} broke off or did not answer in time")
    told = ", ".join(f"{kind} with status 0x{status:04X}" for kind, status in answered)
    statuses = {status for _, status in answered if status is not None}
    if any(status >> 8 == OUT_OF_RESOURCES for status in statuses):
        raise Congested(f"{address.name} is out of resources: {told}")
    if any(status in MENDABLE for status in statuses):
        raise NotNow(f"{address.name} does not take {told}")
    raise ObjectRefused(f"{address.name} refuses {told}")
