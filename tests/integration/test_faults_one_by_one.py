"""Each fault of the day of faults by itself, on a daemon that an exam is sent to meanwhile."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from daemon.spool import read_meta
from pipeline.phantom import PhantomSpec, write_exam
from tests.support.day import Day, day_of
from tests.support.injector import NEW_NAME
from tests.support.schedule import KINDS, LEASE_S, Fault
from tests.support.senders import KeptOpen, Sender
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.peer("storescu"), pytest.mark.timeout(1200)]
NUMBERS = itertools.count(300)
# What a daemon that was helped by nobody has to live through; the others are in the days themselves.
ALONE = (
    "broker readonly",
    "broker full",
    "disk of the ledger full",
    "descriptors exhausted",
    "temporary files cleaned",
    "stop analyse-child",
    "stop sweep",
    "stop up",
    "poison codestream small",
    "poison codestream wide",
    "poison bomb",
)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    with day_of(tmp_path_factory.mktemp("day"), seed=0) as running:
        yield running


def test_a_result_that_vanished_before_it_was_delivered_is_made_again_to_the_last_byte(
    day: Day, tmp_path: Path
) -> None:
    exam = write_exam(tmp_path / "exam", PhantomSpec(seed=next(NUMBERS), preset="small"))
    day.archive.mood = "refuse"
    day.send(sender := Sender("SCANNER", day.port, exam.paths))
    wait_for(lambda: day.study(exam.study_uid).get("state") == "reported", "the report", moves=lambda: sender.calls)
    day.injector.inject(Fault(0, "results vanish"))
    (gone,) = day.service.world.root.glob("vanished-*/*/sr.dcm")
    day.archive.mood = "well"
    assert day.settle([exam])
    day.assert_each_has_its_report_once_and_right([exam])
    ((sent, *_),) = (day.archive.kept[uid] for uid in day.archive.reports()[exam.study_uid])
    assert data_set_of(gone.read_bytes()) == data_set_of(sent)
    kinds = [event["kind"] for event in day.study(exam.study_uid)["events"]]
    assert kinds.count("results-gone") == 1
    assert kinds.count("analysed") == 2


def data_set_of(raw: bytes) -> bytes:
    return raw[read_meta(BytesIO(raw)).data_set_offset :]


@pytest.mark.parametrize("kind", ALONE)
def test_an_exam_that_comes_in_during_a_fault_has_its_report_once_and_right(
    day: Day, kind: str, tmp_path: Path
) -> None:
    assert kind in {known.name for known in KINDS}
    exam = write_exam(tmp_path / "exam", PhantomSpec(seed=next(NUMBERS), preset="small"))
    sender = Sender("SCANNER", day.port, exam.paths)
    day.send(sender)
    if "analyse" in kind:
        wait_for(
            lambda: day.study(exam.study_uid).get("state") == "running", "the analysis", moves=lambda: sender.calls
        )
    day.injector.inject(Fault(0, kind, seconds=LEASE_S + 2))
    assert day.settle([exam])
    day.assert_each_has_its_report_once_and_right([exam])
    day.wait_until_all_is_indexed()


def test_an_exam_is_reported_while_its_sender_keeps_the_association_open(day: Day, tmp_path: Path) -> None:
    exam = write_exam(tmp_path / "exam", PhantomSpec(seed=next(NUMBERS), preset="small"))
    sender = KeptOpen("SCANNER", day.port, exam.paths)
    day.send(sender)
    assert day.settle([exam])
    assert sender.echoes > 0
    assert sorted(sender.acknowledged) == sorted(sender.files)


def test_a_report_for_a_destination_that_a_restart_renamed_goes_where_the_operator_says(
    day: Day, tmp_path: Path
) -> None:
    exam = write_exam(tmp_path / "exam", PhantomSpec(seed=next(NUMBERS), preset="small"))
    day.archive.mood = "refuse"
    day.send(sender := Sender("SCANNER", day.port, exam.paths))
    wait_for(lambda: day.study(exam.study_uid).get("state") == "reported", "the report", moves=lambda: sender.calls)
    day.injector.inject(Fault(0, "destination renamed"))
    day.archive.mood = "well"
    assert day.settle([exam])
    day.assert_each_has_its_report_once_and_right([exam])
    states = {d["destination"]: d["state"] for d in day.study(exam.study_uid)["deliveries"]}
    assert states == {"pacs": "cancelled", NEW_NAME: "delivered"}
