"""Exams per hour from socket to proof of delivery, and where the time goes after the last image.

    script/bench daemon --exams 3

The daemon as `axrad up` starts it (SQLite, its own Redis), with one and with two processes for analysis; exams come by
DCMTK's storescu as fast as the line carries them, and go to an Orthanc, which confirms them by storage commitment. One
small exam first, so that workers are warm; then one reference exam alone, whose stages are printed; then so many one
upon the other, of which the exams per hour are counted, from the first byte to the last proof.

`ours`: of the one alone, seconds from its last image to its being stored in the archive, without the quiet period;
`reference`: 4, the goal on two idle cores. `stages`: seconds by the wall and of processor time, of all processes of the
daemon and of the archive, from one event of the ledger to the next; `analysis`: the result's own account, by the wall.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil
import sqlalchemy as sa

from config.schema import Assembly
from daemon.ledger import studies
from daemon.ledger.tables import deliveries, events, instances
from pipeline.phantom import PhantomSpec, write_exam
from pipeline.phantom.spec import Preset
from tests.support.daemon import Daemon, running, storescu
from tests.support.orthanc import orthanc
from tests.support.postgres import free_port

BY_NAME_ONLY = True
QUIET_S, GOAL_S = 2.0, 4.0
# As it is shipped.
SWEEP_S = Assembly().sweep_s
LOOK_EVERY_S = 0.05
_UID = re.compile(rb"2\.25\.[0-9]{30,39}")


def run(preset: Preset = "reference", exams: int = 3) -> Iterator[dict[str, object]]:
    if not (shutil.which("storescu") and shutil.which("Orthanc")):
        print("daemon: storescu (dcmtk) and Orthanc are needed", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix="axrad-daemon-") as scratch:
        folder = Path(scratch)
        small = write_exam(folder / "small", PhantomSpec(seed=5, preset="small"))
        made = write_exam(folder / "exam-0", PhantomSpec(seed=3, preset=preset))
        several = [Sent(made.study_uid, made.folder)]
        several += [_renamed(several[0], folder / f"exam-{n}", n) for n in range(1, exams + 1)]
        for processes in (1, 2):
            with _house(folder / f"house-{processes}", processes) as daemon:
                # As many as there are processes, so that each of them has loaded everything.
                warm = [Sent(small.study_uid, small.folder)]
                warm += [_renamed(warm[0], folder / f"small-{processes}-{n}", n) for n in range(1, processes)]
                _deliver(daemon, warm)
                yield _alone(daemon, several[0], processes)
                yield _together(daemon, several[1:], processes)


class Sent(NamedTuple):
    study_uid: str
    folder: Path


def _renamed(exam: Sent, folder: Path, by: int) -> Sent:
    """The same exam with other UIDs, of the same lengths."""

    def another(match: re.Match[bytes]) -> bytes:
        uid = match.group()
        return uid[:-3] + b"%03d" % ((int(uid[-3:]) + by) % 1000)

    for path in (p for p in exam.folder.rglob("*") if p.is_file()):
        copy = folder / path.relative_to(exam.folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(_UID.sub(another, path.read_bytes()))
    return Sent(_UID.sub(another, exam.study_uid.encode()).decode(), folder)


@contextmanager
def _house(folder: Path, processes: int) -> Iterator[Daemon]:
    """A daemon and an archive that commits."""
    port = free_port()
    with orthanc(our_port=port) as archive:
        pacs = f'[[pacs]]\nname = "main"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {archive.dicom_port}\n'
        tables = [pacs + 'can = ["commit"]\n[[destination]]\nname = "archive"\npacs = "main"\nproof = "commit"\n']
        sections = {"work": f"processes = {processes}", "signature": "max_outside = 1.0\nmax_distance = 1e9"}
        with running(folder, tables, quiet_s=QUIET_S, sweep_s=SWEEP_S, port=port, **sections) as daemon:
            yield daemon


def _deliver(daemon: Daemon, exams: Sequence[Sent]) -> None:
    for exam in exams:
        storescu(daemon.port, exam.folder)
    for exam in exams:
        daemon.wait_for(exam.study_uid, "delivered", "not_evaluated")


@dataclass
class Watch:
    """Processor time of this process's children when an event of the ledger was first seen."""

    daemon: Daemon
    spent: dict[str, float]

    def look(self, stop: threading.Event) -> None:
        seen = self._newest()
        while not stop.wait(LOOK_EVERY_S):
            with self.daemon.ledger.read() as connection:
                rows = connection.execute(
                    sa.select(events.c.id, events.c.kind).where(events.c.id > seen).order_by(events.c.id)
                ).all()
            for row in rows:
                seen = row.id
                self.spent[row.kind] = children_s()

    def _newest(self) -> int:
        with self.daemon.ledger.read() as connection:
            return int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(events.c.id), 0))).scalar_one())


