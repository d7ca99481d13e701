"""The whole of the science on synthetic exams: what is chosen, measured, answered, and what is said where it is not."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from config.schema import Bias, Features, Settings, SignatureSettings
from pipeline.analysis.signatures_in_use import Signatures
from pipeline.catalog import Exam, exam_in, exam_of
from pipeline.errors import ExamRejected
from pipeline.phantom import VENDORS, PhantomExam, PhantomSpec, write_exam
from pipeline.phantom.spec import Protocol
from pipeline.records import SEQUENCES, InstanceRef
from pipeline.result import StudyResult
from pipeline.run import analyse, analyse_folder
from pipeline.signature import demonstration_path
from tests.support.drawn import redrawn

# The demonstration's first member alone, which reads everything (families: test_subsets), whatever it was trained on.
SETTINGS = Settings(signature=SignatureSettings(path=demonstration_path(), max_outside=1.0, max_distance=1e9))
SIGNATURES = Signatures.from_settings(SETTINGS.signature)
ALL = 6 * 851
TINY = Protocol((24, 24, 8), (5, 5, 8), (24, 24, 6), (5, 5, 10), (24, 24, 6), (5, 5, 10))
# Where it does not matter what is measured: only what the signature reads.
QUICK = SETTINGS.model_copy(update={"features": Features(set="signature")})


@pytest.fixture(scope="module", params=VENDORS)
def by_vendor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[PhantomExam, Exam]:
    folder = tmp_path_factory.mktemp(request.param)
    phantom = write_exam(folder, PhantomSpec(seed=21, vendor=request.param, preset="small", node_positive=True))
    return phantom, exam_in(folder)


@pytest.fixture(scope="module")
def siemens(tmp_path_factory: pytest.TempPathFactory) -> tuple[PhantomExam, Exam]:
    folder = tmp_path_factory.mktemp("one")
    return write_exam(folder, PhantomSpec(seed=22, preset="small", laterality="L")), exam_in(folder)


def run(exam: Exam, settings: Settings = QUICK) -> StudyResult:
    return analyse(exam, settings, SIGNATURES).result


@pytest.fixture(scope="module")
def measured(siemens: tuple[PhantomExam, Exam]) -> StudyResult:
    return run(siemens[1], SETTINGS)


def without(exam: Exam, series_uid: str) -> Exam:
    return replace(exam, series=tuple(s for s in exam.series if s.series_uid != series_uid))


def test_an_exam_of_any_vendor_is_read_measured_and_answered(by_vendor: tuple[PhantomExam, Exam]) -> None:
    phantom, exam = by_vendor
    analysis = analyse(exam, SETTINGS, SIGNATURES, revision=3, input_digest="abc")
    found = analysis.result
    assert (found.status, found.reasons, found.revision, found.input_digest) == ("evaluated", (), 3, "abc")
    assert {name: choice.series_uid for name, choice in found.sequences.items()} == dict(phantom.chosen)
    assert {r.sop_instance_uid for r in found.sequences["t1c"].instances} == set(phantom.t1c_instances)
    assert {role: roi.voxels["t1c"] for role, roi in found.rois.items()} == {
        role: mask.voxels for role, mask in phantom.masks.items()
    }
    assert found.rois["lymph_nodes"].count == 3
    assert found.laterality == phantom.truth.laterality
    assert len(found.features) == ALL
    assert found.missing_features == {}
    assert found.prediction is not None
    assert 0 < found.prediction.probability < 1
    assert len(found.prediction.top_features) == 5
    assert {p.sequence for p in analysis.panels} == set(SEQUENCES)
    assert len(analysis.panels) == 6


def test_what_was_used_is_evidence(by_vendor: tuple[PhantomExam, Exam]) -> None:
    phantom, exam = by_vendor
    found = run(exam)
    used = {r.sop_instance_uid for r in found.evidence}
    assert phantom.seg_uid in used
    assert set(phantom.t1c_instances) < used
    unused = {s.series_uid for s in phantom.series if s.label in ("localizer", "subtraction", "mip", "t1_pre")}
    assert not unused & {r.series_uid for r in found.evidence}


def test_the_result_is_the_same_twice_and_round_trips(siemens: tuple[PhantomExam, Exam]) -> None:
    ticks = itertools.count()
    one, two = (analyse(siemens[1], QUICK, SIGNATURES, timer=lambda: float(next(ticks))).result for _ in range(2))
    assert one.model_copy(update={"timings_s": {}}) == two.model_copy(update={"timings_s": {}})
    assert StudyResult.from_json(one.to_json()) == one
    document = json.loads(one.to_json())
    assert document["schema"] == "axrad.result/1"
    assert document["timings_s"].keys() == {
        "match", "load", "roi", "align", "pictures", "bias", "features", "predict", "total",
    }  # fmt: skip
    assert all(seconds > 0 for seconds in document["timings_s"].values())


@pytest.mark.parametrize(("sequence", "word"), [("t1c", "T1"), ("t2", "T2"), ("adc", "ADC")])
def test_a_missing_sequence_is_named_and_nothing_is_predicted(
    siemens: tuple[PhantomExam, Exam], sequence: str, word: str
) -> None:
    phantom, exam = siemens
    for series in phantom.series:
        wanted = {"t1c": series.label.startswith(("t1_", "sub", "mip")), "t2": series.label == "t2"}
        if wanted.get(sequence, series.label in ("adc", "dwi")):
            exam = without(exam, series.series_uid)
    found = run(exam)
    assert (found.status, found.prediction, found.features) == ("not_evaluated", None, {})
    assert any(word in reason for reason in found.reasons)
    assert len(found.reason_codes) == len(found.reasons) > 0
    assert sequence not in found.sequences


def test_two_series_that_could_both_be_t2_are_not_guessed_between(siemens: tuple[PhantomExam, Exam]) -> None:
    phantom, exam = siemens
    t2 = next(s for s in exam.series if s.series_uid == phantom.chosen["t2"])
    twins = []
    for n, instance in enumerate(t2.instances):
        ref = InstanceRef(instance.ref.study_uid, "2.25.4242", instance.ref.sop_class_uid, f"2.25.4242.{n}")
        named = {"SeriesDescription": f"{instance.tags['SeriesDescription']} b", "ProtocolName": "b"}
        twins.append(replace(instance, ref=ref, tags={**instance.tags, **named}))
    everything = [i for s in exam.series for i in s.instances] + [*exam.rois, *twins]
    found = run(exam_of(exam.study_uid, everything))
    assert found.status == "not_evaluated"
    assert found.reason_codes[0].startswith("ambiguous")
    assert found.prediction is None


def test_an_exam_without_roi_object_says_so(siemens: tuple[PhantomExam, Exam]) -> None:
    found = run(replace(siemens[1], rois=()))
    assert found.reason_codes == ("no-roi-object",)
    assert found.sequences.keys() == set(SEQUENCES), "what was known until then is kept"


def test_a_file_that_is_gone_is_a_reason_and_no_crash(siemens: tuple[PhantomExam, Exam]) -> None:
    phantom, exam = siemens
    series = []
    for one in exam.series:
        lost = one.series_uid == phantom.chosen["t2"]
        series.append(
            replace(one, instances=tuple(replace(i, path=Path("gone.dcm")) for i in one.instances)) if lost else one
        )
    found = run(replace(exam, series=tuple(series)))
    assert (found.status, found.reason_codes) == ("not_evaluated", ("not-dicom",))


def test_without_lymph_nodes_the_tumour_is_measured_and_nothing_predicted(
    siemens: tuple[PhantomExam, Exam], tmp_path: Path
) -> None:
    phantom, exam = siemens
    found = run(redrawn(exam, phantom, tmp_path, [("tumor", "L", phantom.masks["tumor"].voxels_zyx)]))
    assert (found.status, found.prediction, found.reason_codes) == ("not_evaluated", None, ("roi-missing",))
    assert "lymph node" in found.reasons[0]
    assert len(found.features) == len([n for n in SIGNATURES.features if ".tumor." in n])
    assert all(".tumor." in name for name in found.features)


def two_sides(phantom: PhantomExam, exam: Exam, folder: Path, *, whole: bool) -> Exam:
    """The same regions twice: as drawn on the left, and moved backwards on the right."""
    tumor, nodes = (phantom.masks[role].voxels_zyx for role in ("tumor", "lymph_nodes"))
    moved = np.roll(tumor, 20, axis=1)
    right = [("tumor", "R", moved & ~tumor), ("lymph_nodes", "R", np.roll(nodes, -20, axis=1) & ~nodes)]
    left = [("tumor", "L", tumor), ("lymph_nodes", "L", nodes)]
    return redrawn(exam, phantom, folder, [*left, *right[: 2 if whole else 1]])  # type: ignore[list-item]


def test_each_side_has_its_own_answer(siemens: tuple[PhantomExam, Exam], tmp_path: Path) -> None:
    phantom, exam = siemens
    found = run(two_sides(phantom, exam, tmp_path, whole=True))
    assert (found.status, found.laterality) == ("evaluated", "B")
    assert (found.rois, found.prediction, found.features) == ({}, None, {})
    assert found.sides.keys() == {"L", "R"}
    left, right = found.sides["L"], found.sides["R"]
    assert left.prediction is not None
    assert right.prediction is not None
    assert left.features != right.features
    alone = run(exam)
    assert left.features == alone.features, "the other side changes nothing"


def test_one_side_without_nodes_leaves_the_other_its_answer(siemens: tuple[PhantomExam, Exam], tmp_path: Path) -> None:
    phantom, exam = siemens
    found = run(two_sides(phantom, exam, tmp_path, whole=False))
    assert found.status == "evaluated"
    assert found.sides["L"].prediction is not None
    assert found.sides["R"].prediction is None
    assert "lymph node" in found.sides["R"].reasons[0]
    (check,) = [q for q in found.quality if q.check == "one side not evaluated"]
    assert not check.ok
    assert "side R" in str(check.value)


def test_a_region_without_side_is_evaluated_without_one(siemens: tuple[PhantomExam, Exam], tmp_path: Path) -> None:
    phantom, exam = siemens
    regions = [(role, None, mask.voxels_zyx) for role, mask in phantom.masks.items()]
    found = run(redrawn(exam, phantom, tmp_path, regions))
    assert (found.status, found.laterality, found.sides) == ("evaluated", None, {})
    assert found.prediction is not None


def test_a_region_without_side_beside_two_sides_is_ambiguous(siemens: tuple[PhantomExam, Exam], tmp_path: Path) -> None:
    phantom, exam = siemens
    tumor, nodes = (phantom.masks[role].voxels_zyx for role in ("tumor", "lymph_nodes"))
    moved = np.roll(tumor, 20, axis=1) & ~tumor
    drawn = [("tumor", "L", tumor), ("tumor", "R", moved), ("lymph_nodes", None, nodes)]
    found = run(redrawn(exam, phantom, tmp_path, drawn))  # type: ignore[arg-type]
    assert (found.status, found.reason_codes) == ("not_evaluated", ("laterality-ambiguous",))


def test_adc_is_computed_where_there_is_no_map(siemens: tuple[PhantomExam, Exam], tmp_path: Path) -> None:
    phantom, exam = siemens
    params = tmp_path / "median.json"
    params.write_text('{"imageType": {"Original": {}}, "featureClass": {"firstorder": ["Median"]}}')
    # without N4, which scales as it likes
    uncorrected = Settings(features=Features(params=params), bias=Bias(sequences=("t1c", "t2")))
    mapped, computed = (
        analyse(one, uncorrected, Signatures.none()).result for one in (exam, without(exam, phantom.chosen["adc"]))
    )
    assert computed.sequences["adc"].computed_from_b == (0.0, 800.0)
    assert (mapped.protocol["protocol.adc_from"], computed.protocol["protocol.adc_from"]) == ("map", "dwi")
    name = "adc.tumor.original_firstorder_Median"
    assert computed.features[name] == pytest.approx(mapped.features[name], rel=0.05)


def test_only_what_the_signature_reads_gives_the_same_answer(
    siemens: tuple[PhantomExam, Exam], measured: StudyResult
) -> None:
    few = run(siemens[1], QUICK)
    assert few.prediction == measured.prediction
    assert few.features == {name: measured.features[name] for name in SIGNATURES.features}


def test_plain_calls_of_pyradiomics_give_the_same_result(
    siemens: tuple[PhantomExam, Exam], measured: StudyResult
) -> None:
    plain = run(siemens[1], SETTINGS.model_copy(update={"features": Features(engine="plain")}))
    assert plain.features == measured.features
    assert (plain.prediction, plain.settings_hash) == (measured.prediction, measured.settings_hash)


def test_sequences_outside_bias_sequences_are_left_alone(siemens: tuple[PhantomExam, Exam]) -> None:
    only_t1c = QUICK.model_copy(update={"bias": Bias(sequences=("t1c",))})
    found = analyse(siemens[1], only_t1c, Signatures.none()).result
    assert [q.check for q in found.quality if q.check.startswith("bias.")] == ["bias.t1c.iterations"]


def test_outside_what_was_trained_on_measures_and_abstains(siemens: tuple[PhantomExam, Exam]) -> None:
    strict = QUICK.model_copy(update={"signature": SignatureSettings(max_outside=0.0, max_distance=1e-6)})
    family = Signatures.from_settings(strict.signature)
    found = analyse(siemens[1], strict, family).result
    assert (found.status, found.prediction, found.reason_codes) == ("not_evaluated", None, ("outside-training",))
    assert found.signature["name"] == "demonstration@1", "the next of the family is not asked"
    assert found.features.keys() == family.features


def test_without_signature_everything_is_measured(siemens: tuple[PhantomExam, Exam]) -> None:
    every = QUICK.model_copy(update={"features": Features(set="all")})
    found = analyse(siemens[1], every, Signatures.none()).result
    assert (found.status, found.reason_codes, len(found.features)) == ("not_evaluated", ("no-signature",), ALL)
    assert found.signature == {}


def test_a_folder_is_one_exam(siemens: tuple[PhantomExam, Exam], tmp_path: Path) -> None:
    with pytest.raises(ExamRejected, match="holds no MR images"):
        exam_in(tmp_path)
    (tmp_path / "note.txt").write_text("not DICOM")
    with pytest.raises(ExamRejected, match="1 files are not readable"):
        exam_in(tmp_path)
    for seed in (1, 2):
        write_exam(tmp_path / str(seed), PhantomSpec(seed=seed, protocol=TINY))
    with pytest.raises(ExamRejected, match="several exams") as several:
        exam_in(tmp_path)
    assert several.value.code == "several-exams"
    assert analyse_folder(siemens[0].folder, QUICK).study_uid == siemens[0].study_uid


def test_the_number_of_threads_that_the_process_was_given_changes_nothing(
    siemens: tuple[PhantomExam, Exam], measured: StudyResult
) -> None:
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        found = run(siemens[1])
        assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == 1, "given back as it was"
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert found.features == {name: measured.features[name] for name in SIGNATURES.features}
