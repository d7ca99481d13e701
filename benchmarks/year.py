"""What an exam costs the ledger, month by month: its own code with a clock that stands still, and no pixels.

`script/bench year --exams-per-day 10 --days 360`. Each exam is 24 images and a SEG in one association; it is indexed,
judged, dispatched, claimed, reported, delivered to one archive, cleaned away after `--keep-days` (30), and packed after
`--pack-days` (60; 0: never). The workers' own transactions are made by the functions that make them; what reads files,
computes or sends is left out. Where a month takes too long, `--month-days` makes it shorter.
`ours`: milliseconds of a core per exam in that month, `reference`: in the second; `ratio`: the second over this one.
`stages`: the same by stage; `tick_ms`: a sweep with nothing to do; `status_ms`, `scrape_ms`: asked once a month;
`packed`: instances that are packed, `packed_bytes_each`: what each takes, with the rows that lead to them.
`slowest`: the statements that took longest in all, in milliseconds of a core per exam. SQLite, in a temporary folder.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # Any: what SQLAlchemy hands its listeners

import sqlalchemy as sa
import structlog

from benchmarks._ledger_work import analysed, delivered, reported
from config.schema import Destination, Retention, Settings, Spool
from config.schema import Ledger as LedgerSection
from daemon.indexing.batches import Writer
from daemon.ledger import Ledger, open_ledger, views
from daemon.ledger.instances import Arrival
from daemon.ledger.tables import packed_exams, packed_series
from daemon.observer.ledger_metrics import LedgerCollector
from daemon.retention import clean
from daemon.spool.instance_files import relative_path
from daemon.spool.journal import Entry
from daemon.work import sweep
from daemon.work.context import Context
from daemon.work.dispatch import dispatch_revisions
from pipeline.catalog import InstanceFacts
from tests.support.stories import breast_exam

BY_NAME_ONLY = True
START, DAY_S, MONTH_DAYS = 1_768_435_200.0, 86_400.0, 30
# Exams of a day come between eight and six.
OPEN_S, OPENS_AT_S = 10 * 3600.0, 8 * 3600.0
QUIET_S = 300.0
STAGES = ("index", "judge", "dispatch", "analyse", "report", "deliver", "clean")


@dataclass
class Month:
    """Seconds of processor time by stage and by statement."""

    exams: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    statements: Counter[str] = field(default_factory=Counter)


def run(
    exams_per_day: int = 10, days: int = 360, month_days: int = MONTH_DAYS, keep_days: int = 30, pack_days: int = 60
) -> Iterator[dict[str, object]]:
    # One line per study would be printed beside the rows.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    with tempfile.TemporaryDirectory(prefix="axrad-year-") as folder:
        site = _Site(Path(folder), Retention(keep_days=keep_days, pack_days=pack_days or None))
        second: float | None = None
        for month in range(days // month_days):
            cost = site.month(range(month * month_days, (month + 1) * month_days), exams_per_day)
            per_exam = 1000 * sum(cost.stages.values()) / cost.exams
            if month == 1:
                second = per_exam
            yield {
                "name": f"year, {exams_per_day} a day, month {month + 1}"
                + ("" if month_days == MONTH_DAYS else f" of {month_days} days"),
                "ours": round(per_exam, 2),
                "reference": round(second if second is not None else per_exam, 2),
                "unit": "ms",
                "ratio": round((second if second is not None else per_exam) / per_exam, 3),
                "stages": {name: round(1000 * cost.stages[name] / cost.exams, 2) for name in STAGES},
                **site.standing(),
                "slowest": {text: round(1000 * s / cost.exams, 3) for text, s in cost.statements.most_common(3)},
            }
        site.ledger.close()


class _Site:
    def __init__(self, folder: Path, retention: Retention) -> None:
        self.now = START
        self.settings = Settings(
            spool=Spool(path=folder / "spool", warn_free_bytes=0, refuse_free_bytes=0),
            ledger=LedgerSection(),
            destination=(Destination(name="archive", ae_title="ARCHIVE", host="127.0.0.1", port=104),),
            retention=retention,
        )
        (self.settings.spool.path / "instances").mkdir(parents=True)
        self.ledger = open_ledger(self.settings)
        self.announced: list[tuple[str, str]] = []
        self.context = Context(self.settings, self.ledger, lambda: self.now, self._announce)
        self._number = 0
        self._cost = Month()

    def _announce(self, task: str, row_id: str) -> bool:
        self.announced.append((task, row_id))
        return True

    def month(self, days: range, exams_per_day: int) -> Month:
        self._cost = Month()
        with _statements(self.ledger, self._cost.statements):
            for day in days:
                for exam in range(exams_per_day):
                    at = START + day * DAY_S + OPENS_AT_S + OPEN_S * exam / exams_per_day
                    self.now = max(self.now, at)
                    self._one_exam()
                self.now = START + (day + 1) * DAY_S
                with self._stage("clean"):
                    while clean(self.ledger, self.settings, self.now).more:
                        sweep.sum_up_tallies(self.context)
                    sweep.sum_up_tallies(self.context)
        return self._cost

    def _one_exam(self) -> None:
        self._number += 1
        self._cost.exams += 1
        lines = list(self._lines())
        with self._stage("index"):
            for start in range(0, len(lines), 200):
                Writer(self.ledger, self.now).write(lines[start : start + 200])
        self.now += QUIET_S
        with self._stage("judge"):
            sweep.assemble(self.context)
            sweep.sum_up_tallies(self.context)
        self.announced.clear()
        with self._stage("dispatch"):
            dispatch_revisions(self.context)
        revision_ids = [row_id for task, row_id in self.announced if task == "axrad.analyse"]
        if len(revision_ids) != 1:
            raise RuntimeError(f"{len(revision_ids)} revisions are dispatched for one exam")
        with self._stage("analyse"):
            analysed(self.context, revision_ids[0])
        self.now += 5.0
        with self._stage("report"):
            opened = reported(self.context, revision_ids[0])
        with self._stage("deliver"):
            delivered(self.context, opened)

    def _lines(self) -> Iterator[tuple[Entry, Arrival | None]]:
        """An association that brings the images and the regions of a patient who was never here."""
        name = f"a{self._number}"
        exam = breast_exam(study=f"1.2.{self._number + 10_000}", patient=f"P{self._number}")
        for place, facts in enumerate((*exam.images, exam.seg()), start=1):
            entry = Entry(self.now, "stored", name, "MR", journal=name, end=place)
            yield entry, _arrival(facts, self.now, name)
        yield Entry(self.now, "closed", name, "MR", journal=name, end=999, how="released"), None

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self._cost.stages[name] += time.process_time() - began

    def standing(self) -> dict[str, object]:
        """What is asked again and again, and how much the ledger has grown."""
        collector = LedgerCollector(self.settings, self.ledger, lambda: self.now, dict)
        with self.ledger.read() as connection:
            status = _milliseconds(lambda: views.counts(connection, self.now))
        file = self.settings.spool.path.parent / "ledger.sqlite"
        return {
            "tick_ms": _milliseconds(lambda: sweep.assemble(self.context)),
            "status_ms": status,
            "scrape_ms": _milliseconds(lambda: list(collector.collect())),
            "ledger_mb": round(file.stat().st_size / 1e6, 1),
            "kb_per_exam": round(file.stat().st_size / 1e3 / self._number, 1),
            **self._packed(),
        }

    def _packed(self) -> dict[str, object]:
        with self.ledger.read() as connection:
            number, held = connection.execute(
                sa.select(sa.func.sum(packed_exams.c.instances), sa.func.sum(sa.func.length(packed_exams.c.content)))
            ).one()
            # Of a series: two UIDs, and once more in the index by exam.
            row = sa.func.length(packed_series.c.series_uid) + sa.func.length(packed_series.c.exam_uid)
            series = connection.execute(sa.select(sa.func.sum(2 * row))).scalar_one()
        return {"packed": number or 0, "packed_bytes_each": round((held + series) / number, 1) if number else None}


def _arrival(facts: InstanceFacts, at: float, association: str) -> Arrival:
    uid = facts.ref.sop_instance_uid
    digest = hashlib.sha256(uid.encode()).hexdigest()
    return Arrival(uid, digest, relative_path(uid, digest), 500_000, at, association, "MR", facts=facts)


def _milliseconds(ask: Callable[[], object]) -> float:
    began = time.process_time()
    ask()
    return round(1000 * (time.process_time() - began), 2)


@contextmanager
def _statements(ledger: Ledger, spent: Counter[str]) -> Iterator[None]:
    """Seconds of processor time by statement, until its first row is there."""
    began = 0.0

    def before(*_: Any) -> None:
        nonlocal began
        began = time.process_time()

    def after(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        spent[re.sub(r"\s+", " ", statement)[:90]] += time.process_time() - began

    listeners = (("before_cursor_execute", before), ("after_cursor_execute", after))
    for event, listener in listeners:
        sa.event.listen(ledger.engine, event, listener)
    try:
        yield
    finally:
        for event, listener in listeners:
            sa.event.remove(ledger.engine, event, listener)
