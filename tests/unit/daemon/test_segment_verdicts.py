"""Which regions a reader's report speaks of, whatever else stands in it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from daemon.feedback.assessment import Verdict
from daemon.feedback.segment_verdicts import OurSegment, verdicts_on
from daemon.work.assessed_proposals import Decision, _Segment, decide
from tests.unit.daemon.test_feedback import AGREE, DISAGREE, FINDING, item, report, side
from tests.unit.daemon.test_feedback import LEFT as LEFT_CODE

OURS = "1.2.1.1.1"
SEGMENTS = {1: OurSegment("1.9.1", "L"), 2: OurSegment("1.9.2", "L"), 3: OurSegment("1.9.3", "R")}
GROUP = ("125007", "DCM", "Measurement Group")
ROLES = {1: "tumor", 2: "lymph_nodes", 3: "lymph_nodes"}
DECIDED = {n: _Segment(f"segment {n}", ROLES[n], ours) for n, ours in SEGMENTS.items()}  # type: ignore[arg-type]
BOTH: dict[bool, Verdict] = {True: "agree", False: "disagree"}


def refers(*numbers: int, uid: str = OURS) -> Dataset:
    made = item("COMPOSITE", FINDING, uid)
    if numbers:
        made.ReferencedSOPSequence[0].ReferencedSegmentNumber = list(numbers)
    return made


def group(*children: Dataset) -> Dataset:
    return item("CONTAINER", GROUP, None, *children)


def said(*content: Dataset, about: str | None = None) -> dict[int, Verdict]:
    return verdicts_on(report(*content, about=about), OURS, SEGMENTS)


def agrees(name: tuple[str, str, str] = AGREE) -> Dataset:
    return item("CODE", FINDING, name)


def test_a_verdict_beside_a_reference_is_about_every_segment_of_it() -> None:
    assert said(agrees(), about=OURS) == {1: "agree", 2: "agree", 3: "agree"}


def test_a_group_is_about_what_it_refers_to_and_not_about_what_the_report_does() -> None:
    assert said(group(refers(2), agrees(DISAGREE)), about=OURS) == {2: "disagree"}
    assert said(group(refers(uid="1.2.8"), agrees()), about=OURS) == {}


def test_what_a_verdict_itself_refers_to_counts_first() -> None:
    own = item("CODE", FINDING, AGREE, refers(3))
    assert said(group(refers(1), own)) == {3: "agree"}


def test_a_laterality_restricts_it_to_a_side() -> None:
    assert said(group(refers(), side(LEFT_CODE), agrees())) == {1: "agree", 2: "agree"}


def test_a_segment_that_we_do_not_have_is_nothing_of_ours() -> None:
    assert said(group(refers(7), agrees())) == {}


def test_a_verdict_about_several_results_is_unclear() -> None:
    assert said(group(refers(1), refers(uid="1.2.8"), agrees())) == {1: "unclear"}


@given(st.dictionaries(st.sampled_from(sorted(SEGMENTS)), st.booleans()))
def test_whatever_is_said_segment_by_segment_is_read_and_only_what_is_told_whole_is_accepted(
    told: dict[int, bool],
) -> None:
    groups = [group(refers(n), agrees(AGREE if right else DISAGREE)) for n, right in told.items()]
    verdicts = said(*groups)
    assert verdicts == {n: BOTH[right] for n, right in sorted(told.items())}
    decision = decide(verdicts, DECIDED)
    whole = {role for role in ROLES.values() if all(n in told for n, of in ROLES.items() if of == role)}
    against = {role for role in whole if not any(told[n] for n, of in ROLES.items() if of == role)}
    assert set(decision.rejected) == {n for n, role in ROLES.items() if role in against}
    assert set(decision.accepted) == {n for n, right in told.items() if right and ROLES[n] in whole}
    half = {ROLES[n] for n in told} - whole
    assert set(decision.unclear) == {n for n, role in ROLES.items() if role in half and n not in told}


@given(st.lists(st.tuples(st.sampled_from(sorted(SEGMENTS)), st.booleans()), max_size=6))
def test_two_verdicts_that_differ_are_unclear_and_decide_nothing(told: list[tuple[int, bool]]) -> None:
    verdicts = said(*(group(refers(n), agrees(AGREE if right else DISAGREE)) for n, right in told))
    for number in SEGMENTS:
        both = {right for n, right in told if n == number}
        assert verdicts.get(number) == (None if not both else "unclear" if len(both) == 2 else BOTH[both.pop()])
    if "unclear" in verdicts.values():
        decision = decide(verdicts, DECIDED)
        unclear = {ROLES[n] for n, verdict in verdicts.items() if verdict == "unclear"}
        assert not unclear & {ROLES[n] for n in (*decision.accepted, *decision.rejected)}


def test_nothing_said_decides_nothing() -> None:
    assert decide({}, DECIDED) == Decision()
