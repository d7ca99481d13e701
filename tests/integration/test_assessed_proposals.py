"""A reader's word in a report of another system counts like `axrad accept` and `axrad reject`, and is never guessed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import highdicom as hd
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from daemon.cli.accept import accept
from tests.support.assessing_reader import AGREE, DISAGREE, FINDING, Reader, group, item, refers_to, says
from tests.support.measured_house import SENT, House, a_house, order, proposed


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with a_house(tmp_path) as one:
        proposed(one)
        yield one


def test_an_agreement_with_the_proposal_accepts_it_once(house: House) -> None:
    reader = Reader(house)
    uid = reader.sends(group(refers_to(reader.uid), says(AGREE)))
    assert reader.state() == "accepted"
    assert f"assessment {uid} from VIEWER" in house.context.settings.audit.path.read_text()
    house.pass_time(1000)
    assert house.judge().state == "ready"
    result = house.report()
    assert {r.confirmed_by for r in result.rois.values()} == {f"assessment {uid}"}
    reader.sends(group(refers_to(reader.uid), says(AGREE)))
    assert (reader.state(), reader.listed()) == ("accepted", [])
    reader.sends(group(refers_to(reader.uid), says(DISAGREE)))
    assert reader.state() == "accepted"
    (words,) = reader.listed()
    assert "no proposal waits for a reader's word: the proposal was accepted" in words


def test_a_disagreement_rejects_it_and_says_so(house: House) -> None:
    reader = Reader(house)
    reader.sends(group(refers_to(reader.uid), says(DISAGREE)))
    assert reader.state() == "rejected"
    row = house.judge()
    assert (row.state, row.reason_code) == ("waiting", "rejected")
    reader.sends(group(refers_to(reader.uid), says(AGREE)))
    assert reader.state() == "rejected"
    assert "rejected by the reader" in reader.listed()[0]


def test_segment_by_segment_what_is_right_is_accepted_alone(house: House) -> None:
    reader = Reader(house)
    tumour, *nodes = (int(s.SegmentNumber) for s in reader.proposal.SegmentSequence)
    right = [group(refers_to(reader.uid, n), says(AGREE)) for n in (tumour, *nodes[1:])]
    reader.sends(*right, group(refers_to(reader.uid, nodes[0]), says(DISAGREE)))
    assert (reader.state(), reader.listed()) == ("accepted", [])
    house.pass_time(1000)
    assert house.judge().state == "ready"
    rois = house.report().rois
    assert rois["tumor"].segments == (tumour,)
    assert rois["lymph_nodes"].segments == tuple(nodes[1:])


def test_a_kind_that_is_not_told_whole_stays_open_and_is_listed(house: House) -> None:
    reader = Reader(house)
    tumour, first, *_ = reader.proposal.SegmentSequence
    tracked = item("UIDREF", ("112040", "DCM", "Tracking Unique Identifier"))
    tracked.UID = tumour.TrackingUID
    reader.sends(group(tracked, says(AGREE)), group(refers_to(reader.uid, int(first.SegmentNumber)), says(AGREE)))
    assert reader.state() == "accepted"
    (words,) = reader.listed()
    assert "it does not say clearly whether these are right: Lymph node 2, left" in words
    house.pass_time(1000)
    assert "the axillary lymph node ROI" in house.judge().reason


@pytest.mark.parametrize("order_of", [((1,), (2, 3, 4)), ((2, 3, 4), (1,))], ids=["tumour first", "nodes first"])
def test_each_kind_is_agreed_with_in_a_report_of_its_own_at_any_time(
    house: House, order_of: tuple[tuple[int, ...], ...]
) -> None:
    reader = Reader(house)
    first = reader.sends(*(group(refers_to(reader.uid, n), says(AGREE)) for n in order_of[0]))
    house.pass_time(100000)
    assert "wait for confirmation" in house.judge().reason.replace("waits", "wait")
    second = reader.sends(*(group(refers_to(reader.uid, n), says(AGREE)) for n in order_of[1]))
    house.pass_time(1000)
    assert house.judge().state == "ready"
    rois = house.report().rois
    by = {1: rois["tumor"].confirmed_by, 2: rois["lymph_nodes"].confirmed_by}
    assert by == {order_of[0][0]: f"assessment {first}", order_of[1][0]: f"assessment {second}"}
    assert rois["lymph_nodes"].segments == (2, 3, 4)
    reader.sends(*(group(refers_to(reader.uid, n), says(AGREE)) for n in order_of[0]))
    assert (reader.state(), reader.listed()) == ("accepted", [])


def test_a_kind_is_disagreed_with_after_the_other_was_accepted_by_command(house: House) -> None:
    reader = Reader(house)
    order(house, accept, "--roi", "tumor")
    reader.sends(*(group(refers_to(reader.uid, n), says(DISAGREE)) for n in (2, 3, 4)))
    assert (reader.state(), reader.listed()) == ("accepted", [])
    house.pass_time(1000)
    assert house.judge().reason.startswith("not evaluated: rejected by the reader; still missing: the axillary lymph")
    reader.sends(*(group(refers_to(reader.uid, n), says(AGREE)) for n in (2, 3, 4)))
    (words,) = reader.listed()
    assert "the tumour was accepted, the lymph nodes were rejected by the reader" in words


def test_an_answer_that_is_not_understood_is_listed(house: House) -> None:
    reader = Reader(house)
    asked = ("Q1", "99SITE", "Do you agree with the AI result?")
    reader.sends(group(refers_to(reader.uid), says(("A7", "99SITE", "Cannot tell"), asked)))
    assert reader.state() == "sent"
    (words,) = reader.listed()
    assert "it does not say clearly whether these are right: Tumor, left" in words
    category = says(("B4", "99SITE", "Category 4"), ("Q2", "99SITE", "Assessment Category"))
    reader.sends(group(refers_to(reader.uid), category, says(AGREE)))
    assert (reader.state(), len(reader.listed())) == ("accepted", 1)


# A port that nobody listens on.
ONE_IS_DOWN = """[[destination]]
name = "down"
ae_title = "DOWN"
host = "127.0.0.1"
port = 9
what = ["proposal"]
"""


@pytest.mark.parametrize(("verdict", "state"), [(AGREE, "accepted"), (DISAGREE, "rejected")])
def test_a_word_counts_while_another_destination_does_not_take_the_proposal(
    tmp_path: Path, verdict: tuple[str, str, str], state: str
) -> None:
    with a_house(tmp_path, goes=ONE_IS_DOWN) as house:
        assert "regions are being proposed" in proposed(house).reason
        reader = Reader(house)
        assert reader.state() == "pending"
        reader.sends(group(refers_to(reader.uid), says(verdict)))
        assert (reader.state(), reader.listed()) == (state, [])
        house.pass_time(5000)
        house.judge()
        assert (reader.state(), len(house.proposals())) == (state, 1)


@pytest.mark.parametrize(
    "why", ["study", "patient", "partial", "modified", "two results", "contradiction", "one region"]
)
def test_what_is_unclear_or_of_others_changes_nothing_and_is_listed(house: House, why: str) -> None:
    reader = Reader(house)
    agrees = group(refers_to(reader.uid), says(AGREE))
    modified = says(("M", "99SITE", "AI Result Modified"), ("D", "99SITE", "Assessment Decision"))
    content, changed = {
        "study": ((agrees,), {"StudyInstanceUID": "2.25.1"}),
        "patient": ((agrees,), {"PatientID": "somebody else"}),
        "partial": ((agrees,), {"CompletionFlag": "PARTIAL"}),
        "modified": ((group(refers_to(reader.uid), modified),), {}),
        "two results": ((group(refers_to(reader.uid), refers_to("2.25.9"), says(AGREE)),), {}),
        "contradiction": ((agrees, group(refers_to(reader.uid, 1, 2, 3), says(DISAGREE))), {}),
        "one region": ((group(refers_to(reader.uid, 2), says(DISAGREE)),), {}),
    }[why]
    reader.sends(*content, **changed)
    assert reader.state() == "sent"
    assert len(reader.listed()) == 1
    assert house.judge().reason.startswith(SENT)


def test_a_report_about_something_else_says_nothing_of_the_proposal(house: House) -> None:
    reader = Reader(house)
    evidence = Dataset()
    evidence.StudyInstanceUID, series = house.exam.study_uid, Dataset()
    series.SeriesInstanceUID = "2.25.7"
    series.ReferencedSOPSequence = [refers_to(reader.uid).ReferencedSOPSequence[0]]
    evidence.ReferencedSeriesSequence = [series]
    other = group(refers_to("2.25.9"), says(AGREE))
    reader.sends(other, CurrentRequestedProcedureEvidenceSequence=[evidence])
    reader.sends(group(refers_to(reader.uid)))
    assert (reader.state(), reader.listed()) == ("sent", [])
    reader.sends(says(AGREE), CurrentRequestedProcedureEvidenceSequence=[evidence])
    assert reader.state() == "accepted", "the only result that the report lists"


def test_a_decision_in_codes_of_the_writers_own_is_read_by_its_meaning(house: House) -> None:
    """As an assessment creator writes it whose reference stands beside the content."""
    reader = Reader(house)
    decision = says(("AIRA-REJECT", "99PACS", "AI Result Rejected"), ("AIRA-010", "99PACS", "Assessment Decision"))
    reader.sends(decision, ReferencedSOPSequence=[refers_to(reader.uid).ReferencedSOPSequence[0]])
    assert reader.state() == "rejected"


def test_an_assessment_that_highdicom_wrote_is_read(house: House) -> None:
    reader = Reader(house)
    observer = hd.sr.ObserverContext(
        observer_type=codes.DCM.Person, observer_identifying_attributes=hd.sr.PersonObserverIdentifyingAttributes("R^A")
    )
    agrees = hd.sr.QualitativeEvaluation(name=hd.sr.CodedConcept(*FINDING), value=hd.sr.CodedConcept(*AGREE))
    groups = [
        hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=hd.sr.TrackingIdentifier(str(segment.TrackingUID), str(segment.SegmentLabel)),
            referenced_segment=hd.sr.ReferencedSegment.from_segmentation(reader.proposal, int(segment.SegmentNumber)),
            qualitative_evaluations=[agrees],
        )
        for segment in reader.proposal.SegmentSequence
    ]
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_person_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=groups,
    )
    images = [pydicom.dcmread(path, stop_before_pixels=True) for path in house.exam.paths]
    reader.proposal.PatientID = pydicom.dcmread(house.exam.paths[0], stop_before_pixels=True).PatientID
    document = hd.sr.ComprehensiveSR(
        evidence=[reader.proposal, *images],
        content=content[0],
        series_instance_uid="2.25.66601",
        series_number=1,
        sop_instance_uid="2.25.66602",
        instance_number=1,
        is_complete=True,
        manufacturer="Viewer",
    )
    reader.sent(document)
    assert (reader.state(), reader.listed()) == ("accepted", [])


def test_an_operator_who_accepted_before_is_not_overruled(house: House) -> None:
    reader = Reader(house)
    order(house, accept)
    reader.sends(group(refers_to(reader.uid), says(DISAGREE)))
    assert reader.state() == "accepted"
    assert len(reader.listed()) == 1
