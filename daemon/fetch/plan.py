"""From what is wanted to requests that an archive understands: whole studies and series, or lists of instances."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from daemon.assembly import Wanted
from pipeline.errors import InputRejected, TryLater

# What an exam consists of; an archive may have documents, reports and other modalities beside it.
MODALITIES = ("MR", "SEG", "RTSTRUCT", "REG")
# Series, instances or studies in the answer to one question; an archive that lists more is not read to the end.
MAX_LISTED = 100_000
# One retrieval, however slowly its instances come.
MAX_RETRIEVE_S = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Series:
    """A series as an archive lists it; `instances` is None where it does not count them."""

    uid: str
    modality: str
    instances: int | None


@dataclass(frozen=True, slots=True)
class Batch:
    """One request: instances of a series; without `sop_uids` the series; without `series_uid` the study."""

    study_uid: str
    series_uid: str = ""
    sop_uids: tuple[str, ...] = ()


class Directory(Protocol):
    """What an archive tells of its contents."""

    def series_of(self, study_uid: str) -> list[Series]: ...

    def instances_of(self, study_uid: str, series_uid: str) -> list[str]: ...


class NotInArchive(TryLater):
    """The archive does not have it, or not yet."""

    code = "not-in-archive"


class TooMuch(InputRejected):
    """More than may be fetched at once."""

    code = "too-much-to-fetch"


def make_plan(
    wanted: Sequence[Wanted], present: Collection[str], directory: Directory | None, limit: int
) -> tuple[Batch, ...]:
    """Requests for what is wanted and not `here` (SOP Instance UIDs).

    Args:
        directory: what the archive says that it has; None where it cannot be asked: then studies are fetched whole.
        limit: never more instances than this.

    Raises NotInArchive if the archive has nothing of it, TooMuch, and what the directory raises.
    """
    batches: list[Batch] = []
    single: dict[tuple[str, str], list[str]] = {}
    for one in wanted:
        if not one.sop_uid:
            batches += _whole(one, present, directory, limit)
        elif one.sop_uid not in present:
            single.setdefault((one.study_uid, one.series_uid), []).append(one.sop_uid)
    for (study_uid, series_uid), uids in single.items():
        if series_uid or directory is None:
            batches.append(Batch(study_uid, series_uid, tuple(uids) if series_uid else ()))
        else:
            batches += _located(study_uid, uids, directory)
    if not batches:
        raise NotInArchive("the archive has nothing of what is missing here")
    if sum(len(b.sop_uids) for b in batches) > limit:
        raise TooMuch(f"more than {limit} images are missing, which is more than fetch.max_instances")
    return tuple(dict.fromkeys(batches))


def _whole(one: Wanted, present: Collection[str], directory: Directory | None, limit: int) -> Iterator[Batch]:
    """What is not here of a series, or of a study's series; named one by one where the archive lists them."""
    if directory is None:
        yield Batch(one.study_uid, one.series_uid)
        return
    known = directory.series_of(one.study_uid)
    chosen = [s for s in known if (s.uid == one.series_uid if one.series_uid else s.modality in MODALITIES)]
    if sum(s.instances or 0 for s in chosen) > limit:
        raise TooMuch(f"the archive has more of this exam than the {limit} images of fetch.max_instances")
    for series in chosen:
        listed = directory.instances_of(one.study_uid, series.uid)
        missing = tuple(uid for uid in listed if uid not in present)
        if missing:
            yield Batch(one.study_uid, series.uid, missing if len(missing) < len(listed) else ())


def _located(study_uid: str, uids: Sequence[str], directory: Directory) -> Iterator[Batch]:
    """Instances whose series nobody named."""
    left = set(uids)
    for series in directory.series_of(study_uid):
        located = tuple(uid for uid in directory.instances_of(study_uid, series.uid) if uid in left)
        if located:
            yield Batch(study_uid, series.uid, located)
            left -= set(located)
        if not left:
            return
