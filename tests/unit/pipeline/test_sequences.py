"""Which series is T1+C, T2 and ADC: header facts, names, the exam, what the ROI was drawn on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from config.schema import Sequences
from pipeline.catalog import Exam, FrameRef, InstanceFacts
from pipeline.records import InstanceRef
from pipeline.sequences import Match, match
from tests.support.exams import EPI, STIR, T1, T2, diffusion, exam, seg, series, uid

SETTINGS = Sequences()
AGENT = {"ContrastBolusAgent": "Gadobutrol"}
ADC = {"ImageType": ["DERIVED", "PRIMARY", "ADC"]}


def plain(with_dynamic: bool = True) -> list[object]:
    """Localizer, T2, DWI and ADC, and a dynamic with one series per phase."""
    parts: list[object] = [
        series(1, "localizer", slices=3, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        series(2, "t2_tse_tra", **T2),
        diffusion(3, "ep2d_diff", [0.0, 800.0]),
        series(4, "ep2d_diff_ADC", **EPI, **ADC),
    ]
    if with_dynamic:
        parts += [
            series(10 + p, "t1_fl3d_dyn_1+3", start_s=600 + 90 * p, **T1, **(AGENT if p else {})) for p in range(4)
        ]
    return parts


def run(*parts: object, settings: Sequences = SETTINGS) -> tuple[Exam, Match]:
    built = exam(*parts)  # type: ignore[arg-type]
    return built, match(built, settings)


def labels(found: Match) -> dict[str, str]:
    return {label.series_uid: label.label for label in found.labels}


def test_a_well_labelled_exam_is_matched_whole() -> None:
    _, found = run(*plain())
    assert {name: s.series_uid for name, s in found.chosen.items()} == {"t1c": uid(11), "t2": uid(2), "adc": uid(4)}
    assert found.reasons == ()
    assert labels(found)[uid(10)] == "t1_pre"
    assert found.chosen["t1c"].phase == "post 1 of 3"


def test_every_decision_says_why_and_how_sure_it_is() -> None:
    _, found = run(*plain())
    assert all(label.why and 0 < label.confidence <= 1 for label in found.labels)
    assert all(s.why and 0 < s.confidence <= 1 for s in found.chosen.values())


def test_one_series_with_all_phases_gives_the_frames_of_one() -> None:
    dynamic = series(
        10, "dyn_eTHRIVE", phases=5, per_phase=[{"TemporalPositionIdentifier": p + 1} for p in range(5)], **T1, **AGENT
    )
    _, found = run(*plain(with_dynamic=False), dynamic)
    chosen = found.chosen["t1c"]
    assert {f.instance.ref.sop_instance_uid for f in chosen.frames} == {i.ref.sop_instance_uid for i in dynamic[6:12]}


@pytest.mark.parametrize(
    ("phase", "expected"), [("first_post", 1), ("nth:3", 3), ("seconds:95", 2), ("seconds:400", 4)]
)
def test_the_phase_is_a_setting(phase: str, expected: int) -> None:
    dynamic = series(
        10, "dyn", phases=5, per_phase=[{"TemporalPositionIdentifier": p + 1} for p in range(5)], **T1, **AGENT
    )
    _, found = run(*plain(with_dynamic=False), dynamic, settings=Sequences(phase=phase))
    assert found.chosen["t1c"].phase == f"post {expected} of 4"


def test_the_peak_phase_is_the_brightest() -> None:
    dynamic = series(
        10, "dyn", phases=4, per_phase=[{"TemporalPositionIdentifier": p + 1} for p in range(4)], **T1, **AGENT
    )
    built = exam(*plain(with_dynamic=False), dynamic)  # type: ignore[arg-type]
    with_files = replace(
        built,
        series=tuple(
            replace(s, instances=tuple(replace(i, path=Path("x")) for i in s.instances)) for s in built.series
        ),
    )

    def brightness(frames: tuple[FrameRef, ...]) -> float:
        number = frames[0].instance.tags["TemporalPositionIdentifier"]
        assert isinstance(number, int)
        return {2: 10.0, 3: 30.0, 4: 20.0}[number]

    found = match(with_files, Sequences(phase="peak"), brightness)
    assert found.chosen["t1c"].phase == "post 2 of 3"


def test_a_phase_that_the_dynamic_lacks_is_a_reason() -> None:
    _, found = run(*plain(), settings=Sequences(phase="nth:9"))
    assert "t1c" not in found.chosen
    assert "phase-missing" in found.codes


def test_ge_phases_named_after_their_mask() -> None:
    base = series(500, "Ax VIBRANT MPh +C", vendor="GE MEDICAL SYSTEMS", start_s=600, **T1, **AGENT)
    posts = [
        series(500 + p, f"Ph{p}/Ax VIBRANT MPh +C", vendor="GE MEDICAL SYSTEMS", start_s=600 + 90 * p, **T1, **AGENT)
        for p in (1, 2, 3)
    ]
    _, found = run(*plain(with_dynamic=False), base, *posts)
    assert found.chosen["t1c"].series_uid == uid(501)
    assert labels(found)[uid(500)] == "t1_pre"


def test_pre_alone_and_post_together() -> None:
    pre = series(10, "AX T1 FS PRE", start_s=500, **T1)
    post = series(11, "AX T1 FS POST", phases=3, start_s=700, **T1, **AGENT)
    _, found = run(*plain(with_dynamic=False), pre, post)
    assert found.chosen["t1c"].series_uid == uid(11)
    assert {f.instance.ref.sop_instance_uid for f in found.chosen["t1c"].frames} == {
        i.ref.sop_instance_uid for i in post[:6]
    }


def test_phases_are_in_order_of_time_not_of_series_number() -> None:
    order = {14: 600, 12: 690, 13: 780}
    parts = [series(n, "t1 dyn", start_s=s, **T1, **AGENT) for n, s in order.items()]
    _, found = run(*plain(with_dynamic=False), *parts)
    assert found.chosen["t1c"].series_uid == uid(12)


@pytest.mark.parametrize(
    ("bolus", "first", "evidence"),
    [
        ("090945", 11, "contrast start time"),  # injected at 585 s: every volume is after it
        ("090000", 12, "the first volume in time is before contrast"),  # too long before: the start of the exam
        (None, 12, "the first volume in time is before contrast"),
    ],
)
def test_a_dynamic_without_its_volume_before_contrast_is_told_by_the_injection(
    bolus: str | None, first: int, evidence: str
) -> None:
    start = {} if bolus is None else {"ContrastBolusStartTime": bolus}
    posts = [
        series(10 + p, "t1_fl3d_dyn_1pre_4post", start_s=610 + 90 * (p - 1), **T1, **AGENT, **start)
        for p in range(1, 5)
    ]
    _, found = run(*plain(with_dynamic=False), *posts)
    assert found.chosen["t1c"].series_uid == uid(first)
    assert evidence in next(label.why for label in found.labels if label.series_uid == uid(11))


def test_ge_trigger_times_tell_phases_apart() -> None:
    dynamic = series(
        10,
        "Sag 3D dynamic",
        phases=3,
        interval_s=0,
        per_phase=[{"TriggerTime": t} for t in (0.0, 90000.0, 180000.0)],
        vendor="GE MEDICAL SYSTEMS",
        **T1,
        **AGENT,
    )
    _, found = run(*plain(with_dynamic=False), dynamic)
    assert found.chosen["t1c"].phase == "post 1 of 2"


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("t1_fl3d_dyn_SUB", {"ImageType": ["DERIVED", "PRIMARY", "M", "SUB"]}),
        ("(10037/801/1)-(10037/800/1)", {}),
        ("dyn MIP", {"ImageType": ["DERIVED", "SECONDARY", "MIP"]}),
        ("SAG REFORMAT post", {}),
        ("dynamic: SER", {}),
        ("减影", {}),
    ],
)
def test_what_is_derived_from_the_dynamic_is_never_t1c(name: str, tags: dict[str, object]) -> None:
    derived = series(90, name, start_s=900, **{**T1, **AGENT, **tags})
    _, alone = run(*plain(with_dynamic=False), derived)
    assert "t1c" not in alone.chosen
    assert "no-t1c" in alone.codes
    _, beside = run(*plain(), derived)
    assert beside.chosen["t1c"].series_uid == uid(11)


def test_a_static_t1_without_contrast_is_not_t1c() -> None:
    _, found = run(*plain(with_dynamic=False), series(10, "ax t1", **T1))
    assert labels(found)[uid(10)] == "t1_static"
    assert "no-t1c" in found.codes


def test_headers_are_believed_before_names() -> None:
    wrong = series(10, "T2 ax", start_s=600, phases=4, **T1, **AGENT)
    _, found = run(*plain(with_dynamic=False), wrong)
    assert labels(found)[uid(10)] == "t1_dynamic"


@pytest.mark.parametrize(
    ("name", "label"), [("T1 增强", "t1_post"), ("T1 平扫", "t1_pre"), ("弥散", "dwi"), ("定位像", "localizer")]
)
def test_chinese_names_are_read(name: str, label: str) -> None:
    _, found = run(series(1, name))
    assert labels(found)[uid(1)] == label


def test_the_roi_decides_the_phase() -> None:
    parts = plain()
    third = series(12, "t1_fl3d_dyn_1+3", start_s=780, **T1, **AGENT)
    _, found = run(*parts, seg(third))
    assert found.chosen["t1c"].series_uid == uid(12)
    assert "drawn on" in found.chosen["t1c"].why


def test_the_roi_decides_the_phase_inside_one_series() -> None:
    dynamic = series(
        10, "dyn", phases=5, per_phase=[{"TemporalPositionIdentifier": p + 1} for p in range(5)], **T1, **AGENT
    )
    _, found = run(*plain(with_dynamic=False), dynamic, seg(dynamic, precise=dynamic[18:24]))
    assert found.chosen["t1c"].phase == "post 3 of 4"


def test_named_frames_of_an_enhanced_image_decide_the_phase() -> None:
    positions = [f"-50\\-50\\{2 * z}" for _ in range(4) for z in range(6)]
    whole = InstanceFacts(
        InstanceRef("1.2.3", uid(10), "1.2.840.10008.5.1.4.1.1.4.1", uid(10) + ".1"),
        "MR",
        "1.2.840.10008.1.2.1",
        "p",
        "1.9",
        frames=24,
        tags={
            "SeriesNumber": 10,
            "SeriesDescription": "dyn",
            "frame_position": positions,
            "frame_orientation": ["1\\0\\0\\0\\1\\0"],
            "frame_temporal_position": [float(p) for p in range(1, 5) for _ in range(6)],
            **T1,  # type: ignore[dict-item]
            **AGENT,
        },
    )
    roi = replace(
        seg([whole], precise=[whole]),
        tags={
            "drawn_on": [whole.ref.sop_instance_uid],
            "drawn_on_frames": [f"{whole.ref.sop_instance_uid}#{n}" for n in (14, 15)],
        },
    )
    _, found = run(*plain(with_dynamic=False), whole, roi)
    assert found.chosen["t1c"].phase == "post 2 of 3"
    assert sorted(f.frame or 0 for f in found.chosen["t1c"].frames) == [13, 14, 15, 16, 17, 18]


def test_a_roi_on_a_subtraction_leads_to_its_post_contrast_source() -> None:
    base = series(800, "AX VIBRANT", vendor="GE MEDICAL SYSTEMS", start_s=600, **T1, **AGENT)
    posts = [
        series(800 + p, f"Ph{p}/AX VIBRANT", vendor="GE MEDICAL SYSTEMS", start_s=600 + 90 * p, **T1, **AGENT)
        for p in (1, 2)
    ]
    subtraction = series(900, "(10037/802/1)-(10037/800/1)", vendor="GE MEDICAL SYSTEMS", start_s=2000, **T1)
    _, found = run(*plain(with_dynamic=False), base, *posts, subtraction, seg(subtraction))
    assert found.chosen["t1c"].series_uid == uid(802)


def test_a_roi_on_diffusion_images_decides_for_their_adc() -> None:
    first = diffusion(30, "DWI a", [0.0, 800.0])
    second = diffusion(40, "DWI b", [0.0, 800.0], Rows=80)
    maps = [series(31, "ADC a", **EPI, **ADC), series(41, "ADC b", Rows=80, **EPI, **ADC)]
    dynamic = [series(10 + p, "t1 dyn", start_s=90 * p, **T1, **AGENT) for p in range(3)]
    _, found = run(first, second, *maps, *dynamic, seg(second))
    assert found.chosen["adc"].series_uid == uid(41)
    assert found.chosen["t1c"].series_uid == uid(11)


def test_two_candidates_too_close_to_call_are_both_named() -> None:
    left = [series(20 + p, "sag dyn left", start_s=90 * p, shift_mm=-90, **T1, **AGENT) for p in range(3)]
    right = [
        series(30 + p, "sag dyn right", start_s=900 + 90 * p, shift_mm=90, Rows=101, **T1, **AGENT) for p in range(3)
    ]
    _, found = run(*plain(with_dynamic=False), *left, *right)
    assert "t1c" not in found.chosen
    (reason,) = [r for r, c in zip(found.reasons, found.codes, strict=True) if c == "ambiguous-t1c"]
    assert uid(21) in reason
    assert uid(31) in reason


def test_an_operator_decides_between_them() -> None:
    left = [series(20 + p, "sag dyn left", start_s=90 * p, **T1, **AGENT) for p in range(3)]
    right = [series(30 + p, "sag dyn right", start_s=900 + 90 * p, Rows=101, **T1, **AGENT) for p in range(3)]
    _, found = run(*plain(with_dynamic=False), *left, *right, settings=Sequences(use={"t1c": uid(32)}))
    assert found.chosen["t1c"].series_uid == uid(32)
    assert found.codes == ()


def test_the_t2_that_covers_t1c_is_chosen() -> None:
    here = series(20, "t2 sag right", **T2)
    elsewhere = series(21, "t2 sag left", shift_mm=200, Rows=99, **T2)
    _, found = run(*plain()[2:], here, elsewhere)
    assert found.chosen["t2"].series_uid == uid(20)


@pytest.mark.parametrize(
    ("tags", "chosen"),
    [
        (T2, True),
        ({}, False),
        ({"ProtocolName": "t2_tse_tra"}, True),
        ({"RepetitionTime": 550.0, "EchoTime": 12.0, "ScanningSequence": "SE"}, False),
        ({"RepetitionTime": 2500.0, "EchoTime": 35.0, "ScanningSequence": "SE"}, False),
    ],
)
def test_a_fast_spin_echo_is_t2_only_where_its_times_or_another_name_say_so(
    tags: dict[str, object], chosen: bool
) -> None:
    parts = [part for number, part in enumerate(plain()) if number != 1]
    _, found = run(*parts, series(7, "SAG FSE OF AFFECTED SIDE", **tags))
    assert ("t2" in found.chosen) == chosen


def test_a_gradient_echo_that_is_named_t2_is_not_taken_for_t2() -> None:
    parts = [part for number, part in enumerate(plain()) if number != 1]
    _, found = run(*parts, series(7, "BILAT T2 GRE", RepetitionTime=500.0, EchoTime=20.0, ScanningSequence="GR"))
    assert "t2" not in found.chosen


def test_a_repeated_scan_replaces_the_first() -> None:
    _, found = run(*plain(), series(7, "t2_tse_tra", start_s=300, **T2))
    assert found.chosen["t2"].series_uid == uid(7)


def test_stir_stands_in_where_there_is_no_other_t2() -> None:
    parts = [p for n, p in enumerate(plain()) if n != 1]
    _, found = run(*parts, series(8, "tirm", **STIR))
    assert found.chosen["t2"].series_uid == uid(8)
    assert labels(found)[uid(8)] == "t2_stir"


def test_fat_and_opposed_images_of_a_dixon_are_not_used() -> None:
    names = {"water": "W", "fat": "F"}
    parts = [
        series(40 + n, "t1 dyn dixon", start_s=100 * p, ImageType=["ORIGINAL", "PRIMARY", kind], **T1, **AGENT)
        for n, (p, kind) in enumerate((p, k) for p in range(3) for k in names.values())
    ]
    built, found = run(*plain(with_dynamic=False), *parts)
    chosen = next(s for s in built.series if s.series_uid == found.chosen["t1c"].series_uid)
    assert chosen.tag("ImageType") == ["ORIGINAL", "PRIMARY", "W"]


def test_an_adc_is_computed_from_diffusion_where_there_is_no_map() -> None:
    parts = [p for n, p in enumerate(plain()) if n != 3]
    _, found = run(*parts)
    chosen = found.chosen["adc"]
    assert chosen.frames == ()
    assert {b: len(frames) for b, frames in chosen.frames_by_b.items()} == {0.0: 6, 800.0: 6}


def test_b_values_in_series_of_their_own_are_put_together() -> None:
    parts = [
        *plain()[:2],
        *plain()[4:],
        diffusion(3, "DWI", [0.0]),
        diffusion(4, "DWI", [50.0]),
        diffusion(5, "DWI", [1000.0]),
    ]
    _, found = run(*parts)
    assert sorted(found.chosen["adc"].frames_by_b) == [0.0, 1000.0]


@pytest.mark.parametrize(
    ("maker", "found_b"),
    [("TOSHIBA", [0.0, 800.0]), ("Toshiba_MEC", [0.0, 800.0]), ("CANON_MEC", [0.0, 800.0]), ("SIEMENS", []), ("", [])],
)
def test_images_without_b_value_among_others_are_b_zero_of_two_makers_only(maker: str, found_b: list[float]) -> None:
    per_phase = [{"AcquisitionNumber": 1}, {"b_value": 800.0, "AcquisitionNumber": 2}]
    dwi = series(3, "DWI", phases=2, per_phase=per_phase, **{**EPI, "Manufacturer": maker})
    parts = [p for n, p in enumerate(plain()) if n not in (2, 3)]
    _, found = run(*parts, dwi)
    chosen = found.chosen.get("adc")
    assert (sorted(chosen.frames_by_b) if chosen else []) == found_b


def test_a_series_of_which_no_image_has_a_b_value_is_not_b_zero() -> None:
    dwi = series(3, "DWI", **{**EPI, "Manufacturer": "TOSHIBA"})
    parts = [p for n, p in enumerate(plain()) if n not in (2, 3)]
    _, found = run(*parts, dwi)
    assert "adc" not in found.chosen


def test_directions_are_kept_apart_for_averaging() -> None:
    per_phase = [{"b_value": 0.0, "AcquisitionNumber": 1}] + [
        {"b_value": 800.0, "AcquisitionNumber": 2 + n, "diffusion_kind": "direction"} for n in range(3)
    ]
    dwi = series(3, "DWI", phases=4, per_phase=per_phase, **EPI)
    parts = [p for n, p in enumerate(plain()) if n not in (2, 3)]
    _, found = run(*parts, dwi)
    assert len(found.chosen["adc"].repeats_by_b[800.0]) == 3


def test_trace_images_come_before_directions() -> None:
    per_phase = [
        {"b_value": 0.0, "AcquisitionNumber": 1},
        {"b_value": 800.0, "AcquisitionNumber": 2, "diffusion_kind": "direction"},
        {"b_value": 800.0, "AcquisitionNumber": 3, "diffusion_kind": "trace"},
    ]
    dwi = series(3, "DWI", phases=3, per_phase=per_phase, **EPI)
    parts = [p for n, p in enumerate(plain()) if n not in (2, 3)]
    _, found = run(*parts, dwi)
    frames = found.chosen["adc"].frames_by_b[800.0]
    assert {f.instance.tags["diffusion_kind"] for f in frames} == {"trace"}


def test_a_time_resolved_dynamic_waits_for_contrast() -> None:
    fast = series(
        10,
        "TWIST dyn",
        phases=30,
        interval_s=5,
        per_phase=[{"TemporalPositionIdentifier": p + 1} for p in range(30)],
        **T1,
        **AGENT,
    )
    _, found = run(*plain(with_dynamic=False), fast)
    assert found.chosen["t1c"].phase == "post 13 of 29"


def test_an_exam_without_images_of_a_sequence_says_so() -> None:
    _, found = run(series(1, "localizer"))
    assert found.codes == ("no-t1c", "no-t2", "no-adc")
    assert len(found.reasons) == 3
