"""A corrected result names what was taken before it, and rejects it where a destination wants that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from daemon.ledger.deliveries import record_sent
from daemon.ledger.instances import Arrival, record
from daemon.work import correction
from daemon.work.report import character_set_of
from dicom_sr.report_source import Earlier
from pipeline.records import InstanceRef
from tests.support.delivering import CLASSES, Desk, desk

PLAIN = {"name": "plain", "port": 104}
TOLD = {"name": "told", "port": 104, "reject_superseded": True}
QUIET = {"name": "quiet", "port": 104, "reject_superseded": False}


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Desk]:
    made = desk(tmp_path, PLAIN, TOLD, QUIET)
    yield made
    made.ledger.close()


def take(at: Desk, delivery_id: str, **statuses: Any) -> None:
    """A destination said this of each kind."""
    objects = [
        {"kind": kind, "sop_class_uid": CLASSES[kind], "sop_instance_uid": "1", "status": status, "coerced_uid": None}
        for kind, status in statuses.items()
    ]
    with at.ledger.write() as connection:
        record_sent(connection, delivery_id, objects, at.now)


def uid(number: int, kind: str) -> str:
    return f"1.2.1.{number}.{1 + list(CLASSES).index(kind)}"


def earlier(at: Desk, number: int, destination: str = "plain") -> Earlier:
    patient = pydicom.Dataset()
    patient.PatientID = "TEST"
    return correction.earlier_at(at.context, "s1", number, destination, patient)


def test_a_first_result_has_no_predecessor(at: Desk) -> None:
    at.result()
    assert earlier(at, 1) == Earlier()


def test_a_report_that_nobody_took_is_no_predecessor(at: Desk) -> None:
    first = at.result()
    take(at, f"{first}-plain", sr=0xA700, page=None)
    assert earlier(at, 2) == Earlier()


def test_what_a_destination_took_is_superseded_there_and_nowhere_else(at: Desk) -> None:
    first = at.result()
    take(at, f"{first}-plain", sr=0xB000, page=0xA900)
    take(at, f"{first}-told", page=0)
    mine = earlier(at, 2)
    assert mine.report is not None
    assert mine.report.sop_instance_uid == uid(1, "sr")
    assert mine.objects == (mine.report,)
    assert earlier(at, 2, "told") == earlier(at, 2, "quiet") == Earlier()


def test_a_predecessor_has_the_uid_under_which_the_destination_keeps_it(at: Desk) -> None:
    first = at.result()
    columns = {"sop_class_uid": CLASSES["sr"], "sop_instance_uid": "1", "status": 0, "coerced_uid": "9.9"}
    with at.ledger.write() as connection:
        record_sent(connection, f"{first}-plain", [{"kind": "sr", **columns}], at.now)
    mine = earlier(at, 2)
    assert mine.report is not None
    assert mine.report.sop_instance_uid == "9.9"


def test_a_revision_that_was_never_taken_is_skipped(at: Desk) -> None:
    take(at, f"{at.result(1)}-plain", sr=0)
    take(at, f"{at.result(2)}-plain", sr=0xA700)
    predecessor = earlier(at, 3).report
    assert predecessor is not None
    assert predecessor.sop_instance_uid == uid(1, "sr")


def test_the_note_goes_after_the_report_and_only_where_it_is_wanted(at: Desk) -> None:
    settings = at.context.settings
    plain, told, quiet = settings.destination
    objects = ["page", "rejection", "sr"]
    assert correction.kinds_for(told, objects, settings) == ["sr", "page", "rejection"]
    assert correction.kinds_for(plain, objects, settings) == ["sr", "page"]
    assert correction.kinds_for(quiet, objects, settings) == ["sr", "page"]
    assert correction.kinds_for(told, ["page", "rejection"], settings) == ["page"]
    # What the report refers to goes where the report goes, before it; carried regions only where they are asked for.
    objects = ["page", "seg_t2", "sr", "union_nodes_l"]
    assert correction.kinds_for(plain, objects, settings) == ["union_nodes_l", "sr", "page"]
    segs = plain.model_copy(update={"what": ("seg", "page")})
    assert correction.kinds_for(segs, objects, settings) == ["seg_t2", "page"]


def test_the_note_is_made_if_any_destination_wants_it(tmp_path: Path) -> None:
    for destinations, report, made in (
        ([PLAIN], False, False),
        ([PLAIN], True, True),
        ([QUIET], True, False),
        ([PLAIN, TOLD], False, True),
    ):
        at = desk(tmp_path / str(len(destinations)) / str(report), *destinations, report={"reject_superseded": report})
        assert correction.for_rendering(at.context.settings).report.reject_superseded is made
        at.ledger.close()


@pytest.mark.parametrize(("patient_id", "other"), [("P2", True), ("P1", False)])
def test_a_report_that_was_issued_under_another_patient_id_is_known_for_it(
    at: Desk, patient_id: str, other: bool
) -> None:
    first = at.result()
    with pydicom.dcmread(at.file(first, "sr")) as header:
        header.PatientID = "P1"
        header.save_as(at.file(first, "sr"), enforce_file_format=True)
    take(at, f"{first}-plain", sr=0)
    image = pydicom.Dataset()
    image.PatientID = patient_id
    assert correction.earlier_at(at.context, "s1", 2, "plain", image).other_patient is other
    assert correction.earlier_at(at.context, "s1", 1, "plain", image).other_patient is False


def test_texts_without_a_declaration_are_in_what_their_sender_is_known_for(tmp_path: Path) -> None:
    peers = [{"ae_title": "OLD", "character_set": "GB18030"}, {"ae_title": "NEW"}]
    at = desk(tmp_path, PLAIN, peer=peers)
    for uid, sender in (("1.1", "OLD"), ("1.2", "NEW"), ("1.3", "WHO")):
        with at.ledger.write() as connection:
            record(connection, Arrival(uid, "d", uid, 1, at.now, calling_ae=sender, sop_class=CLASSES["page"]))
    known = [character_set_of(at.context, InstanceRef("1", "1", "1", uid)) for uid in ("1.1", "1.2", "1.3")]
    assert known == [("GB18030",), (), ()]
    at.ledger.close()
