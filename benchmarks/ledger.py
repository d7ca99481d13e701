"""What the ledger's standing questions cost, by how many instances there ever were. The files of 10,000 exams are here.

`ours`: milliseconds of a core with `--rows` instances (250,000), `reference`: with 50,000; 50,000 of them have files.
`ratio`: the second over the first, 1 where only what is alive costs anything. On SQLite in a temporary folder, and on
PostgreSQL where it is installed (`--sqlite 0`, `--postgresql 0` leave one out): there `ours` is the time until all
answers are here, since the work is another process's. `longest_write_ms`: the longest that one transaction of the
question kept others from writing. `script/bench ledger --rows 4000000` takes 18 GB for each and half an hour.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks._filled_ledger import NOW, WITH_FILES, fill
from benchmarks._write_locks import write_locks
from benchmarks.indexing import database_url
from config.schema import Ledger as LedgerSection
from config.schema import Settings, Spool
from daemon.health import limits, standing_checks
from daemon.indexing.reconcile import in_doubt, rows_with_files
from daemon.ledger import Ledger, open_ledger, verdicts, views
from daemon.observer.ledger_metrics import LedgerCollector
from daemon.retention.clean import candidates, clean_unused, finish
from daemon.retention.forgetting import words_of
from daemon.spool import Spool as SpoolFolder
from tests.support.postgres import binaries

BY_NAME_ONLY = True
REPEATS = 5


def run(rows: int = 250_000, sqlite: int = 1, postgresql: int = 1) -> Iterator[dict[str, object]]:
    wanted = {"sqlite": sqlite, "postgresql": postgresql and binaries() is not None}
    for database in (name for name, yes in wanted.items() if yes):
        few, many = _measured(database, WITH_FILES), _measured(database, rows)
        for name, cost in many.items():
            yield {
                "name": f"{name}, {rows} instances, {database}",
                "ours": round(cost.ms, 2),
                "reference": round(few[name].ms, 2),
                "unit": "ms",
                "ratio": round(few[name].ms / max(cost.ms, 1e-6), 3),
                "peak_kib": cost.peak_kib,
                "longest_write_ms": round(cost.longest_write_ms, 1),
            }


@dataclass(frozen=True)
class Cost:
    """Median milliseconds; most KiB of Python's memory; the longest write transaction of all repetitions."""

    ms: float
    peak_kib: int
    longest_write_ms: float


def _measured(database: str, rows: int) -> dict[str, Cost]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(database_url(database))
        settings = Settings(spool=Spool(path=folder / "spool"), ledger=LedgerSection(url=url))
        (settings.spool.path / "instances").mkdir(parents=True)
        ledger = open_ledger(settings)
        stack.callback(ledger.close)
        fill(ledger, rows)
        _as_after_days(ledger)
        clock = time.process_time if database == "sqlite" else time.perf_counter
        return {name: _cost(ask, ledger, clock) for name, ask in questions(settings, ledger).items()}


def _as_after_days(ledger: Ledger) -> None:
    """PostgreSQL's autovacuum would have seen to the tables; SQLite keeps no such accounts."""
    if ledger.engine.dialect.name == "postgresql":
        with ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")


def questions(settings: Settings, ledger: Ledger) -> dict[str, Callable[[], object]]:
    """By what asks."""

    def reading(ask: Callable[..., object], *arguments: object) -> Callable[[], object]:
        def asked() -> None:
            with ledger.read() as connection:
                ask(connection, *arguments)

        return asked

    collector = LedgerCollector(settings, ledger, lambda: NOW, dict)
    spool = SpoolFolder(settings.spool.path)
    return {
        "status (views.counts)": reading(views.counts, NOW),
        "a scrape of /metrics": lambda: list(collector.collect()),
        "doctor's limits": lambda: list(limits.of_ledger(settings, ledger, NOW)),
        "standing checks": reading(lambda c: list(standing_checks.of_ledger(c, settings, NOW))),
        "retention: exams": lambda: list(candidates(ledger, spool, settings, NOW - 40 * 86400.0)),
        "retention: what is going": lambda: finish(ledger, spool, words_of(settings), NOW),
        "retention: of no use": lambda: clean_unused(
            ledger, spool, words_of(settings), settings, NOW - 400 * 86400.0, 3000
        ),
        "after a boot": lambda: in_doubt(ledger),
        "reconcile's rows": lambda: sum(1 for _ in rows_with_files(ledger)),
        "sweep: to judge": reading(verdicts.to_judge, NOW),
        "studies": reading(views.list_studies),
    }


def _cost(ask: Callable[[], object], ledger: Ledger, clock: Callable[[], float]) -> Cost:
    ask()
    seconds = []
    with write_locks(ledger, clock) as held:
        for _ in range(REPEATS):
            began = clock()
            ask()
            seconds.append(clock() - began)
    tracemalloc.start()
    ask()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Cost(1000 * statistics.median(seconds), peak // 1024, 1000 * max(held, default=0.0))
