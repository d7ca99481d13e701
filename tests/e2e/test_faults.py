"""Everything fails while exams come in; and every exam has its report in the archive, once, and right.

The schedule of faults comes from a seed, which a failure prints with what was done when. `AXRAD_FAULT_EXAMS=60` for a
larger day, `AXRAD_FAULT_SEEDS=7,8` for other ones.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydicom import dcmread

from config.load import load
from daemon.ledger import Ledger, open_ledger, studies, views
from daemon.ledger.engine import LedgerBusy
from daemon.ledger.tables import instances
from daemon.spool import Spool
from dicom_sr.check import check_report
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from pipeline.result import StudyResult
from tests.support.daemon import destination
from tests.support.faults import Injector, RedisService, Sender, Service, World, schedule
from tests.support.faulty_archive import Archive, archive
from tests.support.machines import database
from tests.support.postgres import free_port
from tests.support.waiting import PATIENCE, Patience, wait_for_listener

pytestmark = [pytest.mark.peer("storescu"), pytest.mark.timeout(1800)]

EXAMS = int(os.environ.get("AXRAD_FAULT_EXAMS", "20"))
SEEDS = [int(text) for text in os.environ.get("AXRAD_FAULT_SEEDS", "1,2,3").split(",")]
# A seed, and whether it is a day on PostgreSQL and a Redis of the hospital's own.
DAYS = [(seed, False) for seed in SEEDS] + [(SEEDS[-1] + 1, True)]
SENDERS = 4
SPAN_S = 4.0 * EXAMS
# Ticks after which the day is given up when no exam moved on: a lease, a restart, the longest pauses in between.
SETTLES = 3 * PATIENCE


@pytest.fixture(scope="module")
def exams(tmp_path_factory: pytest.TempPathFactory) -> list[PhantomExam]:
    folder = tmp_path_factory.mktemp("exams")
    return [write_exam(folder / str(n), PhantomSpec(seed=100 + n, preset="small")) for n in range(EXAMS)]


@dataclass
class Day:
    service: Service
    archive: Archive
    ledger: Ledger
    senders: list[Sender]
    injector: Injector
    _seen: set[tuple[str, str | None]] = field(default_factory=set)

    def study(self, study_uid: str) -> dict[str, Any]:
        """As the ledger tells it; it may be cut off just when it is asked."""
        while True:
            with suppress(LedgerBusy), self.ledger.read() as connection:
                row = studies.find(connection, study_uid)
                return {} if row is None else views.timeline(connection, row)

    def settled(self, exams: list[PhantomExam]) -> bool:
        return all(self.study(exam.study_uid).get("state") == "delivered" for exam in exams)

    def reached(self, exams: list[PhantomExam]) -> object:
        """What only grows: files that were answered, states in which an exam was seen, objects in the archive."""
        self._seen |= {(exam.study_uid, self.study(exam.study_uid).get("state")) for exam in exams}
        return sum(len(s.acknowledged) for s in self.senders), len(self._seen), len(self.archive.kept)

    def story(self, exams: list[PhantomExam]) -> str:
        """All that is needed to see what went wrong."""
        told = ["what was done:", *self.injector.done, f"axrad up was started {self.service.starts} times"]
        told += [f"{s.name}: {len(s.acknowledged)} of {len(s.files)} files in {s.calls} calls" for s in self.senders]
        for exam in exams:
            found = self.study(exam.study_uid)
            events = found.get("events", ())
            told.append("; ".join(f"{e['at'] % 10000:.1f} {e['kind']} {e['detail'][:60]}".strip() for e in events))
            if found.get("state") != "delivered":
                told.append(json.dumps(found, indent=1))
        told += ["the log's end:", self.service.log.read_text(errors="replace")[-6000:]]
        return "\n".join(told)


CONFIG = """
[spool]
path = "spool"
warn_free_bytes = 1
refuse_free_bytes = 1
[listen]
port = {port}
[assembly]
quiet_s = 1.5
sweep_s = 0.5
[work]
backoff_s = 0.5
lease_s = 5
[features]
set = "signature"
[log]
level = "warning"
format = "json"
"""


def day_name(value: tuple[int, bool]) -> str:
    return f"seed {value[0]}" + (" on PostgreSQL and Redis" if value[1] else "")


@pytest.fixture(
    params=[pytest.param(d, marks=pytest.mark.peer("redis-server") if d[1] else ()) for d in DAYS], ids=day_name
)
def day(request: pytest.FixtureRequest, tmp_path: Path, exams: list[PhantomExam]) -> Iterator[Day]:
    seed, elsewhere = request.param
    faults = schedule(seed, SPAN_S)
    sys.stdout.write("\n  ".join([f"seed {seed}, {len(exams)} exams", *map(str, faults)]) + "\n")
    port = free_port()
    config = tmp_path / "axrad.toml"
    with ExitStack() as stack:
        pacs = stack.enter_context(archive())
        quick = {"answer_timeout_s": 3.0, "connect_timeout_s": 3.0, "backoff_max_s": 3.0, "breaker_pause_s": 1.0}
        table = destination(pacs.port, ae_title="ARCHIVE", proof="readback", **quick)
        server = None
        if elsewhere:
            server = RedisService(free_port())
            stack.enter_context(server.running())
            url = database(request.getfixturevalue("postgres"), f"faults_{seed}")
            table = f'[broker]\nurl = "{server.url}"\n[ledger]\nurl = "{url}"\n' + table
        config.write_text(CONFIG.format(port=port) + table)
        settings = load(config, environ={})
        world = World(tmp_path / "world", tmp_path)
        service = Service(config, settings, world, tmp_path / "log")
        senders = [
            Sender(f"SCANNER{n}", port, [p for exam in exams[n::SENDERS] for p in exam.paths]) for n in range(SENDERS)
        ]
        injector = Injector(service, pacs, random.Random(seed), server)
        service.start()
        ledger = open_ledger(settings)
        today = Day(service, pacs, ledger, senders, injector)
        try:
            wait_for_listener(port, service.log.read_text)
            for sender in senders:
                sender.start()
            injector.run(faults)
            patience = Patience(SETTLES)
            while not today.settled(exams) and patience.tick(today.reached(exams), 0.5):
                pass
            for sender in senders:
                sender.join()
            injector.note("every exam is delivered" if today.settled(exams) else "patience is at its end")
            sys.stdout.write(today.story(exams))
            yield today
        finally:
            left = service.leave()
            ledger.close()
        assert not left, left


def test_every_exam_has_its_report_once_and_right_whatever_failed(day: Day, exams: list[PhantomExam]) -> None:
    assert day.settled(exams), "not every exam was delivered"
    reports = day.archive.reports()
    assert {uid: len(found) for uid, found in reports.items()} == {exam.study_uid: 1 for exam in exams}
    for exam in exams:
        (uid,) = reports[exam.study_uid]
        kept = day.archive.kept[uid]
        assert len(set(kept)) == 1, "a report that was sent again had other bytes"
        revision = day.study(exam.study_uid)["revisions"][-1]["id"]
        folder = day.service.settings.spool.path / "results" / revision
        result = StudyResult.from_json((folder / "result.json").read_bytes())
        assert result.status == "evaluated"
        assert check_report(kept[0], result) == []
    spool = Spool(day.service.settings.spool.path)
    with day.ledger.read() as connection:
        rows = set(connection.execute(sa.select(instances.c.sop_uid).where(instances.c.state == "stored")).scalars())
    for sender in day.senders:
        assert sender.acknowledged == sender.files
        for path in sender.acknowledged:
            uid = str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
            assert spool.find(uid), f"{uid} was acknowledged and is not in the spool"
            assert uid in rows, f"{uid} was acknowledged and is not in the ledger"
