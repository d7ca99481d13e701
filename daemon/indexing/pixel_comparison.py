"""Compares what data sets under one SOP Instance UID show, in a child process, beside the indexer.

A PACS that rewrites headers sends the same image again; a mistake sends another one. Only the pixels tell, and whoever
decodes them may die of it: the indexer never does. Until its instances are compared an exam waits, a minute at most.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog

from config.schema import Settings
from daemon.clock import Clock
from daemon.ledger import Ledger, comparisons, open_ledger
from daemon.ledger.comparisons import PixelDigest
from daemon.ledger.rows import InstanceRow
from daemon.logs import place_of
from daemon.spool import Spool
from pipeline.decoding import Died, content_of
from pipeline.errors import TryLater

log = structlog.get_logger("axrad.indexer")
COMPARED_AT_ONCE = 50
# Two data sets under one UID are decoded to compare them, up to this.
MOST_DECODED_BYTES = 1 << 30
LEDGER_POLL_S = 0.5
UNDECODABLE = "its pixel data cannot be decoded"


def compare_once(ledger: Ledger, spool: Spool, now: float) -> int:
    """Compare what waits for it; how many UIDs. Safe to repeat, safe to kill."""
    with ledger.read() as connection:
        waiting = comparisons.uids_to_compare(connection, COMPARED_AT_ONCE)
    for sop_uid in waiting:
        with ledger.read() as connection:
            rows = comparisons.data_sets(connection, sop_uid)
        shown = {row.id: _shown(spool, row) for row in rows}
        with ledger.write() as connection:
            comparisons.record_digests(connection, sop_uid, shown, now)
    return len(waiting)


def _decoded_bytes(tags: Mapping[str, object], frames: int) -> float:
    """What the pixels take once they are decoded, by what the header says: anything may stand there."""
    sides = (tags.get(k) for k in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated"))
    rows, columns, samples, bits = (float(v) if isinstance(v, int | float) else 1.0 for v in sides)
    return rows * columns * samples * bits * frames / 8


def _shown(spool: Spool, row: InstanceRow) -> PixelDigest:
    tags = row.facts["tags"]
    if _decoded_bytes(tags, row.facts["frames"]) > MOST_DECODED_BYTES:
        return PixelDigest(None, "it is too large to be compared")
    try:
        digest = content_of(spool.root / row.path)
    except Died as error:
        log.error("comparison-died", sop_instance_uid=row.sop_uid, path=row.path, reason=error.reason)
        return PixelDigest(None, f"its pixel data end the decoder ({error.reason})", damaged=True)
    return PixelDigest(digest, "" if digest else UNDECODABLE, damaged=digest is None)


@contextmanager
def comparing(settings: Settings, spool: Spool, stop: threading.Event, clock: Clock) -> Iterator[None]:
    """A thread that does so until `stop`."""

    def work() -> None:
        ledger: Ledger | None = None
        while not stop.wait(LEDGER_POLL_S):
            try:
                ledger = ledger or open_ledger(settings)
                compare_once(ledger, spool, clock())
            except TryLater:
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
