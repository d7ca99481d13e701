"""QIDO-RS and WADO-RS (PS3.18 10.6 and 10.4): instances come as the files that the archive has."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO

from daemon.export.peer import Address
from daemon.export.stow import opened
from daemon.fetch.plan import Batch, NotInArchive, Series
from pipeline.errors import PeerUnreachable

ANY_SYNTAX = 'multipart/related; type="application/dicom"; transfer-syntax=*'
PAGE = 500
CHUNK_BYTES = 1 << 20
IN_MEMORY_BYTES = 16 << 20
MAX_HEADER_BYTES = 16 << 10
SERIES_UID, SOP_UID, MODALITY, INSTANCES = "0020000E", "00080018", "00080060", "00201209"


@dataclass(frozen=True)
class WebDirectory:
    """What an archive has, by QIDO-RS."""

    address: Address

    def series_of(self, study_uid: str) -> list[Series]:
        with opened(self.address) as client:
            found = _pages(lambda **page: client.search_for_series(study_uid, fields=[MODALITY, INSTANCES], **page))
            return [Series(_first(f, SERIES_UID), _first(f, MODALITY), _number(f, INSTANCES)) for f in found]

    def instances_of(self, study_uid: str, series_uid: str) -> list[str]:
        with opened(self.address) as client:
            found = _pages(lambda **page: client.search_for_instances(study_uid, series_uid, **page))
            return [_first(f, SOP_UID) for f in found]


def retrieve(address: Address, batches: Sequence[Batch], keep: Callable[[BinaryIO], None], limit: int) -> int:
    """WADO-RS instance by instance; `keep` takes each file. How many came; those that are not there are passed over.

    Raises NotInArchive if none is, PeerUnreachable where the archive breaks off.
    """
    directory = WebDirectory(address)
    named: list[tuple[str, str, str]] = []
    for batch in batches:
        series = [batch.series_uid] if batch.series_uid else [s.uid for s in directory.series_of(batch.study_uid)]
        for uid in series:
            sop_uids = batch.sop_uids or directory.instances_of(batch.study_uid, uid)
            named += [(batch.study_uid, uid, sop_uid) for sop_uid in sop_uids]
    kept = 0
    with opened(address) as client:
        for study_uid, series_uid, sop_uid in named[:limit]:
            url = f"{client.base_url}/studies/{study_uid}/series/{series_uid}/instances/{sop_uid}"
            with client._session.get(
                url, headers={"Accept": ANY_SYNTAX}, stream=True, timeout=client._timeout
            ) as response:
                if response.status_code == 404:
                    continue
                response.raise_for_status()
                kept += _keep_parts(response, keep, address)
    if not kept:
        raise NotInArchive(f"{address.name} does not have it")
    return kept


def _keep_parts(response: Any, keep: Callable[[BinaryIO], None], address: Address) -> int:
    kind = response.headers.get("Content-Type", "")
    boundary = re.search(r'boundary="?([^";]+)"?', kind)
    if boundary is None:
        raise PeerUnreachable(f"{address.name} answers WADO-RS with {kind.partition(';')[0] or 'no content type'}")
    kept = 0
    for part in parts(response.iter_content(CHUNK_BYTES), boundary[1].encode()):
        keep(part)
        kept += 1
    return kept


def parts(chunks: Iterator[bytes], boundary: bytes) -> Iterator[BinaryIO]:
    """The bodies of a multipart message (RFC 2046), each as a file at its start, read as it comes in.

    Raises PeerUnreachable where the message ends before its last boundary.
    """
    delimiter = b"\r\n--" + boundary
    # As if a line end came before the first boundary, so that all of them look alike.
    buffer = bytearray(b"\r\n")
    body: Any = None
    for chunk in chunks:
        buffer += chunk
        while True:
            if body is None:
                started = _after_header(buffer, delimiter)
                if started is None:
                    break
                if started < 0:
                    # To the very end, so that the connection can be used again.
                    for _ in chunks:
                        continue
                    return
                del buffer[:started]
                body = SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - closed when its reader is done
            end = buffer.find(delimiter)
            if end < 0:
                safe = max(0, len(buffer) - len(delimiter))
                body.write(buffer[:safe])
                del buffer[:safe]
                break
            body.write(buffer[:end])
            del buffer[:end]
            body.seek(0)
            with body:
                yield body
            body = None
    if body is not None:
        body.close()
    raise PeerUnreachable("the archive broke off in the middle of an answer")


def _after_header(buffer: bytearray, delimiter: bytes) -> int | None:
    """Where the body of the next part begins; -1 after the last part; None where more has to come in."""
    start = buffer.find(delimiter)
    after = start + len(delimiter)
    if start < 0 or len(buffer) < after + 2:
        if len(buffer) > MAX_HEADER_BYTES:
            raise PeerUnreachable("the archive's answer is no multipart message")
        return None
    if buffer[after : after + 2] == b"--":
        return -1
    end = buffer.find(b"\r\n\r\n", after)
    if end < 0 and len(buffer) - after > MAX_HEADER_BYTES:
        raise PeerUnreachable("the archive's answer is no multipart message")
    return None if end < 0 else end + 4


def _pages(search: Callable[..., list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Every page of a QIDO-RS search, however many the archive gives at a time."""
    found: list[dict[str, Any]] = []
    seen: set[str] = set()
    while True:
        page = search(limit=PAGE, offset=len(found))
        fresh = [p for p in page if repr(p) not in seen]
        if not fresh:
            return found
        seen |= {repr(p) for p in fresh}
        found += fresh


def _first(item: dict[str, Any], tag: str) -> str:
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _number(item: dict[str, Any], tag: str) -> int | None:
    text = _first(item, tag)
    return int(text) if text.isdigit() else None
