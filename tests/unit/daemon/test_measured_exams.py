"""A reader's measurement counts like a region for waiting, asking and fetching; what waits for a reader makes a
preliminary result where that is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from config.schema import Pacs, Settings
from daemon.assembly import Answer, Verdict, Wanted
from daemon.assembly.records import Proposed
from daemon.assembly.revision_rule import is_preliminary
from pipeline.catalog import ACCEPTED, MEASURES, REJECTED_PROPOSAL, UNCONFIRMED, InstanceFacts, patient_key
from pipeline.records import InstanceRef
from tests.support.facts import NODES, SR, TUMOR, of_patient
from tests.support.stories import DAY, HOUR, NOON, STUDY, Story, breast_exam

ARCHIVE = Pacs(name="archive", ae_title="PACS", host="127.0.0.1", port=104, can=("find", "get"))
ON = {"proposal": {"enabled": True}}
WITH_ARCHIVE = Settings.model_validate({**ON, "pacs": [ARCHIVE]})
PRELIMINARY = Settings.model_validate({"proposal": {"enabled": True, "evaluate": "preliminary"}})
SENT = "proposal sent, waits for confirmation"
exam = breast_exam()


def measured(on: Sequence[InstanceFacts], uid: str = "980.1", study: str = STUDY) -> InstanceFacts:
    """A report of others in which something is measured on these images."""
    ref = InstanceRef(study, f"{study}.980", SR, f"{study}.{uid}")
    tags = {MEASURES: len(on)}
    references = tuple(i.ref for i in on)
    return InstanceFacts(ref, "SR", "1.2.840.10008.1.2.1", patient_key("P1", ""), tags=tags, references=references)


def a_story(*facts: InstanceFacts | Sequence[InstanceFacts], settings: Settings | None = None) -> Story:
    story = Story(settings or Settings.model_validate(ON))
    story.arrive(NOON, *facts)
    return story


def proposal(**tags: object) -> InstanceFacts:
    return exam.seg("990.1", (TUMOR, NODES), **{ACCEPTED: "measured", **tags})


def proposed(story: Story, *, rejected: bool = False, evaluated: bool = False, waits: bool = True) -> Verdict:
    """Judged when a proposal of these measurements has been sent."""
    digest = story.judged(NOON + HOUR).propose
    assert digest
    words = "the proposal was rejected by the reader" if rejected else SENT
    waits_as = proposal().ref.sop_instance_uid if waits and not rejected else ""
    return story.judged(NOON + HOUR, proposed=Proposed(digest, words, rejected, waits_as, evaluated))


def test_a_measurement_that_comes_before_its_images_waits_and_wants_their_study() -> None:
    verdict = a_story(measured(exam.t1c[:1])).judged(NOON + HOUR)
    assert verdict.state == "waiting"
    assert Wanted(STUDY) in verdict.wanted


def test_images_that_were_measured_on_and_never_came_are_fetched_and_proposed_anew_when_they_come() -> None:
    subtraction = breast_exam(STUDY).t1c
    never = replace(
        subtraction[0], ref=replace(subtraction[0].ref, series_uid=f"{STUDY}.77", sop_instance_uid="1.2.77")
    )
    story = a_story(exam.images, measured([exam.t1c[0], never]))
    verdict = story.judged(NOON + HOUR)
    assert Wanted(STUDY, f"{STUDY}.77", "1.2.77") in verdict.wanted
    assert verdict.propose, "others were measured as well"
    story.arrive(NOON, never)
    assert story.judged(NOON + HOUR).propose not in ("", verdict.propose)


def test_images_of_an_earlier_exam_that_a_measurement_names_are_not_fetched() -> None:
    prior = breast_exam("1.2.5").t1c
    verdict = a_story(exam.images, measured([exam.t1c[0], prior[0]])).judged(NOON + HOUR)
    assert all(wanted.study_uid == STUDY for wanted in verdict.wanted)


def test_the_archive_is_asked_about_an_exam_with_a_measurement() -> None:
    assert a_story(exam.images, measured(exam.t1c[:1]), settings=WITH_ARCHIVE).judged(NOON + 121).ask
    assert not a_story(exam.images, settings=WITH_ARCHIVE).judged(NOON + 121).ask


def test_series_that_lack_are_fetched_for_a_measurement() -> None:
    story = a_story(exam.pre, exam.t1c, exam.adc, measured(exam.t1c[:1]), settings=WITH_ARCHIVE)
    t2 = exam.t2[0].ref.series_uid
    answer = Answer("archive", NOON + 10, series=((t2, "MR", 6),))
    verdict = story.judged(NOON + HOUR, answers=[answer])
    assert (verdict.state, verdict.propose) == ("waiting", "")
    assert Wanted(STUDY, t2) in verdict.wanted


def test_it_is_given_up_like_any_exam_that_waits_for_a_region() -> None:
    assert a_story(exam.images, measured(exam.t1c[:1])).judged(NOON + 15 * DAY).state == "expired"


def test_a_measurement_of_another_patient_holds_the_exam() -> None:
    verdict = a_story(exam.images, of_patient(measured(exam.t1c[:1]), "P2")).judged(NOON + HOUR)
    assert verdict.state == "held"


# A reader's word on each kind


@pytest.mark.parametrize("both_first", [False, True])
def test_of_copies_of_a_proposal_the_one_that_accepts_most_counts_and_they_are_no_conflict(both_first: bool) -> None:
    story = a_story(exam.images, measured(exam.t1c[:1]))
    copies = [("tumour", exam.seg("990.1", (TUMOR,), **{ACCEPTED: "measured"})), ("both", proposal())]
    for hour, (digest, copy) in enumerate(copies[::-1] if both_first else copies):
        story.arrive(NOON + hour * HOUR, copy, digest=digest)
    verdict = story.judged(NOON + 5 * HOUR)
    assert (verdict.state, verdict.flagged) == ("ready", "")
    assert (proposal().ref.sop_instance_uid, "both") in verdict.inputs


@pytest.mark.parametrize(("evaluated", "state"), [(False, "waiting"), (True, "ready")])
def test_a_kind_that_was_rejected_while_the_other_waits_takes_a_preliminary_report_back(
    evaluated: bool, state: str
) -> None:
    story = a_story(exam.images, measured(exam.t1c[:1]))
    digest = story.judged(NOON + HOUR).propose
    words = "the tumour waits for confirmation, the lymph nodes were rejected by the reader"
    verdict = story.judged(NOON + HOUR, proposed=Proposed(digest, words, evaluated=evaluated, in_part=True))
    assert (verdict.state, verdict.code) == (state, "measured")
    assert verdict.reason.startswith(f"measurements are here, {words}; still missing: ")


# Before a reader's word


def test_a_proposal_is_evaluated_before_a_readers_word_only_where_that_is_asked_for() -> None:
    report = measured(exam.t1c[:1])
    waits = a_story(exam.images, report, proposal(**{UNCONFIRMED: True}))
    assert proposed(waits).state == "waiting"
    verdict = proposed(a_story(exam.images, report, proposal(**{UNCONFIRMED: True}), settings=PRELIMINARY))
    assert verdict.state == "ready"
    assert verdict.flagged == f"the result is preliminary: measurements are here, {SENT}"
    assert verdict.basis is not None
    assert all(is_preliminary(region) for region in verdict.basis.regions.values())


def test_it_is_not_once_it_waits_no_more_or_other_measurements_have_come() -> None:
    story = a_story(exam.images, measured(exam.t1c[:1]), proposal(**{UNCONFIRMED: True}), settings=PRELIMINARY)
    assert proposed(story, waits=False).state == "waiting"
    digest = story.judged(NOON + HOUR).propose
    story.arrive(NOON + HOUR, measured(exam.t1c[1:2], "980.2"))
    of_before = Proposed(digest, SENT, waits_as=proposal().ref.sop_instance_uid)
    assert story.judged(NOON + 2 * HOUR, proposed=of_before).state == "waiting"


@pytest.mark.parametrize("evaluated", [True, False])
def test_a_rejection_is_reported_where_a_preliminary_report_is_out(evaluated: bool) -> None:
    story = a_story(exam.images, measured(exam.t1c[:1]), proposal(**{UNCONFIRMED: True}), settings=PRELIMINARY)
    verdict = proposed(story, rejected=True, evaluated=evaluated)
    assert (verdict.state, verdict.code) == ("ready" if evaluated else "waiting", "rejected")
    assert not verdict.basis or not verdict.basis.regions


def test_what_a_reader_drew_is_read_and_not_what_waits() -> None:
    report, waiting = measured(exam.t1c[:1]), proposal(**{UNCONFIRMED: True})
    story = a_story(exam.images, report, waiting, exam.seg("900.1", (TUMOR,)), settings=PRELIMINARY)
    verdict = proposed(story)
    assert verdict.state == "ready"
    assert verdict.basis is not None
    assert [is_preliminary(verdict.basis.regions[role]) for role in ("tumor", "lymph_nodes")] == [False, True]


def test_a_word_against_a_proposal_is_no_region() -> None:
    word = replace(exam.seg("990.1", **{REJECTED_PROPOSAL: "measured"}), ours=True)
    assert a_story(exam.images, word).judged(NOON + HOUR).state == "waiting"
