"""A corrected result names what was taken before it, and rejects it where a destination wants that."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydicom
import pytest

from daemon.ledger.deliveries import record_sent
from daemon.work import correction
from dicom_sr.report_source import ReportSource
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


def test_a_first_result_has_no_predecessor(at: Desk) -> None:
    at.result()
    assert correction.report_taken_before(at.context, "s1", 1) == (None, ())


def test_a_report_that_nobody_took_is_no_predecessor(at: Desk) -> None:
    first = at.result()
    take(at, f"{first}-plain", sr=0xA700, page=None)
    assert correction.report_taken_before(at.context, "s1", 2) == (None, ())


def test_what_one_destination_took_is_superseded_proven_or_not(at: Desk) -> None:
    first = at.result()
    take(at, f"{first}-plain", sr=0xB000, page=0xA900)
    take(at, f"{first}-told", page=0)
    predecessor, superseded = correction.report_taken_before(at.context, "s1", 2)
    assert predecessor is not None
    assert predecessor.sop_instance_uid == uid(1, "sr")
    assert [ref.sop_instance_uid for ref in superseded] == [uid(1, "sr"), uid(1, "page")]


def test_a_revision_that_was_never_taken_is_skipped(at: Desk) -> None:
    take(at, f"{at.result(1)}-plain", sr=0)
    take(at, f"{at.result(2)}-plain", sr=0xA700)
    predecessor, _ = correction.report_taken_before(at.context, "s1", 3)
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
    image.PatientID, image.StudyInstanceUID = patient_id, "1.2.1"
    source = ReportSource(image, "1.2.1", datetime(2026, 1, 1, tzinfo=UTC))
    assert correction.replaces_another_patient(at.context, "s1", 2, source) is other
    assert correction.replaces_another_patient(at.context, "s1", 1, source) is False
