"""Fetching by whatever way an archive offers, into our spool as if it had been sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import structlog

from config.schema import Pacs, Settings
from daemon.export.association import Address, DestinationRefused, address_of_pacs
from daemon.export.multipart import PartLimits
from daemon.fetch import dimse, web
from daemon.fetch.instance_sink import InstanceSink, NoRoom, require_room
from daemon.fetch.plan import Batch, Directory
from daemon.network.redirects import Redirected
from daemon.spool import JournalWriter, Spool, requested_moves
from pipeline.errors import ExamRejected, PeerUnreachable, TryLater

log = structlog.get_logger("axrad.fetch")
__all__ = ["NoRoom", "address_for", "directory_of", "retrieve", "retrieve_ways"]


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
    require_room(spool, settings)
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
        # The listener keeps of this C-MOVE what is noted here, and nothing else.
        moves = [requested_moves.RequestedMove(b.study_uid, b.series_uid, tuple(b.sop_uids)) for b in batches]
        requested_moves.note(spool.root, moves)
        return dimse.move(address, batches)
    with _journal(spool, address) as journal:
        sink = InstanceSink(spool, journal, settings, address.ae_title, batches)
        if way == "get":
            return dimse.get(address, batches, sink.store_data_set, max_instance_bytes=sink.max_instance_bytes)
        limits = PartLimits(web.MAX_PARTS, sink.max_instance_bytes)
        return web.retrieve(address, batches, sink.store_file, settings.fetch.max_instances, limits)


@contextmanager
def _journal(spool: Spool, address: Address) -> Iterator[JournalWriter]:
    journal = JournalWriter(spool.journal, address.ae_title, address.host)
    try:
        yield journal
    except BaseException:
        journal.close("aborted")
        raise
    journal.close("released")
