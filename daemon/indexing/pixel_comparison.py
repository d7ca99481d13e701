"""Compares what data sets under one SOP Instance UID show, in a child process, beside the indexer.

A PACS that rewrites headers sends the same image again; a mistake sends another one. Only the pixels tell, and whoever
decodes them may die of it: the indexer never does. Until its instances are compared an exam waits, a minute at most.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import structlog

from config.schema import Settings
from daemon.clock import Clock
from daemon.ledger import Ledger, comparisons, open_ledger
from daemon.ledger.comparisons import PixelDigest
from daemon.ledger.rows import InstanceRow
from daemon.ledger.spools import home_in, own_spool
from daemon.logs import place_of
from daemon.share.exam_files import Files
from daemon.share.spool_files import files_of
from daemon.spool import Spool
from daemon.spool.identity import SpoolRefused
from pipeline.decoding import Died, content_of
from pipeline.errors import PeerUnreachable, TryLater

log = structlog.get_logger("axrad.indexer")
COMPARED_AT_ONCE = 50
# Two data sets under one UID are decoded to compare them, up to this.
MOST_DECODED_BYTES = 1 << 30
LEDGER_POLL_S = 0.5
UNDECODABLE = "its pixel data cannot be decoded"


def compare_once(ledger: Ledger, spool: Spool, now: float, files: Files | None = None) -> int:
    """Compare what waits for it and lies in this spool, if only in part; how many UIDs. Safe to repeat, safe to kill.

    `files`: where data sets of other spools are read; those of one that does not answer wait.
    """
    with ledger.read() as connection:
        waiting = comparisons.uids_to_compare(connection, COMPARED_AT_ONCE, spool.id)
    compared = 0
    for sop_uid in waiting:
        with ledger.read() as connection:
            rows = comparisons.data_sets(connection, sop_uid)
        try:
            shown = {row.id: _shown(_file_of(spool, row, files), row) for row in rows}
        except PeerUnreachable as error:
            log.warning("comparison-put-off", code=error.code, reason=error.message)
            continue
        with ledger.write() as connection:
            comparisons.record_digests(connection, sop_uid, shown, now)
        compared += 1
    return compared


def _file_of(spool: Spool, row: InstanceRow, files: Files | None) -> Path:
    """Raises TryLater."""
    if row.spool == spool.id or files is None:
        return spool.root / row.path
    path = files.place(row)
    if path is None or files.bring([row]):
        raise PeerUnreachable(f"a file is not in the spool {row.spool} just now")
    return path


def _decoded_bytes(tags: Mapping[str, object], frames: int) -> float:
    """What the pixels take once they are decoded, by what the header says: anything may stand there."""
    sides = (tags.get(k) for k in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated"))
    rows, columns, samples, bits = (float(v) if isinstance(v, int | float) else 1.0 for v in sides)
    return rows * columns * samples * bits * frames / 8


def _shown(path: Path, row: InstanceRow) -> PixelDigest:
    tags = row.facts["tags"]
    if _decoded_bytes(tags, row.facts["frames"]) > MOST_DECODED_BYTES:
        return PixelDigest(None, "it is too large to be compared")
    try:
        digest = content_of(path)
    except Died as error:
        log.error("comparison-died", sop_instance_uid=row.sop_uid, path=row.path, reason=error.reason)
        return PixelDigest(None, f"its pixel data end the decoder ({error.reason})", damaged=True)
    return PixelDigest(digest, "" if digest else UNDECODABLE, damaged=digest is None)


@contextmanager
def comparing(settings: Settings, spool: Spool, stop: threading.Event, clock: Clock) -> Iterator[None]:
    """A thread that does so until `stop`."""

    def work() -> None:
        ledger: Ledger | None = None
        files: Files | None = None
        while not stop.wait(LEDGER_POLL_S):
            try:
                if ledger is None:
                    ledger = open_ledger(settings)
                    files = files_of(settings, home_in(ledger), patient=False)
                own_spool(settings, ledger, clock())
                compare_once(ledger, spool, clock(), files)
            except (TryLater, SpoolRefused):
                stop.wait(2.0)  # the indexer tells of it
            except Exception as error:  # noqa: BLE001 - the outermost loop of this thread
                log.error("comparing-failed", error=type(error).__name__, at=place_of(error))
                stop.wait(2.0)
        if ledger is not None:
            ledger.close()

    thread = threading.Thread(target=work, name="compare", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(5.0)
