"""QIDO-RS and WADO-RS (PS3.18 10.6 and 10.4): instances come as the files that the archive has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from daemon.export.association import Address
from daemon.export.multipart import CHUNK_BYTES, boundary_of, parts
from daemon.export.web import dicomweb_client, values_of
from daemon.fetch.plan import Batch, NotInArchive, Series
from pipeline.errors import PeerUnreachable

ANY_SYNTAX = 'multipart/related; type="application/dicom"; transfer-syntax=*'
PAGE = 500
SERIES_UID, SOP_UID, MODALITY, INSTANCES = "0020000E", "00080018", "00080060", "00201209"


@dataclass(frozen=True)
class WebDirectory:
    """What an archive has, by QIDO-RS."""

    address: Address

    def series_of(self, study_uid: str) -> list[Series]:
        with dicomweb_client(self.address) as client:
            matches = _all_pages(
                lambda **page: client.search_for_series(study_uid, fields=[MODALITY, INSTANCES], **page)
            )
            return [
                Series(_first_value(f, SERIES_UID), _first_value(f, MODALITY), _integer(f, INSTANCES)) for f in matches
            ]

    def instances_of(self, study_uid: str, series_uid: str) -> list[str]:
        with dicomweb_client(self.address) as client:
            matches = _all_pages(lambda **page: client.search_for_instances(study_uid, series_uid, **page))
            return [_first_value(f, SOP_UID) for f in matches]


def retrieve(address: Address, batches: Sequence[Batch], store: Callable[[BinaryIO], str], limit: int) -> int:
    """WADO-RS instance by instance; `keep` takes each file and says its SOP Instance UID.

    How many came of those that were asked for; those that are not there are passed over.

    Raises NotInArchive if none is, PeerUnreachable where the archive breaks off.
    """
    directory = WebDirectory(address)
    instances: list[tuple[str, str, str]] = []
    for batch in batches:
        series = [batch.series_uid] if batch.series_uid else [s.uid for s in directory.series_of(batch.study_uid)]
        for uid in series:
            sop_uids = batch.sop_uids or directory.instances_of(batch.study_uid, uid)
            instances += [(batch.study_uid, uid, sop_uid) for sop_uid in sop_uids]
    stored = 0
    with dicomweb_client(address) as client:
        for study_uid, series_uid, sop_uid in instances[:limit]:
            path = f"/studies/{study_uid}/series/{series_uid}/instances/{sop_uid}"
            with client.get(path, ANY_SYNTAX) as response:
                if response.status_code == 404:
                    continue
                response.raise_for_status()
                stored += sop_uid in _store_parts(response, store, address)
    if not stored:
        raise NotInArchive(f"{address.name} does not have it")
    return stored


def _store_parts(response: Any, store: Callable[[BinaryIO], str], address: Address) -> list[str]:
    kind = response.headers.get("Content-Type", "")
    boundary = boundary_of(kind)
    if boundary is None:
        raise PeerUnreachable(f"{address.name} answers WADO-RS with {kind.partition(';')[0] or 'no content type'}")
    return [store(part) for part in parts(response.iter_content(CHUNK_BYTES), boundary)]


def _all_pages(search: Callable[..., list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Every page of a QIDO-RS search, however many the archive gives at a time."""
    matches: list[dict[str, Any]] = []
    seen: set[str] = set()
    while True:
        page = search(limit=PAGE, offset=len(matches))
        new_matches = [p for p in page if repr(p) not in seen]
        if not new_matches:
            return matches
        seen |= {repr(p) for p in new_matches}
        matches += new_matches


def _first_value(item: dict[str, Any], tag: str) -> str:
    values = values_of(item, tag) or [""]
    return str(values[0])


def _integer(item: dict[str, Any], tag: str) -> int | None:
    text = _first_value(item, tag)
    return int(text) if text.isdigit() else None
