"""Sending results to archives that behave, and to archives that do not."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.uid import ImplicitVRLittleEndian

from daemon.ledger.claims import LeaseLost, update
from daemon.ledger.deliveries import failing, take
from daemon.work import deliver
from daemon.work.exam_limits import EXIT_CODE
from dicom_sr.sop_classes import SEGMENTATION
from tests.support.archives import BASIC_TEXT_SR, COMPREHENSIVE_SR, SECONDARY_CAPTURE, archive, deaf
from tests.support.delivering import data_set_bytes, small_object
from tests.support.postgres import free_port

# pynetdicom's requestor drops, unclosed, the socket of a connection that failed; that is not ours to fail for.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def test_what_arrives_is_what_was_rendered_byte_for_byte(make_desk: Any) -> None:
    with archive() as there:
        at = make_desk({"name": "a", "port": there.port})
        revision = at.result()
        assert at.deliver(f"{revision}-a") == ""
        received = dict(there.received)
    for kind in ("sr", "page"):
        sent = data_set_bytes(at.file(revision, kind))
        assert received[at.objects(f"{revision}-a")[kind].sop_instance_uid] == sent
    row = at.row(f"{revision}-a")
    assert (row.state, row.proof) == ("delivered", "status")
    assert at.state_of() == "delivered"


def test_only_the_classes_that_are_sent_are_negotiated(make_desk: Any) -> None:
    with archive() as there:
        at = make_desk({"name": "a", "port": there.port, "what": ["sr"]}, {"name": "b", "port": there.port})
        revision = at.result()
        at.deliver(f"{revision}-a")
        at.deliver(f"{revision}-b")
    assert there.proposed == [[COMPREHENSIVE_SR], [COMPREHENSIVE_SR, SECONDARY_CAPTURE]]


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007])
def test_a_warning_is_stored_with_a_remark(make_desk: Any, status: int) -> None:
    with archive(answer=lambda uid: status) as there:
        at = make_desk({"name": "a", "port": there.port})
        revision = at.result()
        assert at.deliver(f"{revision}-a") == ""
    assert {o.status for o in at.objects(f"{revision}-a").values()} == {status}
    assert f"sr: 0x{status:04X}" in at.row(f"{revision}-a").reason
    assert at.row(f"{revision}-a").state == "delivered"


def test_an_archive_that_gives_an_object_another_uid_is_asked_for_that_one(make_desk: Any) -> None:
    with archive(coerce=True, answer=lambda uid: 0xB000) as there:
        at = make_desk({"name": "a", "port": there.port, "proof": "readback"})
        revision = at.result()
        assert at.deliver(f"{revision}-a") == ""
    sr = at.objects(f"{revision}-a")["sr"]
    assert sr.coerced_uid == f"{sr.sop_instance_uid}.1"
    assert f"kept as {sr.coerced_uid}" in at.row(f"{revision}-a").reason
    assert at.row(f"{revision}-a").proof == "read back"


def test_an_object_that_is_refused_for_good_does_not_hold_the_others(make_desk: Any) -> None:
    with archive(answer=lambda uid: 0xA900 if uid.endswith(".1") else 0) as there:
        at = make_desk({"name": "a", "port": there.port})
        revision = at.result()
        assert at.deliver(f"{revision}-a") == "object-refused"
    objects = at.objects(f"{revision}-a")
    assert (objects["sr"].status, objects["page"].status) == (0xA900, 0)
    row = at.row(f"{revision}-a")
    assert row.state == "failed"
    assert "sr with status 0xA900" in row.reason
    assert at.state_of() == "reported"


def test_a_class_that_is_not_accepted_is_tried_again_and_the_rest_is_there(make_desk: Any) -> None:
    with archive(classes=(COMPREHENSIVE_SR,)) as there:
        at = make_desk({"name": "a", "port": there.port})
        revision = at.result()
        assert at.deliver(f"{revision}-a") == "object-not-taken"
        assert [uid for uid, _ in there.received] == [at.objects(f"{revision}-a")["sr"].sop_instance_uid]
    assert at.row(f"{revision}-a").state == "pending"
    with archive(port=there.port) as mended:
        at.wait_until_due(f"{revision}-a")
        assert at.deliver(f"{revision}-a") == ""
        assert [uid for uid, _ in mended.received] == [at.objects(f"{revision}-a")["page"].sop_instance_uid]


def test_the_richest_class_that_an_archive_accepts_is_sent_and_its_answer_is_kept(make_desk: Any) -> None:
    objects = {kind: object_bytes(kind, number) for number, kind in enumerate(("sr", "sr_basic_text", "page"), 1)}
    with archive(classes=(BASIC_TEXT_SR, SECONDARY_CAPTURE)) as there:
        at = make_desk({"name": "a", "port": there.port})
        first, second = at.result(objects=objects), at.result(study="2", objects=objects)
        for revision in (first, second):
            assert at.deliver(f"{revision}-a") == ""
            assert at.row(f"{revision}-a").objects == ["sr_basic_text", "page"]
            assert at.row(f"{revision}-a").state == "delivered"
    assert there.proposed == [
        [COMPREHENSIVE_SR, BASIC_TEXT_SR],
        [BASIC_TEXT_SR, SECONDARY_CAPTURE],
        [BASIC_TEXT_SR, SECONDARY_CAPTURE],
    ]


def test_a_class_that_was_named_is_sent_without_asking(make_desk: Any) -> None:
    objects = {kind: object_bytes(kind, number) for number, kind in enumerate(("sr", "sr_basic_text"), 1)}
    with archive(classes=(BASIC_TEXT_SR,)) as there:
        at = make_desk({"name": "a", "port": there.port, "sr": "basic_text", "what": ["sr"]})
        assert at.deliver(f"{at.result(objects=objects)}-a") == ""
    assert there.proposed == [[BASIC_TEXT_SR]]


def test_an_archive_that_refuses_a_class_after_all_is_asked_anew(make_desk: Any) -> None:
    objects = {kind: object_bytes(kind, number) for number, kind in enumerate(("sr", "sr_basic_text"), 1)}
    with archive() as there:
        at = make_desk({"name": "a", "port": there.port, "what": ["sr"]})
        assert at.deliver(f"{at.result(objects=objects)}-a") == ""
    with archive(port=there.port, classes=(BASIC_TEXT_SR,)):
        later = at.result(study="2", objects=objects)
        assert at.deliver(f"{later}-a") == "object-not-taken"
        at.wait_until_due(f"{later}-a")
        assert at.deliver(f"{later}-a") == ""
    assert at.row(f"{later}-a").objects == ["sr_basic_text"]


def object_bytes(kind: str, number: int) -> bytes:
    ds = small_object("sr" if kind == "sr_basic_text" else kind, "1.2.1", number)
    if kind == "sr_basic_text":
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = BASIC_TEXT_SR
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ds.SOPInstanceUID}.9"
    out = BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def test_an_archive_that_takes_no_class_of_ours_is_told_as_refusing_and_not_as_dead(make_desk: Any) -> None:
    with archive(classes=(BASIC_TEXT_SR,)) as there:
        at = make_desk({"name": "a", "port": there.port, "breaker_failures": 1})
        revision = at.result()
        for _ in range(2):
            assert at.deliver(f"{revision}-a") == "object-not-taken"
            assert "sr with status 0x0122" in at.row(f"{revision}-a").reason
            at.wait_until_due(f"{revision}-a")
    with at.ledger.read() as connection:
        assert failing(connection) == []


@pytest.mark.parametrize("proof", ["status", "readback"])
def test_a_report_is_delivered_without_its_union_where_no_segmentation_is_taken(make_desk: Any, proof: str) -> None:
    with archive() as there:
        at = make_desk({"name": "a", "port": there.port, "proof": proof})
        objects = {}
        for kind, sop_class in (("sr", COMPREHENSIVE_SR), ("page", SECONDARY_CAPTURE), ("union_nodes_l", SEGMENTATION)):
            made = small_object("sr" if kind == "sr" else "page", "1.2.1", 1)
            made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = sop_class
            made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{len(objects) + 1}"
            file = BytesIO()
            made.save_as(file, enforce_file_format=True)
            objects[kind] = file.getvalue()
        revision = at.result(objects=objects)
        assert at.deliver(f"{revision}-a") == ""
    row = at.row(f"{revision}-a")
    assert row.state == "delivered"
    assert "union_nodes_l: 0x0122" in row.reason


@pytest.mark.parametrize("kind", ["sr", "page"])
def test_an_archive_that_takes_only_implicit_vr_gets_the_same_elements(make_desk: Any, kind: str) -> None:
    with archive(syntaxes=[ImplicitVRLittleEndian]) as there:
        at = make_desk({"name": "a", "port": there.port})
        revision = at.result()
        assert at.deliver(f"{revision}-a") == ""
        received = dict(there.received)
    sent = pydicom.dcmread(at.file(revision, kind))
    data = received[at.objects(f"{revision}-a")[kind].sop_instance_uid]
    arrived = read_dataset(DicomBytesIO(data), is_implicit_VR=True, is_little_endian=True)
    assert {e.tag: e.value for e in arrived} == {e.tag: e.value for e in sent}


def test_an_archive_that_dies_half_way_gets_the_rest_later(make_desk: Any) -> None:
    with archive(answer=lambda uid: None if uid.endswith(".2") else 0) as there:
        at = make_desk({"name": "a", "port": there.port})
        revision = at.result()
        assert at.deliver(f"{revision}-a") == "peer-unreachable"
    objects = at.objects(f"{revision}-a")
    assert (objects["sr"].status, objects["page"].status) == (0, None)
    with archive(port=there.port) as back:
        at.wait_until_due(f"{revision}-a")
        assert at.deliver(f"{revision}-a") == ""
        assert back.stored == {objects["page"].sop_instance_uid}
    assert at.state_of() == "delivered"


def test_an_archive_that_is_down_is_tried_again_with_growing_pauses(make_desk: Any) -> None:
    at = make_desk({"name": "a", "port": free_port(), "breaker_failures": 99})
    revision = at.result()
    pauses = []
    for _ in range(5):
        assert at.deliver(f"{revision}-a") == "peer-unreachable"
        pauses.append(at.row(f"{revision}-a").next_attempt_at - at.now)
        at.wait_until_due(f"{revision}-a")
    assert at.row(f"{revision}-a").attempts == 5
    for number, pause in enumerate(pauses):
        assert 0.5 <= pause / (10 * 2**number) <= 1.5


def test_an_archive_that_takes_the_connection_and_says_nothing_times_out(make_desk: Any) -> None:
    with deaf() as port:
        at = make_desk({"name": "a", "port": port, "answer_timeout_s": 0.5})
        revision = at.result()
        assert at.deliver(f"{revision}-a") == "peer-unreachable"
    assert at.row(f"{revision}-a").state == "pending"


def test_an_archive_that_hangs_in_the_middle_is_left_after_the_timeout(make_desk: Any) -> None:
    over = threading.Event()

    def hang(uid: str) -> int:
        if uid.endswith(".2"):
            over.wait()
        return 0

    with archive(answer=hang) as there:
        at = make_desk({"name": "a", "port": there.port, "answer_timeout_s": 0.5})
        revision = at.result()
        assert at.deliver(f"{revision}-a") == "peer-unreachable"
        over.set()
    objects = at.objects(f"{revision}-a")
    assert (objects["sr"].status, objects["page"].status) == (0, None)
    assert at.row(f"{revision}-a").state == "pending"


def test_a_delivery_whose_worker_was_killed_is_taken_over(make_desk: Any) -> None:
    with archive() as there:
        at = make_desk({"name": "a", "port": there.port})
        revision = at.result()
        with at.ledger.write() as connection:
            held = take(connection, f"{revision}-a", "dead", at.now, at.context.settings)
            update(connection, held, state="sending")
        assert at.due() == []
        at.now += at.context.settings.work.lease_s + 1
        assert at.due() == [f"{revision}-a"]
        assert at.deliver(f"{revision}-a") == ""
        with pytest.raises(LeaseLost), at.ledger.write() as connection:
            update(connection, held, state="delivered")
    assert at.row(f"{revision}-a").attempts == 2


def test_results_that_are_not_kept_any_more_are_set_aside(make_desk: Any) -> None:
    with archive() as there:
        at = make_desk({"name": "a", "port": there.port})
        revision = at.result()
        at.file(revision, "page").unlink()
        assert at.deliver(f"{revision}-a") == "report-rejected"
    assert "finished page" in at.row(f"{revision}-a").reason


def test_an_archive_that_does_not_know_us_is_tried_again_and_says_so(make_desk: Any) -> None:
    with archive(knows="SOMEBODY") as there:
        at = make_desk({"name": "a", "port": there.port})
        revision = at.result()
        assert at.deliver(f"{revision}-a") == "destination-refused"
    row = at.row(f"{revision}-a")
    assert row.state == "pending"
    assert "does it know the AE title AXRAD" in row.reason


def test_a_resend_by_the_operator_sends_the_same_bytes_again(make_desk: Any) -> None:
    from daemon.ledger import operator_requests, studies

    with archive() as there:
        at = make_desk({"name": "a", "port": there.port})
        revision = at.result()
        at.deliver(f"{revision}-a")
        with at.ledger.write() as connection:
            opened = operator_requests.deliver(connection, studies.find(connection, "s1"), at.now, None)
        assert opened == [f"{revision}-a"]
        assert at.state_of() == "reported"
        assert at.deliver(f"{revision}-a") == ""
        first, second = there.received[:2], there.received[2:]
    assert first == second
    assert at.state_of() == "delivered"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_destination_that_never_comes_to_an_end_is_given_up_by_our_own_clock(make_desk: Any) -> None:
    """It answers, so no timeout of a connection ends it; the process that sends ends itself and gives the row back."""
    never = threading.Event()

    def slowly(uid: str) -> int:
        never.wait()
        return 0

    with archive(answer=slowly) as there:
        at = make_desk({"name": "a", "port": there.port, "answer_timeout_s": 600}, work={"time_limit_s": 2})
        revision = at.result()
        pid = os.fork()
        if pid == 0:
            at.ledger.engine.dispose(close=False)
            deliver.run(replace(at.context, expendable=True), f"{revision}-a")
            os._exit(1)
        _, status = os.waitpid(pid, 0)
        never.set()
    assert os.waitstatus_to_exitcode(status) == EXIT_CODE
    row = at.row(f"{revision}-a")
    assert (row.state, row.owner) == ("pending", None)
    assert row.reason.startswith("it took longer than 2 s")