def children_s() -> float:
    """Processor time of everything that this process has started and that still runs."""
    spent = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            times = process.cpu_times()
            spent += times.user + times.system
    return spent


# From the event before to this one; each by what the ledger notes.
STAGES = ("revision", "started", "analysed", "reported", "stored-at-destination", "delivered-at-destination")


def _alone(daemon: Daemon, exam: Sent, processes: int) -> dict[str, object]:
    """One exam, with nothing beside it."""
    stop, watch = threading.Event(), Watch(daemon, {})
    thread = threading.Thread(target=watch.look, args=(stop,))
    thread.start()
    try:
        began = time.time()
        storescu(daemon.port, exam.folder)
        sent_s, sent_cpu_s = time.time() - began, children_s()
        daemon.wait_for(exam.study_uid, "delivered", "not_evaluated")
    finally:
        stop.set()
        thread.join()
    at, last_image, stored_at = _times(daemon, exam.study_uid)
    before, before_cpu_s = last_image + QUIET_S, sent_cpu_s
    stages = {}
    for name in STAGES:
        if name in at:
            spent = watch.spent.get(name, before_cpu_s)
            stages[name] = {"wall_s": round(at[name] - before, 2), "cpu_s": round(spent - before_cpu_s, 2)}
            before, before_cpu_s = at[name], spent
    complete_to_stored = stored_at - last_image - QUIET_S
    return {
        "name": f"daemon, one exam, {processes} process{'es' * (processes > 1)}",
        "ours": round(complete_to_stored, 2),
        "reference": GOAL_S,
        "unit": "s",
        "ratio": round(GOAL_S / complete_to_stored, 2),
        "sent_in_s": round(sent_s, 2),
        "stored_after_report_s": round(stored_at - (at.get("reported") or at["not_evaluated"]), 2),
        "proven_s": round(at["delivered-at-destination"] - last_image - QUIET_S, 2),
        "stages": stages,
        "analysis": daemon.result(exam.study_uid).timings_s,
    }


def _times(daemon: Daemon, study_uid: str) -> tuple[dict[str, float], float, float]:
    """When each kind of event was noted first, when the last image came, when the archive had the result."""
    with daemon.ledger.read() as connection:
        study = studies.find(connection, study_uid)
        rows = connection.execute(
            sa.select(events.c.kind, sa.func.min(events.c.at).label("at"))
            .where(events.c.study_id == study.id)
            .group_by(events.c.kind)
        ).all()
        last = connection.execute(
            sa.select(sa.func.max(instances.c.received_at)).where(instances.c.exam_uid == study_uid)
        ).scalar_one()
        revision = connection.execute(
            sa.select(events.c.revision_id).where(events.c.study_id == study.id, events.c.kind == "analysed")
        ).scalar_one()
        stored = connection.execute(
            sa.select(deliveries.c.stored_at).where(deliveries.c.revision_id == revision)
        ).scalar_one()
    return {row.kind: row.at for row in rows}, last, stored


def _together(daemon: Daemon, exams: Sequence[Sent], processes: int) -> dict[str, object]:
    """One after the other as fast as they come over the socket, analysed meanwhile."""
    began, spent = time.perf_counter(), children_s()
    _deliver(daemon, exams)
    seconds = time.perf_counter() - began
    rate = 3600 * len(exams) / seconds
    return {
        "name": f"daemon, {len(exams)} exams, {processes} process{'es' * (processes > 1)}",
        "ours": round(rate, 1),
        "reference": round(rate, 1),
        "unit": "/h",
        "ratio": 1.0,
        "cpu_s_per_exam": round((children_s() - spent) / len(exams), 2),
    }
