"""Everything fails while exams come in; and every exam has its report in the archive, once, and right.

The schedule of faults comes from a seed, which a failure prints with what was done when. `AXRAD_FAULT_EXAMS=60` for a
larger day, `AXRAD_FAULT_SEEDS=7,8` for other ones.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from tests.support.day import Day, day_of
from tests.support.machines import database
from tests.support.poison import poison_slice
from tests.support.schedule import USUAL_SEEDS, Fault, elsewhere, schedule
from tests.support.senders import KeptOpen, PlainSender, Sender
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.peer("storescu"), pytest.mark.timeout(1800)]

EXAMS = int(os.environ.get("AXRAD_FAULT_EXAMS", "5"))
SEEDS = [int(text) for text in os.environ.get("AXRAD_FAULT_SEEDS", "").split(",") if text] or USUAL_SEEDS
SENDERS = 4
SPAN_S = 4.0 * EXAMS


@pytest.fixture(scope="module")
def exams(tmp_path_factory: pytest.TempPathFactory) -> list[PhantomExam]:
    folder = tmp_path_factory.mktemp("exams")
    return [write_exam(folder / str(n), PhantomSpec(seed=100 + n, preset="small")) for n in range(EXAMS)]


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> PhantomExam:
    """An exam with a slice that ends whoever decodes it."""
    exam = write_exam(tmp_path_factory.mktemp("poisoned"), PhantomSpec(seed=99, preset="small"))
    poison_slice(next(series for series in exam.series if series.label == "t2").paths[3])
    return exam


def day_name(seed: int) -> str:
    return f"seed {seed}" + (" on PostgreSQL and Redis" if elsewhere(seed) else "")


def senders_of(port: int, exams: list[PhantomExam], faults: tuple[Fault, ...]) -> Iterator[Sender]:
    """Four, that have every exam between them; where the day wants it, one keeps its last association open."""
    kept = any(fault.kind == "association kept open" for fault in faults)
    for number in range(SENDERS):
        paths = [path for exam in exams[number::SENDERS] for path in exam.paths]
        if paths:
            yield (KeptOpen if kept and number == 0 else Sender)(f"SCANNER{number}", port, paths)


@pytest.fixture(
    params=[pytest.param(s, marks=pytest.mark.peer("redis-server") if elsewhere(s) else ()) for s in SEEDS],
    ids=day_name,
)
def day(
    request: pytest.FixtureRequest, tmp_path: Path, exams: list[PhantomExam], poisoned: PhantomExam
) -> Iterator[Day]:
    seed = int(request.param)
    faults = schedule(seed, SPAN_S)
    sys.stdout.write("\n  ".join([f"{day_name(seed)}, {len(exams)} exams", *map(str, faults)]) + "\n")
    url = database(request.getfixturevalue("postgres"), f"faults_{seed}") if elsewhere(seed) else None
    with day_of(tmp_path, seed, url) as today:
        today.send(*senders_of(today.port, exams, faults))
        if any(fault.kind == "poison slice" for fault in faults):
            today.poisoned.append(poisoned.study_uid)
            today.send(PlainSender("POISONED", today.port, poisoned.paths))
        today.injector.run(faults)
        yield today


def test_every_exam_has_its_report_once_and_right_whatever_failed(day: Day, exams: list[PhantomExam]) -> None:
    assert day.settle(exams), "not every exam was delivered"
    day.assert_each_has_its_report_once_and_right(exams)
    day.assert_nothing_received_is_lost()
    day.wait_until_all_is_indexed()
    for study_uid in day.poisoned:
        wait_for(lambda uid=study_uid: day.is_finished(uid), "the end of a poisoned exam", moves=day.moves)
