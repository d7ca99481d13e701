"""Fetching by whatever way an archive offers, into our spool as if it had been sent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import structlog

from config.schema import Pacs, Settings
from daemon.export.association import Address, DestinationRefused, address_of_pacs
from daemon.fetch import dimse, web
from daemon.fetch.plan import Batch, Directory
from daemon.machine import disk_space
from daemon.network.redirects import Redirected
from daemon.spool import Description, JournalWriter, Spool, read_meta
from daemon.spool.uids import is_uid
from pipeline.errors import ExamRejected, NotDicom, PeerUnreachable, TryLater

log = structlog.get_logger("axrad.fetch")
CHUNK_BYTES = 1 << 20


class NoRoom(TryLater):
    """The disk is too full to fetch anything."""

    code = "no-room"


def address_for(pacs: Pacs, settings: Settings) -> Address:
    return replace(address_of_pacs(pacs, settings), answer_timeout_s=settings.fetch.answer_timeout_s)


def directory_of(pacs: Pacs, settings: Settings) -> Directory | None:
    """Who can say what this archive has."""
    address = address_for(pacs, settings)
    if "find" in pacs.can:
        return dimse.DimseDirectory(address)
    return web.WebDirectory(address) if pacs.dicomweb_url else None


def retrieve_ways(pacs: Pacs, settings: Settings) -> tuple[str, ...]:
    """How this archive can be fetched from, in the order of the setting."""
    offered = {way for way in ("move", "get") if way in pacs.can} | ({"wado"} if pacs.dicomweb_url else set())
    return tuple(way for way in settings.fetch.how if way in offered)


def retrieve(pacs: Pacs, batches: Sequence[Batch], settings: Settings) -> int:
    """Fetch by the first way that works; how many instances came, or are on their way to our listener.

    Raises the last way's error where none works, NoRoom.
    """
    spool = Spool(settings.spool.path)
    if disk_space.is_short(disk_space.room(spool.root), settings.spool) == "fail":
        raise NoRoom("the spool's disk is too full to fetch images; `axrad doctor` shows how much is free")
    address = address_for(pacs, settings)
    failure: TryLater | ExamRejected = PeerUnreachable(f"{pacs.name} offers no way to fetch from it")
    for way in retrieve_ways(pacs, settings):
        try:
            return _retrieve_by(way, address, batches, spool, settings)
        except (dimse.RetrieveRefused, DestinationRefused, Redirected, ExamRejected) as error:
            # Another way may be open; an archive that does not answer at all does not answer that way either.
            log.warning("fetch-way-closed", pacs=pacs.name, way=way, code=error.code)
            failure = error
    raise PeerUnreachable(failure.message, code=failure.code)


def _retrieve_by(way: str, address: Address, batches: Sequence[Batch], spool: Spool, settings: Settings) -> int:
    if way == "move":
        return dimse.move(address, batches)
    with _journal(spool, address) as journal:
        if way == "get":
            return dimse.get(address, batches, _data_set_sink(spool, journal, address))
        return web.retrieve(address, batches, _file_sink(spool, journal), settings.fetch.max_instances)


@contextmanager
def _journal(spool: Spool, address: Address) -> Iterator[JournalWriter]:
    journal = JournalWriter(spool.journal, address.ae_title, address.host)
    try:
        yield journal
    except BaseException:
        journal.close("aborted")
        raise
    journal.close("released")


def _data_set_sink(spool: Spool, journal: JournalWriter, address: Address) -> dimse.DataSetSink:
    def store(sop_class: str, sop_uid: str, syntax: str, data: bytes) -> None:
        if not (is_uid(sop_class) and is_uid(sop_uid) and is_uid(syntax)):
            raise NotDicom("the archive sent an instance whose UID is not a UID")
        spool.put(Description(sop_class, sop_uid, syntax, address.ae_title), data, journal)

    return store


def _file_sink(spool: Spool, journal: JournalWriter) -> Callable[[BinaryIO], str]:
    def store(part: BinaryIO) -> str:
        path = Path(f"{spool.temporary_name()}.part10")
        try:
            with path.open("wb") as file:
                while piece := part.read(CHUNK_BYTES):
                    file.write(piece)
            spool.ingest_file(path, journal)
            with path.open("rb") as file:
                return read_meta(file).sop_instance_uid
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)

    return store
