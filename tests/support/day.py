"""A house with everything real in it, for days of faults: a service, an archive, senders, and what came of it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydicom import dcmread

from config.load import load
from daemon.ledger import Ledger, open_ledger, studies, views
from daemon.ledger.engine import LedgerBusy
from daemon.ledger.tables import events, instances
from daemon.processes.supervisor import axrad_command
from daemon.spool import Spool
from dicom_sr.checks.content import check_report
from pipeline.phantom import PhantomExam
from pipeline.result import StudyResult
from tests.support.daemon import UNFINISHED, destination
from tests.support.faulty_archive import Archive, archive
from tests.support.injector import NEW_NAME, Injector
from tests.support.postgres import free_port
from tests.support.schedule import LEASE_S
from tests.support.senders import Sender
from tests.support.service import RedisService, Service
from tests.support.waiting import PATIENCE, Patience, wait_for, wait_for_listener
from tests.support.world import World

# Ticks after which a day is given up when no exam moved on: a lease, a restart, the longest pauses in between.
SETTLES = 3 * PATIENCE
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
lease_s = {lease_s}
[features]
set = "signature"
[log]
level = "warning"
format = "json"
"""
QUICK = {"answer_timeout_s": 3.0, "connect_timeout_s": 3.0, "backoff_max_s": 3.0, "breaker_pause_s": 1.0}


