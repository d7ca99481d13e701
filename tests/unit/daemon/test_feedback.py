"""A reader's verdict and pathology's outcome find the result they are about."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from rich.console import Console
from structlog.testing import capture_logs

from config.schema import Settings
from daemon.cli.feedback import print_feedback
from daemon.feedback import feedback_records
from daemon.feedback.assessment import assessment_of, read_assessment
from daemon.feedback.feedback_records import collect, store_outcomes
from daemon.feedback.pathology import Outcome, read_outcomes
from daemon.feedback.verdicts import listed, results_in
from daemon.ledger.deliveries import record_sent
from daemon.ledger.keyed_digests import bring_all
from daemon.ledger.site_key import key_for
from daemon.ledger.tables import instances, studies
from pipeline.catalog import patient_key
from pipeline.errors import InputRejected, NotDicom
from pipeline.result import Prediction, StudyResult
from tests.support.archives import COMPREHENSIVE_SR
from tests.support.delivering import Desk, desk

OURS = "1.2.1.1.1"
AGREE = ("122775", "DCM", "Agreement with prior findings")
DISAGREE = ("122776", "DCM", "Disagreement with prior findings")
FINDING = ("121071", "DCM", "Finding")
LEFT, RIGHT = ("7771000", "SCT", "Left"), ("24028007", "SCT", "Right")


def coded(value: tuple[str, str, str]) -> list[Dataset]:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value
    return [code]


def item(kind: str, name: tuple[str, str, str], value: Any = None, *children: Dataset) -> Dataset:
    made = Dataset()
    made.ValueType = kind
    made.ConceptNameCodeSequence = coded(name)
    if kind == "CODE":
        made.ConceptCodeSequence = coded(value)
    elif kind == "TEXT":
        made.TextValue = value
    elif kind == "COMPOSITE":
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = COMPREHENSIVE_SR, value
        made.ReferencedSOPSequence = [reference]
    if children:
        made.ContentSequence = list(children)
    return made


def side(value: tuple[str, str, str]) -> Dataset:
    return item("CODE", ("272741003", "SCT", "Laterality"), value)


def report(*content: Dataset, uid: str = "5.1", about: str | None = OURS) -> Dataset:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID, made.Modality = COMPREHENSIVE_SR, uid, "SR"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.1", "5.0"
    made.ValueType = "CONTAINER"
    made.ConceptNameCodeSequence = coded(("126000", "DCM", "Imaging Measurement Report"))
    about_it = [item("COMPOSITE", ("121112", "DCM", "Source of Measurement"), about)] if about else []
    made.ContentSequence = [*content, *about_it]
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = COMPREHENSIVE_SR, uid
    return made


def test_codes_of_agreement_and_disagreement_are_read_at_any_depth() -> None:
    group = item("CONTAINER", ("125007", "DCM", "Measurement Group"), None, item("CODE", FINDING, DISAGREE))
    assessment = assessment_of(report(item("CONTAINER", FINDING, None, group)))
    assert assessment is not None
    assert assessment.verdicts == {"": "disagree"}
    assert OURS in assessment.about


@pytest.mark.parametrize(
    ("question", "answer", "verdict"),
    [
        ("AI result assessment", "Accepted", "agree"),
        ("AI result assessment", "rejected.", "disagree"),
        ("Do you agree with the AI result", "Yes", "agree"),
        ("Do you agree with the AI result", "no", "disagree"),
        ("是否同意", "不同意", "disagree"),
        ("是否同意", "同意。", "agree"),
    ],
)
def test_a_plain_answer_to_a_question_about_agreement_counts(question: str, answer: str, verdict: str) -> None:
    assessment = assessment_of(report(item("TEXT", ("Q1", "99SITE", question), answer)))
    assert assessment is not None
    assert assessment.verdicts == {"": verdict}


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Impression", "I agree with the AI"),
        ("BI-RADS assessment", "4"),
        ("BI-RADS assessment", "No"),
        ("AI result assessment", "accepted, but the left side is wrong"),
        ("Do you disagree", "yes"),
    ],
)
def test_anything_less_plain_says_nothing(question: str, answer: str) -> None:
    assert assessment_of(report(item("TEXT", ("Q1", "99SITE", question), answer))) is None


def test_sides_are_told_apart_and_contradictions_are_unclear() -> None:
    assessment = assessment_of(
        report(
            item("CODE", FINDING, AGREE, side(LEFT)),
            item("CODE", FINDING, DISAGREE, side(RIGHT)),
            item("CODE", FINDING, AGREE, side(RIGHT)),
        )
    )
    assert assessment is not None
    assert assessment.verdicts == {"L": "agree", "R": "unclear"}


def test_a_report_that_only_lists_our_result_is_no_feedback() -> None:
    assert assessment_of(report(item("TEXT", FINDING, "No suspicious nodes"))) is None


@given(st.binary(max_size=400))
def test_no_bytes_break_the_reader(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.dcm"
    path.write_bytes(b"\0" * 128 + b"DICM" + raw)
    with contextlib.suppress(NotDicom):
        assert read_assessment(path) is None


# In the ledger


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Desk]:
    """One result, taken by an archive, that said 0.91, high."""
    made = desk(tmp_path, {"name": "a", "port": 104})
    revision = made.result()
    prediction = Prediction(
        signature="aln@1", positive_class="x", probability=0.91, cutoff=0.5, category="high", in_training_range=True
    )
    result = StudyResult(
        study_uid="1.2.1", status="evaluated", laterality="L", prediction=prediction, protocol={"manufacturer": "ACME"}
    )
    (made.context.result_folder(revision) / "result.json").write_text(result.to_json())
    with made.ledger.write() as connection:
        taken = {"kind": "sr", "sop_class_uid": COMPREHENSIVE_SR, "sop_instance_uid": OURS, "status": 0}
        record_sent(connection, f"{revision}-a", [taken | {"coerced_uid": None}], made.now)
    yield made
    made.ledger.close()


def arrive(at: Desk, made: Dataset, **columns: Any) -> None:
    """As the indexer leaves a report that somebody sent to us."""
    root = at.context.settings.spool.path
    made.save_as(root / f"{made.SOPInstanceUID}.dcm", enforce_file_format=True)
    with at.ledger.write() as connection:
        connection.execute(
            instances.insert().values(
                {
                    "sop_uid": made.SOPInstanceUID,
                    "digest": "d",
                    "study_uid": "1.2.1",
                    "series_uid": "5.0",
                    "sop_class": COMPREHENSIVE_SR,
                    "exam_uid": "1.2.1",
                    "patient_key": "k",
                    "path": f"{made.SOPInstanceUID}.dcm",
                    "size": 1,
                    "received_at": at.now,
                    "state": "ignored",
                    "note": "not used by axrad",
                    "counts_as": "others",
                    "facts": {},
                    **columns,
                }
            )
        )


def said(at: Desk) -> list[dict[str, Any]]:
    with at.ledger.read() as connection:
        return listed(connection)


def test_a_readers_verdict_is_kept_beside_the_prediction(at: Desk) -> None:
    arrive(at, report(item("CODE", FINDING, DISAGREE)))
    assert collect(at.ledger, at.context.settings.spool.path, at.now) == 1
    (one,) = said(at)
    assert (one["study"], one["source"], one["verdict"]) == ("s1", "reader", "disagree")
    assert (one["probability"], one["category"], one["signature"], one["scanner"]) == (0.91, "high", "aln@1", "ACME")
    assert "feedback" in at.notes()


def test_collecting_twice_keeps_it_once(at: Desk) -> None:
    arrive(at, report(item("CODE", FINDING, AGREE)))
    assert [collect(at.ledger, at.context.settings.spool.path, at.now) for _ in range(2)] == [1, 0]


def test_a_report_about_something_else_is_not_feedback_on_ours(at: Desk) -> None:
    arrive(at, report(item("CODE", FINDING, AGREE), about="9.9.9"))
    assert collect(at.ledger, at.context.settings.spool.path, at.now) == 0
    assert said(at) == []


def test_a_report_of_which_nobody_knows_what_to_make_is_read_once_and_keeps_no_other_from_being_read(
    at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrive(at, report(item("CODE", FINDING, AGREE), uid="5.1"))
    arrive(at, report(item("CODE", FINDING, DISAGREE), uid="5.2"))
    real = feedback_records.read_assessment

    def chokes(path: Path) -> Any:
        if path.stem == "5.1":
            raise ZeroDivisionError("Secret^Person")
        return real(path)

    monkeypatch.setattr(feedback_records, "read_assessment", chokes)
    with capture_logs() as logs:
        assert [collect(at.ledger, at.context.settings.spool.path, at.now) for _ in range(2)] == [1, 0]
    assert [one["verdict"] for one in said(at)] == ["disagree"]
    (line,) = logs
    assert (line["event"], line["error"]) == ("feedback-not-kept", "ZeroDivisionError")
    assert "Secret" not in str(line)


def test_a_corrected_report_replaces_what_the_reader_said_before(at: Desk) -> None:
    arrive(at, report(item("CODE", FINDING, AGREE)))
    corrected = report(item("CODE", FINDING, DISAGREE), uid="5.2")
    study, series, instance = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = COMPREHENSIVE_SR, "5.1"
    series.SeriesInstanceUID, series.ReferencedSOPSequence = "5.0", [instance]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = "1.2.1", [series]
    corrected.PredecessorDocumentsSequence = [study]
    arrive(at, corrected)
    collect(at.ledger, at.context.settings.spool.path, at.now)
    assert [one["verdict"] for one in said(at)] == ["disagree"]


def test_a_report_that_cannot_be_read_stops_nothing(at: Desk) -> None:
    arrive(at, report(item("CODE", FINDING, AGREE)))
    (at.context.settings.spool.path / "5.1.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x08\0\x05\0CS\xff\xff")
    assert collect(at.ledger, at.context.settings.spool.path, at.now) == 0


def test_outcomes_are_stored_once_and_replaced_by_later_ones(at: Desk) -> None:
    root = results_in(at.context.settings.spool.path)
    with at.ledger.write() as connection:
        first = store_outcomes(
            connection, root, [Outcome("1.2.1", "", "positive"), Outcome("8.8", "", "negative")], 1.0
        )
        second = store_outcomes(connection, root, [Outcome("s1", "", "negative")], 2.0)
    assert (first.stored, first.unknown, second.stored) == (1, ("8.8",), 1)
    (one,) = said(at)
    assert (one["source"], one["verdict"], one["probability"]) == ("pathology", "negative", 0.91)


def test_an_outcome_of_the_other_side_has_no_prediction_beside_it(at: Desk) -> None:
    with at.ledger.write() as connection:
        store_outcomes(connection, results_in(at.context.settings.spool.path), [Outcome("s1", "R", "positive")], 1.0)
    (one,) = said(at)
    assert (one["side"], one["probability"]) == ("R", None)


def table(folder: Path, text: str) -> Path:
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return folder / "t.csv"


def test_a_table_of_outcomes_may_have_blanks_sides_and_other_columns(tmp_path: Path) -> None:
    found = read_outcomes(table(tmp_path, "age,study_uid,outcome,side\n50,1.2,Positive,\n51,1.3,,\n52,1.4,N0,left\n"))
    assert found == (Outcome("1.2", "", "positive"), Outcome("1.4", "L", "negative"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("study_uid,result\n1.2,positive\n", "needs the columns"),
        ("study_uid,outcome\n1.2,maybe\n", "line 2"),
        ("study_uid,outcome,side\n1.2,positive,X\n", "side is L, R"),
        ("study_uid,outcome\n1.2,positive\n1.2,negative\n", "several outcomes"),
    ],
)
def test_what_is_not_understood_in_a_table_is_refused_whole(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputRejected, match=says):
        read_outcomes(table(tmp_path, text))


def by(author: str, made: Dataset) -> Dataset:
    person = Dataset()
    person.VerifyingObserverName = author
    made.VerifyingObserverSequence = [person]
    return made


def follows(earlier: str, made: Dataset) -> Dataset:
    study, series, instance = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = COMPREHENSIVE_SR, earlier
    series.SeriesInstanceUID, series.ReferencedSOPSequence = "5.0", [instance]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = "1.2.1", [series]
    made.PredecessorDocumentsSequence = [study]
    return made


PEERS = Settings.model_validate({"peer": [{"ae_title": "PACS"}, {"ae_title": "READER", "feedback": True}]})


@pytest.mark.parametrize(("sender", "kept"), [("READER", 1), ("INGEST", 1), ("PACS", 0), ("OTHER", 0)])
def test_only_a_peer_that_may_send_feedback_is_listened_to(at: Desk, sender: str, kept: int) -> None:
    arrive(at, report(item("CODE", FINDING, AGREE)), calling_ae=sender)
    assert collect(at.ledger, at.context.settings.spool.path, at.now, PEERS) == kept
    assert ("feedback-not-taken" in at.notes()) == (not kept)


@pytest.mark.parametrize("wrong", [{"patient_key": "other"}, {"study_uid": "1.2.9"}])
def test_a_report_about_another_patient_or_in_another_study_does_not_count(at: Desk, wrong: dict[str, str]) -> None:
    arrive(at, report(item("CODE", FINDING, DISAGREE)), **wrong)
    assert collect(at.ledger, at.context.settings.spool.path, at.now) == 0
    assert said(at) == []
    assert "feedback-not-taken" in at.notes()


@pytest.mark.parametrize(("patient", "kept"), [("P1", 1), ("P2", 0)])
@pytest.mark.parametrize("came", ["before", "after"])
def test_a_report_meets_its_patient_in_a_ledger_that_came_under_the_sites_key(
    at: Desk, came: str, patient: str, kept: int
) -> None:
    """The exam and its patient are of before; the report came before or after, and is read after."""
    with at.ledger.write() as connection:
        connection.execute(studies.update().values(patient_key=patient_key("P1", "")))
    made = report(item("CODE", FINDING, AGREE))
    made.PatientID = patient
    key = key_for(at.context.settings, at.ledger, at.now)
    plain = patient_key(patient, "an issuer that the images do not tell")
    if came == "before":
        arrive(at, made, patient_key=plain)
    bring_all(at.ledger, key)
    if came == "after":
        arrive(at, made, patient_key=key.keyed(plain), key_id=key.id)
    assert collect(at.ledger, at.context.settings.spool.path, at.now, key=key) == kept


@pytest.mark.parametrize(
    ("author", "sender", "left"),
    [("Reader^One", "READER", ["agree"]), ("Reader^Two", "READER", ["agree", "disagree"]),
     ("Reader^One", "OTHER", ["agree", "disagree"])],
)  # fmt: skip
def test_a_report_replaces_what_the_same_author_said_the_same_way(
    at: Desk, author: str, sender: str, left: list[str]
) -> None:
    first = by("Reader^One", report(item("CODE", FINDING, DISAGREE), uid="5.1"))
    arrive(at, first, calling_ae="READER")
    collect(at.ledger, at.context.settings.spool.path, at.now)
    arrive(at, follows("5.1", by(author, report(item("CODE", FINDING, AGREE), uid="5.2"))), calling_ae=sender)
    collect(at.ledger, at.context.settings.spool.path, at.now)
    assert sorted(one["verdict"] for one in said(at)) == left


def test_another_authors_report_under_the_same_uid_changes_nothing(at: Desk) -> None:
    arrive(at, by("Reader^One", report(item("CODE", FINDING, AGREE))), calling_ae="READER")
    collect(at.ledger, at.context.settings.spool.path, at.now)
    forged = by("Reader^One", report(item("CODE", FINDING, DISAGREE)))
    arrive(at, forged, calling_ae="OTHER", digest="e")
    assert collect(at.ledger, at.context.settings.spool.path, at.now) == 0
    (one,) = said(at)
    assert (one["verdict"], one["author_claimed"], one["from"]) == ("agree", "Reader^One", "READER")


def test_the_author_is_shown_as_claimed(at: Desk) -> None:
    arrive(at, by("Reader^One", report(item("CODE", FINDING, AGREE))), calling_ae="READER")
    collect(at.ledger, at.context.settings.spool.path, at.now)
    out = Console(width=200, file=io.StringIO())
    print_feedback(out, said(at))
    shown = out.file.getvalue()  # type: ignore[attr-defined]
    assert "author as claimed" in shown
    assert "Reader^One from READER" in shown
