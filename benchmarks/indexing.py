"""Instances indexed per second, from journal lines to rows: as the indexer works, against one line after another.

`ours`: batches, headers read by processes, over `--instances` (10,000) of 192 x 192 pixels in exams of 500, each by an
association of its own; processes are running when the clock starts. `reference`: headers read in this process, each
line in a transaction of its own, over a tenth of them. On SQLite, and where it is installed on PostgreSQL behind a line
that adds 0.2 ms to every answer. `own_ms`: processor time of the indexer per instance, without that of its processes.
`longest_write_ms`: of the transaction that kept others from writing for longest, in processor time.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from benchmarks._delayed_line import delayed
from benchmarks._write_locks import write_locks
from benchmarks.intake import EXPLICIT_LE, MR_IMAGE, _header_elements
from config.schema import Ledger as LedgerSection
from config.schema import Settings, Spool
from daemon.indexing.batches import Writer
from daemon.indexing.header_pool import HeaderPool
from daemon.indexing.indexer import index_once
from daemon.indexing.line_reading import Rules, arrival_of, brings_file
from daemon.ledger import Ledger, open_ledger
from daemon.ledger.site_key import key_for
from daemon.ledger.tables import instances as rows
from daemon.spool import Description, JournalWriter, read_journals
from daemon.spool import Spool as SpoolFolder
from tests.support.postgres import binaries, running_postgres

BY_NAME_ONLY = True
PER_EXAM, MATRIX, WARM = 500, 192, 200
ANSWER_DELAY_S = 0.0002
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL, answers 0.2 ms later"}


def run(instances: int = 10_000) -> Iterator[dict[str, object]]:
    """One row per database."""
    for database in ("sqlite", *(["postgresql"] if binaries() else [])):
        single = _measured(database, instances // 10, _one_by_one)
        batches = _measured(database, instances, _as_it_works)
        yield {
            "name": f"indexing, {NAMES[database]}",
            "ours": round(batches.per_s),
            "reference": round(single.per_s),
            "unit": "/s",
            "ratio": round(batches.per_s / single.per_s, 2),
            "own_ms": round(batches.own_ms, 3),
            "own_ms_reference": round(single.own_ms, 3),
            "longest_write_ms": round(batches.write_ms, 1),
        }


@contextmanager
def database_url(database: str) -> Iterator[str | None]:
    """Of a ledger: None for SQLite beside the spool, else of a PostgreSQL with a delayed line."""
    if database == "sqlite":
        yield None
        return
    with running_postgres() as server:
        engine = sa.create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text("CREATE DATABASE bench"))
        engine.dispose()
        url = make_url(f"{server}/bench")
        with delayed(url.port or 0, ANSWER_DELAY_S) as port:
            yield url.set(port=port).render_as_string(hide_password=False)


Work = Callable[[Settings, Ledger, HeaderPool], object]


@dataclass(frozen=True)
class Speed:
    """`own_ms`: of this process's processor time per instance; `write_ms`: of its thread's, in the longest transaction
    that writes."""

    per_s: float
    own_ms: float
    write_ms: float


def _measured(database: str, count: int, work: Work) -> Speed:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="axrad-indexing-")))
        url = stack.enter_context(database_url(database))
        spool = Spool(path=folder / "spool", warn_free_bytes=0, refuse_free_bytes=0)
        settings = Settings(spool=spool, ledger=LedgerSection(url=url))
        readers = stack.enter_context(HeaderPool(spool.path, settings.log, time.time))
        ledger = open_ledger(settings)
        stack.callback(ledger.close)
        _receive(spool.path, 0, WARM)
        work(settings, ledger, readers)
        _receive(spool.path, WARM, count)
        os.sync()
        began, used = time.perf_counter(), time.process_time()
        with write_locks(ledger, time.thread_time) as held:
            work(settings, ledger, readers)
        seconds, spent = time.perf_counter() - began, time.process_time() - used
        with ledger.read() as connection:
            stored = connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one()
    if stored != WARM + count:
        raise RuntimeError(f"{stored} rows of {WARM + count}")
    return Speed(count / seconds, 1000 * spent / count, 1000 * max(held))


def _as_it_works(settings: Settings, ledger: Ledger, readers: HeaderPool) -> None:
    key = key_for(settings, ledger, time.time())
    index_once(ledger, SpoolFolder(settings.spool.path), time.time(), settings, key, readers=readers)


def _one_by_one(settings: Settings, ledger: Ledger, _: HeaderPool) -> None:
    key, spool = key_for(settings, ledger, time.time()), SpoolFolder(settings.spool.path)
    rules, writer = Rules.of(settings, key), Writer(ledger, time.time(), settings)
    for entry in read_journals(spool.root, {}):
        writer.write_one((entry, arrival_of(spool, entry, rules, time.time()) if brings_file(entry) else None))
    index_once(ledger, spool, time.time(), settings, key)


def _receive(root: Path, start: int, count: int) -> None:
    """Exams of 500 slices, each with an association of its own."""
    spool = SpoolFolder(root)
    pixels = bytes(2 * MATRIX * MATRIX)
    pixel_data = b"\xe0\x7f\x10\x00OW\0\0" + len(pixels).to_bytes(4, "little") + pixels
    for first in range(start, start + count, PER_EXAM):
        journal = JournalWriter(spool.journal, "BENCH", "127.0.0.1")
        for number in range(first, min(first + PER_EXAM, start + count)):
            uid = f"2.25.{number + 10**6}"
            study = f"2.25.{first + 10**6}.1"
            data_set = _header_elements(uid, MATRIX, study) + pixel_data
            spool.put(Description(MR_IMAGE, uid, EXPLICIT_LE, "BENCH"), data_set, journal)
        journal.close("released")