@dataclass
class Day:
    service: Service
    archive: Archive
    ledger: Ledger
    injector: Injector
    senders: list[Sender] = field(default_factory=list)
    # UIDs of exams that cannot be evaluated.
    poisoned: list[str] = field(default_factory=list)
    _seen: set[tuple[str, str | None]] = field(default_factory=set)

    @property
    def port(self) -> int:
        return self.service.settings.listen.port

    def send(self, *senders: Sender) -> None:
        for sender in senders:
            self.senders.append(sender)
            sender.start()

    def study(self, study_uid: str) -> dict[str, Any]:
        """As the ledger tells it; it may be cut off just when it is asked."""
        while True:
            with suppress(LedgerBusy), self.ledger.read() as connection:
                row = studies.find(connection, study_uid)
                return {} if row is None else views.timeline(connection, row)

    def settled(self, exams: Sequence[PhantomExam]) -> bool:
        return all(self.study(exam.study_uid).get("state") == "delivered" for exam in exams)

    def reached(self, exams: Sequence[PhantomExam]) -> object:
        """What only grows: files that were answered, states in which an exam was seen, objects in the archive."""
        self._seen |= {(exam.study_uid, self.study(exam.study_uid).get("state")) for exam in exams}
        return sum(len(s.acknowledged) for s in self.senders), len(self._seen), len(self.archive.kept)

    def settle(self, exams: Sequence[PhantomExam]) -> bool:
        """Whether every exam was delivered, in the end; the story is written out."""
        patience = Patience(SETTLES)
        while not (settled := self.settled(exams)) and patience.tick(self.reached(exams), 0.5):
            self.send_where_they_are_wanted(exams)
        for sender in (*self.senders, *self.injector.poisoned):
            sender.leave()
        self.injector.note("every exam is delivered" if settled else "patience is at its end")
        sys.stdout.write(self.story(exams))
        return settled

    def moves(self) -> object:
        """Whatever changed in the ledger last."""
        with suppress(LedgerBusy), self.ledger.read() as connection:
            return connection.execute(sa.select(sa.func.max(events.c.id))).scalar_one()
        return None

    def wait_until_all_is_indexed(self) -> None:
        """Whatever was acknowledged is in the ledger, be it as what cannot be used: nothing keeps the indexer."""
        taken = [uid for poisoner in self.injector.poisoned for uid in poisoner.taken]

        def missing() -> int:
            with suppress(LedgerBusy), self.ledger.read() as connection:
                known = sa.select(instances.c.sop_uid).where(instances.c.sop_uid.in_(taken))
                rows = list(connection.execute(known).scalars())
                return sum(rows.count(uid) < taken.count(uid) for uid in set(taken))
            return len(taken)

        wait_for(lambda: not missing(), "poisonous files to be indexed", moves=missing, ticks=SETTLES)

    def send_where_they_are_wanted(self, exams: Sequence[PhantomExam]) -> None:
        """What `axrad status` tells an operator to type for a report whose destination has another name now."""
        for exam in exams:
            found = self.study(exam.study_uid)
            if found.get("reason_code") == "destination-gone":
                subprocess.run(
                    [*axrad_command(), "deliver", found["id"], "--to", NEW_NAME, "--config", str(self.service.config)],
                    capture_output=True,
                    check=False,
                )

    def is_finished(self, study_uid: str) -> bool:
        """Whether nobody goes on working on it."""
        return self.study(study_uid).get("state") not in (None, *UNFINISHED)

    def story(self, exams: Sequence[PhantomExam]) -> str:
        """All that is needed to see what went wrong."""
        told = ["what was done:", *self.injector.done, f"axrad up was started {self.service.starts} times"]
        told += [f"{s.name}: {len(s.acknowledged)} of {len(s.files)} files in {s.calls} calls" for s in self.senders]
        told += [f"poison {p.kind}: answered {[f'{a:04X}' for a in p.answers]}" for p in self.injector.poisoned]
        for exam in exams:
            found = self.study(exam.study_uid)
            events = found.get("events", ())
            told.append("; ".join(f"{e['at'] % 10000:.1f} {e['kind']} {e['detail'][:60]}".strip() for e in events))
            if found.get("state") != "delivered":
                told.append(json.dumps(found, indent=1))
        told += ["the log's end:", self.service.log.read_text(errors="replace")[-6000:]]
        return "\n".join(told) + "\n"

    def result_of(self, revision: str) -> StudyResult:
        """Where the daemon keeps it, or where it kept it before its results vanished."""
        places = [self.service.settings.spool.path / "results", *self.service.world.root.glob("vanished-*")]
        (path, *_) = (p / revision / "result.json" for p in places if (p / revision / "result.json").exists())
        return StudyResult.from_json(path.read_bytes())

    def assert_each_has_its_report_once_and_right(self, exams: Sequence[PhantomExam]) -> None:
        reports = self.archive.reports()
        for exam in exams:
            (uid,) = reports[exam.study_uid]
            kept = self.archive.kept[uid]
            assert len(set(kept)) == 1, "a report that was sent again had other bytes"
            result = self.result_of(self.study(exam.study_uid)["revisions"][-1]["id"])
            assert result.status == "evaluated"
            assert check_report(kept[0], result) == []

    def assert_nothing_received_is_lost(self) -> None:
        spool = Spool(self.service.settings.spool.path)
        with self.ledger.read() as connection:
            rows = set(
                connection.execute(sa.select(instances.c.sop_uid).where(instances.c.state == "stored")).scalars()
            )
        for sender in self.senders:
            assert sorted(sender.acknowledged) == sorted(sender.files)
            for path in sender.acknowledged:
                uid = str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
                assert spool.find(uid), f"{uid} was acknowledged and is not in the spool"
                assert uid in rows, f"{uid} was acknowledged and is not in the ledger"


@contextmanager
def day_of(folder: Path, seed: int, ledger_url: str | None = None) -> Iterator[Day]:
    """Everything up, and ended in order with nobody left. `ledger_url`: a PostgreSQL, and then a Redis beside it."""
    port = free_port()
    config = folder / "axrad.toml"
    with ExitStack() as stack:
        pacs = stack.enter_context(archive())
        table = destination(pacs.port, ae_title="ARCHIVE", proof="readback", **QUICK)
        server = None
        if ledger_url is not None:
            server = RedisService(free_port())
            stack.enter_context(server.running())
            table = f'[broker]\nurl = "{server.url}"\n[ledger]\nurl = "{ledger_url}"\n' + table
        config.write_text(CONFIG.format(port=port, lease_s=LEASE_S) + table)
        settings = load(config, environ={})
        service = Service(config, settings, World(folder / "world", folder), folder / "log")
        service.start()
        ledger = open_ledger(settings)
        try:
            wait_for_listener(port, lambda: service.log.read_text(errors="replace"))
            yield Day(service, pacs, ledger, Injector(service, pacs, random.Random(seed), server))
        finally:
            left = service.leave()
            ledger.close()
        assert not left, left
