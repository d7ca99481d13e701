"""What the ledger's standing questions cost, by how many instances there ever were. The files of 10,000 exams are here.

`ours`: milliseconds of a core with `--rows` instances (250,000), `reference`: with 50,000; 50,000 of them have files.
`ratio`: the second over the first, 1 where only what is alive costs anything. SQLite in a temporary folder.
`script/bench ledger --rows 4000000` takes 18 GB and half an hour.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.judging import _arrival
from config.schema import Ledger as LedgerSection
from config.schema import Settings, Spool
from daemon.health import limits, standing_checks
from daemon.indexing.reconcile import in_doubt, rows_with_files
from daemon.ledger import Ledger, open_ledger, tallies, verdicts, views
from daemon.ledger.instances import columns_of
from daemon.ledger.tables import deliveries, instances, revisions, studies
from daemon.observer.ledger_metrics import LedgerCollector
from daemon.retention.clean import candidates, clean_unused, finish
from daemon.retention.forgetting import words_of
from daemon.spool import Spool as SpoolFolder
from pipeline.catalog.free_text import after_the_files

BY_NAME_ONLY = True
PER_EXAM, WITH_FILES, EXAMS_AT_ONCE = 5, 50_000, 2_000
NOW, APART_S = 1_800_000_000.0, 600.0
REPEATS = 5


def run(rows: int = 250_000) -> Iterator[dict[str, object]]:
    few, many = _measured(WITH_FILES), _measured(rows)
    for name, (ms, kib) in many.items():
        yield {
            "name": f"{name}, {rows} instances",
            "ours": round(ms, 2),
            "reference": round(few[name][0], 2),
            "unit": "ms",
            "ratio": round(few[name][0] / max(ms, 1e-6), 3),
            "peak_kib": kib,
        }


def _measured(rows: int) -> dict[str, tuple[float, int]]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(spool=Spool(path=Path(folder) / "spool"), ledger=LedgerSection())
        (settings.spool.path / "instances").mkdir(parents=True)
        ledger = open_ledger(settings)
        fill(ledger, rows)
        answers = {name: _cost(ask) for name, ask in questions(settings, ledger).items()}
        ledger.close()
    return answers


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


def _cost(ask: Callable[[], object]) -> tuple[float, int]:
    """Median milliseconds of a core; most KiB of Python's memory."""
    ask()
    seconds = []
    for _ in range(REPEATS):
        began = time.process_time()
        ask()
        seconds.append(time.process_time() - began)
    tracemalloc.start()
    ask()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return 1000 * statistics.median(seconds), peak // 1024


def fill(ledger: Ledger, rows: int) -> None:
    """Delivered exams of five instances, the newest with files, the others without, as retention leaves them."""
    exams = rows // PER_EXAM
    for start in range(0, exams, EXAMS_AT_ONCE):
        numbers = range(start, min(start + EXAMS_AT_ONCE, exams))
        with ledger.write() as connection:
            connection.execute(studies.insert(), [_study(n, exams) for n in numbers])
            connection.execute(instances.insert(), [row for n in numbers for row in _instances(n, exams)])
            connection.execute(revisions.insert(), [_revision(n, exams) for n in numbers])
            connection.execute(deliveries.insert(), [_delivery(n, exams) for n in numbers])
        more = True
        while more:
            with ledger.write() as connection:
                more = tallies.sum_up(connection)


def _at(n: int, exams: int) -> float:
    return NOW - (exams - n) * APART_S


def _study(n: int, exams: int) -> dict[str, object]:
    at = _at(n, exams)
    times = {"first_arrival_at": at, "last_arrival_at": at, "changed_at": at}
    return {
        "id": f"{n:016x}",
        "study_uid": f"1.2.{n}",
        "state": "delivered",
        "patient_key": f"{n:032x}",
        "dirty": False,
        **times,
    }


def _instances(n: int, exams: int) -> Iterator[dict[str, object]]:
    here = (exams - n) * PER_EXAM <= WITH_FILES
    for k in range(PER_EXAM):
        arrival = _arrival(k)
        uid = f"1.2.{n}.{k}"
        row = columns_of(replace(arrival, sop_uid=uid, at=_at(n, exams), path=f"instances/{k}/{uid}.dcm"))
        facts = row["facts"] if here else after_the_files(row["facts"])
        state = "stored" if here else "purged"
        yield row | {"study_uid": f"1.2.{n}", "exam_uid": f"1.2.{n}", "state": state, "facts": facts, "size": 500_000}


def _revision(n: int, exams: int) -> dict[str, object]:
    at = _at(n, exams)
    return {
        "id": f"r{n:031x}", "study_id": f"{n:016x}", "number": 1, "input_digest": f"{n:064x}", "inputs": {},
        "state": "delivered", "stage": "done", "created_at": at, "finished_at": at, "next_attempt_at": at,
    }  # fmt: skip


def _delivery(n: int, exams: int) -> dict[str, object]:
    at = _at(n, exams)
    return {
        "id": f"d{n:031x}", "revision_id": f"r{n:031x}", "destination": "pacs", "state": "delivered", "objects": [],
        "created_at": at, "finished_at": at, "next_attempt_at": at,
    }  # fmt: skip
