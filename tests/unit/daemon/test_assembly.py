"""When an exam is complete: a specification by examples, with a clock that stands where the test puts it.

The quiet period is 120 s, the wait 14 days, as by default.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from config.schema import Assembly, Intake, Pacs, Settings
from daemon.assembly import Answer, InUse, Verdict, Wanted
from pipeline.catalog import InstanceFacts, SegmentFacts, patient_key
from pipeline.needs import SignatureNeeds
from pipeline.records import ROLES, Code
from tests.support.exams import EPI, T1, T2, series
from tests.support.facts import NODES, TUMOR, of_patient, ours
from tests.support.stories import DAY, HOUR, MINUTE, NOON, STUDY, Story, breast_exam, knee_exam

ARCHIVE = Pacs(name="archive", ae_title="PACS", host="127.0.0.1", port=104, can=("find", "get"))
WITH_ARCHIVE = Settings(pacs=(ARCHIVE,))
exam = breast_exam()
WHOLE = [*exam.images, exam.seg()]


def uids(verdict: Verdict) -> set[str]:
    return {uid for uid, _ in verdict.inputs}


# Complete


def test_an_exam_with_everything_is_ready_after_the_quiet_period() -> None:
    story = Story()
    story.arrive(NOON, WHOLE)
    assert story.judged(NOON + 119).state == "assembling"
    assert story.judged(NOON + 119).due_at == NOON + 120
    assert story.judged(NOON + 120).state == "ready"


def test_the_inputs_are_the_chosen_volumes_and_the_rois_and_nothing_else() -> None:
    story = Story()
    story.arrive(NOON, WHOLE)
    chosen = [*exam.t1c, *exam.t2, *exam.adc, exam.seg()]
    assert uids(story.judged(NOON + HOUR)) == {i.ref.sop_instance_uid for i in chosen}


def test_each_instance_starts_the_quiet_period_anew() -> None:
    story = Story()
    for n, item in enumerate(WHOLE):
        story.arrive(NOON + 100 * n, item)
        assert story.judged(NOON + 100 * n + 99).state == "assembling"
    assert story.judged(NOON + 100 * len(WHOLE) + 20).state == "ready"


def test_one_exam_over_three_associations_and_two_senders_is_one_exam() -> None:
    story = Story()
    story.arrive(NOON, exam.pre, exam.t1c)
    story.arrive(NOON + 30, exam.t2, digest="from another sender")
    story.arrive(NOON + 80, exam.adc, exam.seg())
    assert story.judged(NOON + 80 + 120).state == "ready"


def test_the_order_of_arrival_changes_nothing() -> None:
    forwards, backwards = Story(), Story()
    forwards.arrive(NOON, WHOLE)
    backwards.arrive(NOON, WHOLE[::-1])
    assert forwards.judged(NOON + HOUR).inputs == backwards.judged(NOON + HOUR).inputs


# First one thing, then the other


def test_images_first_and_the_seg_hours_later() -> None:
    story = Story()
    story.arrive(NOON, exam.images)
    waiting = story.judged(NOON + HOUR)
    assert waiting.state == "waiting"
    assert waiting.reason == "the tumour ROI and the axillary lymph node ROI (DICOM SEG or RTSTRUCT)"
    story.arrive(NOON + 5 * HOUR, exam.seg())
    assert story.judged(NOON + 5 * HOUR + 60).state == "assembling"
    assert story.judged(NOON + 5 * HOUR + 120).state == "ready"


def test_the_seg_first_and_the_images_later() -> None:
    story = Story()
    story.arrive(NOON, exam.seg())
    assert story.judged(NOON + HOUR).state == "waiting"
    story.arrive(NOON + 2 * HOUR, exam.images)
    assert story.judged(NOON + 2 * HOUR + 120).state == "ready"


def test_a_seg_that_refers_to_images_that_never_came_says_how_many() -> None:
    story = Story()
    story.arrive(NOON, exam.pre, exam.t1c[:4], exam.t2, exam.adc, exam.seg())
    verdict = story.judged(NOON + HOUR)
    assert verdict.state == "waiting"
    assert "2 of the 6 images that the ROIs refer to" in verdict.reason
    missing = {Wanted(i.ref.study_uid, i.ref.series_uid, i.ref.sop_instance_uid) for i in exam.t1c[4:]}
    assert set(verdict.wanted) == missing


def test_a_seg_alone_wants_its_study_whole() -> None:
    story = Story()
    story.arrive(NOON, exam.seg())
    assert story.judged(NOON + HOUR).wanted == (Wanted(STUDY),)


def test_a_structure_set_that_names_only_a_series_waits_for_the_series() -> None:
    story = Story()
    drawn = exam.seg()
    by_series = replace(drawn, references=(replace(drawn.references[0], sop_instance_uid="", sop_class_uid=""),))
    story.arrive(NOON, exam.pre, exam.t2, exam.adc, by_series)
    assert "1 image series that the ROIs refer to" in story.judged(NOON + HOUR).reason
    story.arrive(NOON + HOUR, exam.t1c)
    assert story.judged(NOON + 2 * HOUR).state == "ready"


def test_a_missing_sequence_is_named() -> None:
    story = Story()
    story.arrive(NOON, exam.pre, exam.t1c, exam.adc, exam.seg())
    verdict = story.judged(NOON + HOUR)
    assert (verdict.state, verdict.code) == ("waiting", "incomplete")
    assert verdict.reason == "a T2 series"


def test_nothing_is_fetched_for_an_exam_that_nobody_has_drawn_on() -> None:
    story = Story()
    story.arrive(NOON, exam.pre, exam.t1c)
    assert story.judged(NOON + HOUR).wanted == ()


def test_what_must_be_here_follows_from_the_signatures_and_more_of_it_from_settings() -> None:
    t1_tumour = InUse((SignatureNeeds("t1@1", frozenset({("t1c", "tumor")})),))
    for required, state in (((), "ready"), (("t2",), "waiting")):
        settings = Settings(assembly=Assembly(require_sequences=required, require_rois=("tumor",)))
        story = Story(settings, in_use=t1_tumour)
        story.arrive(NOON, exam.t1c, exam.pre, exam.seg(segments=(TUMOR,)))
        assert story.judged(NOON + HOUR).state == state


def test_what_a_signature_reads_is_waited_for_whatever_the_settings_require() -> None:
    story = Story(Settings(assembly=Assembly(require_sequences=("t1c",), require_rois=("tumor",))))
    story.arrive(NOON, exam.t1c, exam.pre, exam.seg(segments=(TUMOR,)))
    assert story.judged(NOON + HOUR).state == "waiting"


def test_a_roi_that_is_not_required_is_not_waited_for_but_a_required_one_is_named() -> None:
    story = Story()
    story.arrive(NOON, exam.images, exam.seg(segments=(TUMOR,)))
    assert 'the axillary lymph node ROI (the ROIs here are "Tumor")' in story.judged(NOON + HOUR).reason


def test_an_ambiguous_sequence_is_no_reason_to_wait_the_report_says_it() -> None:
    other = series(5, "T2 axial", StudyDate="20260115", **T2)
    rival = [replace(i, patient_key=exam.t2[0].patient_key, frame_of_reference_uid=f"{STUDY}.9") for i in other]
    story = Story()
    story.arrive(NOON, WHOLE, rival)
    verdict = story.judged(NOON + HOUR)
    assert verdict.state == "ready"
    assert not uids(verdict) & {i.ref.sop_instance_uid for i in (*rival, *exam.t2)}


# Which ROI counts


def test_of_two_segs_by_one_author_for_the_same_rois_the_newer_counts() -> None:
    story = Story()
    old, new = exam.seg("900.1", ContentTime="1000"), exam.seg("900.2", ContentTime="1100")
    story.arrive(NOON, exam.images, new)
    story.arrive(NOON + 5, old)
    assert {new.ref.sop_instance_uid} == uids(story.judged(NOON + HOUR)) & {s.ref.sop_instance_uid for s in (old, new)}


def test_segs_of_two_authors_both_count_and_the_report_says_that_they_disagree() -> None:
    story = Story()
    mine, theirs = exam.seg("900.1"), exam.seg("900.2", author_key="b")
    story.arrive(NOON, exam.images, mine, theirs)
    assert {mine.ref.sop_instance_uid, theirs.ref.sop_instance_uid} <= uids(story.judged(NOON + HOUR))


def test_a_seg_with_codes_stays_beside_its_edited_state_without_any() -> None:
    story = Story()
    bare = tuple(replace(s, property_type=None, anatomy=None) for s in (TUMOR, NODES))
    older, old = exam.seg("899.1", ContentTime="0900"), exam.seg("900.1", ContentTime="1000")
    edited = [exam.seg(f"90{n}.1", bare, ContentTime=f"1{n}00") for n in (1, 2)]
    story.arrive(NOON, exam.images, older, old, *edited)
    segs = {s.ref.sop_instance_uid for s in (older, old, *edited)}
    kept = {s.ref.sop_instance_uid for s in (old, edited[1])}
    assert uids(story.judged(NOON + HOUR)) & segs == kept


def test_one_seg_per_roi_makes_one_exam() -> None:
    story = Story()
    tumor, nodes = exam.seg("900.1", (TUMOR,)), exam.seg("901.1", (NODES,))
    story.arrive(NOON, exam.images, tumor)
    assert story.judged(NOON + HOUR).state == "waiting"
    story.arrive(NOON + 2 * HOUR, nodes)
    assert {tumor.ref.sop_instance_uid, nodes.ref.sop_instance_uid} <= uids(story.judged(NOON + 3 * HOUR))


def test_a_seg_per_lymph_node_keeps_all_of_them() -> None:
    second = replace(NODES, label="Axillary lymph node 2")
    parts = [exam.seg("900.1", (TUMOR,)), exam.seg("901.1", (NODES,)), exam.seg("902.1", (second,))]
    story = Story()
    story.arrive(NOON, exam.images, parts)
    assert {p.ref.sop_instance_uid for p in parts} <= uids(story.judged(NOON + HOUR))


def test_an_old_seg_whose_rois_were_all_drawn_again_in_two_newer_ones_does_not_count() -> None:
    old = exam.seg("900.1", ContentTime="1000")
    newer = [exam.seg("901.1", (TUMOR,), ContentTime="1100"), exam.seg("902.1", (NODES,), ContentTime="1200")]
    story = Story()
    story.arrive(NOON, exam.images, old, newer)
    found = uids(story.judged(NOON + HOUR))
    assert old.ref.sop_instance_uid not in found
    assert {n.ref.sop_instance_uid for n in newer} <= found


def test_segments_are_told_by_their_codes_where_they_have_no_label() -> None:
    nameless = tuple(replace(s, label="") for s in (TUMOR, NODES))
    old, new = exam.seg("900.1", nameless, ContentTime="1000"), exam.seg("900.2", nameless, ContentTime="1100")
    story = Story()
    story.arrive(NOON, exam.images, old, new)
    assert old.ref.sop_instance_uid not in uids(story.judged(NOON + HOUR))


def test_a_segment_that_names_both_is_reported_as_unclear_not_waited_for() -> None:
    both = SegmentFacts(1, "tumor and lymph node", None, Code("1", "99X", "Region"), None)
    story = Story()
    story.arrive(NOON, exam.images, exam.seg(segments=(both,)))
    assert story.judged(NOON + HOUR).state == "ready"


# Sent again


def test_a_series_sent_again_with_rewritten_headers_changes_nothing() -> None:
    story = Story()
    story.arrive(NOON, WHOLE)
    before = story.judged(NOON + HOUR)
    rewritten = [replace(i, tags={**i.tags, "StudyDescription": "coerced"}) for i in exam.t1c]
    story.arrive(NOON + 2 * HOUR, rewritten, digest="rewritten")
    after = story.judged(NOON + 3 * HOUR)
    assert (after.inputs, after.flagged) == (before.inputs, "")


def test_rewritten_headers_change_nothing_where_the_last_is_to_be_kept_either() -> None:
    story = Story(Settings(intake=Intake(on_conflict="keep_last")))
    story.arrive(NOON, WHOLE)
    before = story.judged(NOON + HOUR)
    story.arrive(NOON + 2 * HOUR, exam.t1c, digest="rewritten")
    assert story.judged(NOON + 3 * HOUR).inputs == before.inputs


@pytest.mark.parametrize(
    "changes",
    [
        {"tags": {**exam.t1c[0].tags, "PixelSpacing": [1.1, 1.1]}},
        {"tags": {**exam.t1c[0].tags, "ImagePositionPatient": [0.0, 0.0, 0.0]}},
        {"frame_of_reference_uid": "1.2.99"},
        {"patient_key": patient_key("P2", "")},
    ],
    ids=["spacing", "position", "frame-of-reference", "patient"],
)
@pytest.mark.parametrize(("on_conflict", "digest"), [("keep_first", "d"), ("keep_last", "other")])
def test_the_same_instance_with_other_geometry_or_identity_is_a_conflict(
    changes: dict[str, object], on_conflict: str, digest: str
) -> None:
    story = Story(Settings(intake=Intake(on_conflict=on_conflict)))  # type: ignore[arg-type]
    story.arrive(NOON, WHOLE)
    story.arrive(NOON + 5, replace(exam.t1c[0], **changes), digest="other")  # type: ignore[arg-type]
    verdict = story.judged(NOON + HOUR, accepted=["*"])
    assert verdict.flagged.startswith("1 instances came twice with different")
    if verdict.state == "ready":
        assert dict(verdict.inputs).get(exam.t1c[0].ref.sop_instance_uid, digest) == digest


def test_other_pixels_under_one_uid_are_a_conflict() -> None:
    story = Story()
    one, other = (replace(exam.t1c[0], tags={**exam.t1c[0].tags, "content_digest": d}) for d in ("x", "y"))
    story.arrive(NOON, WHOLE[:6], one, WHOLE[7:])
    story.arrive(NOON, other, digest="other")
    assert "pixels" in story.judged(NOON + HOUR).flagged


def test_a_data_set_that_is_gone_gives_way_to_one_that_shows_the_same() -> None:
    story = Story()
    story.arrive(NOON, WHOLE)
    story.clean(exam.t1c[0])
    assert story.judged(NOON + HOUR).state == "waiting"
    story.arrive(NOON + 2 * HOUR, exam.t1c[0], digest="from the archive")
    verdict = story.judged(NOON + 3 * HOUR)
    assert (verdict.state, verdict.flagged) == ("ready", "")
    assert dict(verdict.inputs)[exam.t1c[0].ref.sop_instance_uid] == "from the archive"


def test_our_own_report_coming_back_changes_no_input() -> None:
    story = Story()
    story.arrive(NOON, WHOLE)
    before = story.judged(NOON + HOUR)
    story.stored.append(replace(story.stored[0], id=99, facts=ours()))
    assert story.judged(NOON + HOUR).inputs == before.inputs


# Files that are gone


def test_what_was_cleaned_away_is_named_and_wanted_one_by_one() -> None:
    story = Story()
    story.arrive(NOON, WHOLE)
    story.clean(*exam.t2, *exam.pre)
    verdict = story.judged(NOON + HOUR)
    assert verdict.reason == "6 images and ROIs that are no longer in the spool"
    assert {w.sop_uid for w in verdict.wanted} == {i.ref.sop_instance_uid for i in exam.t2}


def test_what_is_gone_and_was_not_chosen_is_not_missed() -> None:
    story = Story()
    story.arrive(NOON, WHOLE)
    story.clean(*exam.pre)
    assert story.judged(NOON + HOUR).state == "ready"


# Two exams, priors, knees


def test_two_exams_of_one_patient_interleaved_are_two_exams() -> None:
    other = breast_exam("1.2.4")
    one, two = Story(), Story(study="1.2.4")
    for n, (a, b) in enumerate(zip(WHOLE, [*other.images, other.seg()], strict=True)):
        one.arrive(NOON + n, a)
        two.arrive(NOON + n, b)
    assert one.judged(NOON + HOUR).state == two.judged(NOON + HOUR).state == "ready"
    assert not uids(one.judged(NOON + HOUR)) & uids(two.judged(NOON + HOUR))


def test_an_exam_that_was_old_when_it_came_is_a_prior_and_not_reported() -> None:
    story = Story(Settings(assembly=Assembly(max_age_days=30)))
    old = breast_exam(StudyDate="20250115")
    story.arrive(NOON, old.images, old.seg())
    verdict = story.judged(NOON + HOUR)
    assert (verdict.state, verdict.code, verdict.role) == ("expired", "prior", "prior")


def test_an_exam_does_not_become_a_prior_by_waiting_for_its_seg() -> None:
    story = Story(Settings(assembly=Assembly(max_age_days=30, give_up_days=90)))
    story.arrive(NOON, exam.images)
    story.arrive(NOON + 40 * DAY, exam.seg())
    assert story.judged(NOON + 41 * DAY).state == "ready"


def test_a_prior_that_was_fetched_is_kept_and_not_reported() -> None:
    story = Story()
    story.arrive(NOON, WHOLE)
    assert story.judged(NOON + HOUR, role="prior").state == "expired"


def named_knee() -> list[InstanceFacts]:
    """An exam whose study is named for the knee."""
    return [replace(i, tags={**i.tags, "StudyDescription": "MR knee left"}) for i in knee_exam()]


def test_an_exam_that_names_another_part_of_the_body_is_not_ours_as_soon_as_it_is_here() -> None:
    story = Story(WITH_ARCHIVE)
    story.arrive(NOON, named_knee())
    verdict = story.judged(NOON + 20)
    assert (verdict.state, verdict.code, verdict.ask, verdict.due_at) == ("not_ours", "other-body-part", False, None)
    assert verdict.reason == "its series and the study name the knee, and nothing the breast"


def test_a_region_makes_an_exam_of_another_part_of_the_body_ours() -> None:
    story = Story()
    story.arrive(NOON, named_knee(), exam.seg())
    assert story.judged(NOON + HOUR).state != "not_ours"


def test_an_operator_may_take_an_exam_for_ours_whatever_it_names() -> None:
    story = Story()
    story.arrive(NOON, named_knee())
    assert story.judged(NOON + HOUR, taken_as_ours=True).state == "waiting"


def test_a_knee_exam_that_does_not_say_so_expires_after_fourteen_days() -> None:
    story = Story(study="1.2.7")
    story.arrive(NOON, knee_exam())
    assert story.judged(NOON + 13 * DAY).due_at == NOON + 14 * DAY
    verdict = story.judged(NOON + 14 * DAY)
    assert (verdict.state, verdict.code) == ("expired", "gave-up")
    assert "nothing came for 14 days; still missing:" in verdict.reason


# Whose exam it is


def test_images_that_name_two_patients_are_held_at_once() -> None:
    story = Story()
    story.arrive(NOON, exam.images[:-1], of_patient(exam.images[-1], "P2"), exam.seg())
    verdict = story.judged(NOON + 1)
    assert (verdict.state, verdict.code) == ("held", "identity-changes")
    assert verdict.reason == "objects of 2 different patients in one study"


def test_a_seg_of_another_patient_is_held() -> None:
    story = Story()
    story.arrive(NOON, exam.images, of_patient(exam.seg(), "P2"))
    assert story.judged(NOON + HOUR).code == "identity-changes"


def test_a_seg_that_names_nobody_belongs_to_its_images() -> None:
    story = Story()
    story.arrive(NOON, exam.images, of_patient(exam.seg(), ""))
    assert story.judged(NOON + HOUR).state == "ready"


def test_what_an_operator_accepted_is_assembled_and_a_third_patient_is_held_again() -> None:
    story = Story()
    story.arrive(NOON, exam.images[:-1], of_patient(exam.images[-1], "P2"), exam.seg())
    accepted = [patient_key("P1", ""), patient_key("P2", "")]
    assert story.judged(NOON + HOUR, accepted=accepted).state == "ready"
    story.arrive(NOON + HOUR, of_patient(exam.seg("903.1"), "P3"))
    assert story.judged(NOON + 2 * HOUR, accepted=accepted).state == "held"


def with_issuer(facts: InstanceFacts, patient: str, issuer: str) -> InstanceFacts:
    tags = {**facts.tags, "patient_id_key": patient_key(patient, "")}
    return replace(facts, patient_key=patient_key(patient, issuer), tags=tags)


def test_one_id_with_and_without_its_issuer_is_one_patient() -> None:
    story = Story()
    story.arrive(NOON, exam.images, with_issuer(exam.seg(), "P1", "HOSPITAL"))
    assert story.judged(NOON + HOUR).state == "ready"


def test_one_id_from_two_issuers_is_two_patients() -> None:
    story = Story()
    story.arrive(NOON, [with_issuer(i, "P1", "HOSPITAL") for i in exam.images], with_issuer(exam.seg(), "P1", "CLINIC"))
    assert story.judged(NOON + HOUR).state == "held"


# What the archive says

SERIES: tuple[tuple[str, str, int | None], ...] = (
    *((f"{STUDY}.{n}", "MR", 6) for n in (1, 2, 3, 4)),
    (f"{STUDY}.900", "SEG", 1),
    (f"{STUDY}.800", "SR", 4),
)


def answer(at: float, patient: str = "P1", series: tuple[tuple[str, str, int | None], ...] = SERIES) -> Answer:
    return Answer("archive", at, patient_key(patient, ""), patient_key(patient, ""), series)


def test_the_archive_is_asked_when_arrivals_have_settled() -> None:
    story = Story(WITH_ARCHIVE)
    story.arrive(NOON, WHOLE)
    assert not story.judged(NOON + 9).ask
    assert story.judged(NOON + 10).ask


def test_the_archive_is_not_asked_about_what_nobody_has_drawn_on() -> None:
    story = Story(WITH_ARCHIVE)
    story.arrive(NOON, exam.images)
    assert not story.judged(NOON + 60).ask


def test_when_the_archive_has_no_more_the_quiet_period_is_not_waited_for() -> None:
    story = Story(WITH_ARCHIVE)
    story.arrive(NOON, WHOLE)
    assert story.judged(NOON + 12, answers=[answer(NOON + 11)]).state == "ready"


def test_an_open_association_is_waited_for_whatever_the_archive_says() -> None:
    story = Story(WITH_ARCHIVE)
    story.arrive(NOON, WHOLE)
    verdict = story.judged(NOON + 12, answers=[answer(NOON + 11)], sending_at=NOON + 5)
    assert (verdict.state, verdict.code, verdict.due_at) == ("assembling", "arriving", NOON + 5 + 60)


def test_an_open_association_is_waited_for_beyond_the_quiet_period() -> None:
    story = Story()
    story.arrive(NOON, WHOLE)
    verdict = story.judged(NOON + 130, sending_at=NOON + 100)
    assert (verdict.state, verdict.reason) == (
        "assembling",
        "the association that brings it is still open and may bring more of it",
    )
    assert story.judged(NOON + 130).state == "ready"


def test_an_association_that_is_kept_open_is_waited_for_a_minute_after_its_last_image() -> None:
    story = Story()
    story.arrive(NOON, WHOLE)
    assert story.judged(NOON + 159, sending_at=NOON + 100).due_at == NOON + 160
    assert story.judged(NOON + 160, sending_at=NOON + 100).state == "ready"


def test_an_association_that_sends_other_things_for_ever_is_waited_for_no_longer_than_the_setting_says() -> None:
    story = Story()
    story.arrive(NOON, WHOLE)
    assert story.judged(NOON + 899, sending_at=NOON + 890).state == "assembling"
    assert story.judged(NOON + 900, sending_at=NOON + 899).state == "ready"


def test_an_object_without_any_region_replaces_nothing() -> None:
    story = Story()
    story.arrive(NOON, WHOLE)
    before = story.judged(NOON + HOUR)
    empty = replace(exam.seg(), segments=(), tags={**exam.seg().tags, "ContentDate": "20991231"})
    empty = replace(empty, ref=replace(empty.ref, sop_instance_uid="1.2.3.99.1"))
    silent = replace(exam.seg(), tags={**exam.seg().tags, "ContentDate": "20991231", "no_region": "all zero"})
    silent = replace(silent, ref=replace(silent.ref, sop_instance_uid="1.2.3.99.2"))
    story.arrive(NOON + 2 * HOUR, empty, silent)
    after = story.judged(NOON + 3 * HOUR)
    assert (after.state, after.inputs) == ("ready", before.inputs)
    assert after.flagged == "2 ROI objects hold no region that can be read and count for nothing"


def test_an_answer_from_before_the_last_arrival_does_not_count() -> None:
    story = Story(WITH_ARCHIVE)
    story.arrive(NOON, WHOLE)
    verdict = story.judged(NOON + 12, answers=[answer(NOON - 5)])
    assert (verdict.state, verdict.ask) == ("assembling", True)


def test_when_the_archive_has_another_series_the_quiet_period_is_waited_for_and_no_longer() -> None:
    story = Story(WITH_ARCHIVE)
    story.arrive(NOON, WHOLE)
    more = answer(NOON + 11, series=(*SERIES, ("1.2.3.5", "MR", 30)))
    assert story.judged(NOON + 12, answers=[more]).state == "assembling"
    assert story.judged(NOON + 120, answers=[more]).state == "ready"


def test_a_better_answer_is_waited_for_and_fetched_only_where_the_archive_lists_what_may_be_it() -> None:
    groups = [frozenset((s, r) for s in read for r in ROLES) for read in (("t1c", "t2"), ("t1c",))]
    family = InUse(tuple(SignatureNeeds(f"s{n}@1", read, rank=n) for n, read in enumerate(groups)))
    story = Story(WITH_ARCHIVE, in_use=family)
    story.arrive(NOON, exam.pre, exam.t1c, exam.seg())
    here = (*SERIES[:2], *SERIES[4:])
    for more, state, wanted in (
        ((), "ready", ()),
        (((f"{STUDY}.801", "SR", 1),), "ready", ()),
        ((SERIES[2],), "waiting", (Wanted(STUDY, SERIES[2][0]),)),
    ):
        verdict = story.judged(NOON + 121, answers=[answer(NOON + 11, series=(*here, *more))])
        assert (verdict.state, verdict.wanted, verdict.lacked) == (state, wanted, ("t2",))
    assert (verdict.code, verdict.due_at) == ("preferred", NOON + 1800)
    assert story.judged(NOON + 121, answers=[answer(NOON + 11, series=here)]).state == "ready"


def test_when_the_archive_has_more_of_a_chosen_series_the_exam_waits_and_wants_it() -> None:
    story = Story(WITH_ARCHIVE)
    story.arrive(NOON, WHOLE)
    more = answer(NOON + 11, series=(SERIES[0], (f"{STUDY}.2", "MR", 10), *SERIES[2:]))
    verdict = story.judged(NOON + HOUR, answers=[more])
    assert verdict.reason == f"4 of the 10 images that archive has of series {STUDY}.2"
    assert verdict.wanted == (Wanted(STUDY, f"{STUDY}.2"),)


def test_an_exam_that_the_archive_has_under_another_patient_is_held() -> None:
    story = Story(WITH_ARCHIVE)
    story.arrive(NOON, WHOLE)
    verdict = story.judged(NOON + 12, answers=[answer(NOON + 11, patient="P9")])
    assert (verdict.state, verdict.code) == ("held", "identity-differs-from-pacs")
    accepted = [patient_key("P1", ""), patient_key("P9", "")]
    assert story.judged(NOON + 12, answers=[answer(NOON + 11, patient="P9")], accepted=accepted).state == "ready"


def test_an_exam_that_the_archive_does_not_know_is_judged_by_the_quiet_period() -> None:
    story = Story(WITH_ARCHIVE)
    story.arrive(NOON, WHOLE)
    unknown = [Answer("archive", NOON + 11)]
    assert story.judged(NOON + 119, answers=unknown).state == "assembling"
    assert story.judged(NOON + 120, answers=unknown).state == "ready"


def test_an_archive_that_does_not_answer_is_waited_for_a_quarter_of_an_hour_and_then_the_study_is_flagged() -> None:
    story = Story(WITH_ARCHIVE)
    story.arrive(NOON, WHOLE)
    assert story.judged(NOON + 14 * MINUTE).state == "assembling"
    verdict = story.judged(NOON + 16 * MINUTE)
    assert verdict.state == "ready"
    assert verdict.flagged == "the archive did not say what it has of this exam and whose it is"


# Odds and ends


def test_the_brightest_phase_is_chosen_later_so_that_all_phases_are_inputs() -> None:
    story = Story(Settings(sequences={"phase": "peak"}))  # type: ignore[arg-type]
    more = [replace(i, patient_key=exam.t1c[0].patient_key, frame_of_reference_uid=f"{STUDY}.9") for i in late_phase()]
    story.arrive(NOON, WHOLE, more)
    found = uids(story.judged(NOON + HOUR))
    assert {i.ref.sop_instance_uid for i in (*exam.t1c, *more)} <= found


def late_phase() -> list[InstanceFacts]:
    return series(6, "t1_fl3d_post", start_s=390, StudyDate="20260115", ContrastBolusAgent="Gadobutrol", **T1)


def test_a_diffusion_series_without_a_map_makes_an_exam_too() -> None:
    b_values = [{"b_value": b, "AcquisitionNumber": n} for n, b in enumerate((0.0, 800.0))]
    dwi = [
        replace(i, patient_key=exam.t1c[0].patient_key, frame_of_reference_uid=f"{STUDY}.9")
        for i in series(7, "ep2d_diff", phases=2, per_phase=b_values, **EPI)
    ]
    story = Story()
    story.arrive(NOON, exam.pre, exam.t1c, exam.t2, dwi, exam.seg())
    assert {i.ref.sop_instance_uid for i in dwi} <= uids(story.judged(NOON + HOUR))
