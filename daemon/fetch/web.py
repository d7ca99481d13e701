"""QIDO-RS and WADO-RS (PS3.18 10.6 and 10.4): instances come as the files that the archive has."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO  # Any: DICOM JSON from outside, of any shape until it is looked at

import structlog

from daemon.export.association import Address
from daemon.export.multipart import CHUNK_BYTES, PartLimits, PartsBeyondLimits, boundary_of, parts
from daemon.export.web import MAX_LIST_BYTES, Response, dicomweb_client, values_of
from daemon.fetch.instance_sink import NotRequested
from daemon.fetch.plan import MAX_LISTED, MAX_RETRIEVE_S, Batch, NotInArchive, Series
from daemon.network.answer_limits import AnswerTooLarge, too_slow
from pipeline.errors import NotDicom, PeerUnreachable

ANY_SYNTAX = 'multipart/related; type="application/dicom"; transfer-syntax=*'
PAGE = 500
# One instance is requested at a time: some archives add a part or two.
MAX_PARTS = 16
# Boundaries and headers of the parts, and parts beside the instance.
MULTIPART_OVERHEAD_BYTES = 1 << 20
log = structlog.get_logger("axrad.fetch")
SERIES_UID, SOP_UID, MODALITY, INSTANCES = "0020000E", "00080018", "00080060", "00201209"


@dataclass(frozen=True)
class WebDirectory:
    """What an archive has, by QIDO-RS."""

    address: Address

    def series_of(self, study_uid: str) -> list[Series]:
        with dicomweb_client(self.address) as client:
            matches = _all_pages(
                self.address, lambda **page: client.search_for_series(study_uid, fields=[MODALITY, INSTANCES], **page)
            )
            return [
                Series(_first_value(f, SERIES_UID), _first_value(f, MODALITY), _integer(f, INSTANCES)) for f in matches
            ]

    def instances_of(self, study_uid: str, series_uid: str) -> list[str]:
        with dicomweb_client(self.address) as client:
            matches = _all_pages(
                self.address, lambda **page: client.search_for_instances(study_uid, series_uid, **page)
            )
            return [_first_value(f, SOP_UID) for f in matches]


def retrieve(
    address: Address,
    batches: Sequence[Batch],
    store: Callable[[BinaryIO, str], None],
    max_instances: int,
    limits: PartLimits,
) -> int:
    """WADO-RS instance by instance; `store` takes each file and the SOP Instance UID that it must have.

    How many of the requested instances came; those that are not there, too large or not what was requested are passed
    over.

    Raises NotInArchive if none came, PeerUnreachable where the archive breaks off.
    """
    count = 0
    until = time.monotonic() + MAX_RETRIEVE_S
    with dicomweb_client(address, limits.max_part_bytes + MULTIPART_OVERHEAD_BYTES) as client:
        for study_uid, series_uid, sop_uid in _instances_of(batches, WebDirectory(address), max_instances):
            _require_time(address, until)
            path = f"/studies/{study_uid}/series/{series_uid}/instances/{sop_uid}"
            with client.get(path, ANY_SYNTAX) as response:
                if response.status_code == 404:
                    continue
                response.raise_for_status()
                try:
                    count += _store_parts(response, store, sop_uid, limits, address)
                except (AnswerTooLarge, PartsBeyondLimits, NotDicom) as error:
                    log.warning("fetch-instance-passed-over", pacs=address.name, code=error.code)
    if not count:
        raise NotInArchive(f"{address.name} does not have it")
    return count


def _instances_of(batches: Sequence[Batch], directory: WebDirectory, limit: int) -> list[tuple[str, str, str]]:
    """Study, series and SOP Instance UID of what is requested, at most `limit` of them."""
    instances: list[tuple[str, str, str]] = []
    for batch in batches:
        series = [batch.series_uid] if batch.series_uid else [s.uid for s in directory.series_of(batch.study_uid)]
        for uid in series:
            if len(instances) >= limit:
                return instances[:limit]
            sop_uids = batch.sop_uids or directory.instances_of(batch.study_uid, uid)
            instances += [(batch.study_uid, uid, sop_uid) for sop_uid in sop_uids]
    return instances[:limit]


def _store_parts(
    response: Response,
    store: Callable[[BinaryIO, str], None],
    sop_uid: str,
    limits: PartLimits,
    address: Address,
) -> bool:
    """Store the part that is the requested instance; whether there was one."""
    kind = response.headers.get("Content-Type", "")
    boundary = boundary_of(kind)
    if boundary is None:
        raise PeerUnreachable(f"{address.name} answers WADO-RS with {kind.partition(';')[0] or 'no content type'}")
    stored = False
    for part in parts(response.iter_content(CHUNK_BYTES), boundary, limits):
        try:
            store(part, sop_uid)
            stored = True
        except NotRequested as error:
            log.warning("fetch-instance-passed-over", pacs=address.name, code=error.code)
    return stored


def _all_pages(address: Address, search: Callable[..., list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Every page of a QIDO-RS search, however many the archive gives at a time. As long as a C-FIND may take."""
    matches: list[dict[str, Any]] = []
    seen: set[str] = set()
    size = 0
    until = time.monotonic() + 10 * address.answer_timeout_s
    while True:
        _require_time(address, until)
        page = search(limit=PAGE, offset=len(matches))
        new_matches = [(p, text) for p in page if (text := repr(p)) not in seen]
        if not new_matches:
            return matches
        seen |= {text for _, text in new_matches}
        matches += [p for p, _ in new_matches]
        size += sum(len(text) for _, text in new_matches)
        if size > MAX_LIST_BYTES:
            raise AnswerTooLarge(f"an archive answers one search with more than {MAX_LIST_BYTES} bytes")
        if len(matches) > MAX_LISTED:
            raise AnswerTooLarge(f"an archive lists more than {MAX_LISTED} series or instances")


def _require_time(address: Address, until: float) -> None:
    if time.monotonic() > until:
        raise too_slow(address.name)


def _first_value(item: dict[str, Any], tag: str) -> str:
    values = values_of(item, tag) or [""]
    return str(values[0])


def _integer(item: dict[str, Any], tag: str) -> int | None:
    text = _first_value(item, tag)
    return int(text) if text.isdigit() else None
