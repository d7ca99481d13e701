"""Every subset of sequences, regions and clinical facts: what a signature reads is answered, all else says why."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from itertools import chain, combinations, product
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from config.schema import Bias, Features, RoiSettings, Settings, SignatureSettings
from pipeline.analysis.signatures_in_use import Signatures
from pipeline.catalog import Exam, InstanceFacts, SeriesFacts, exam_in, exam_of
from pipeline.extraction_settings import settings_hash
from pipeline.features.feature_table import fill
from pipeline.needs import REGION_NAMES, SEQUENCE_TITLES
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from pipeline.records import ROLES, SEQUENCES, Sequence
from pipeline.result import Clinical, StudyResult
from pipeline.run import analyse
from tests.support.drawn import drawn_on_series, redrawn
from tests.support.signature_family import in_registry, reading

# Only what the signatures read, without N4: what is measured does not matter here.
QUICK = Settings(features=Features(set="signature"), bias=Bias(sequences=()))
# The signatures that axrad ships with, whatever an exam's values are.
SHIPPED = Settings(features=Features(set="signature"), signature=SignatureSettings(max_outside=1.0, max_distance=1e9))
FACTS = ("clinical_n",)
BOTH = ("tumor", "lymph_nodes")
NUMBERS = {"t1c": 400, "t2": 2, "adc": 4}


def groups(sequences: tuple[str, ...], roles: tuple[str, ...]) -> list[str]:
    return [f"{s}.{r}" for s in sequences for r in roles]


# In their written order: what reads more goes first.
READS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "all_n": (SEQUENCES, BOTH, FACTS),
    "all": (SEQUENCES, BOTH, ()),
    "t1c_t2": (("t1c", "t2"), BOTH, ()),
    "nodes": (SEQUENCES, ("lymph_nodes",), ()),
    "t1c": (("t1c",), BOTH, ()),
    "t2_tumor": (("t2",), ("tumor",), ()),
}


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Signatures:
    made = [reading(name, groups(s, r), facts) for name, (s, r, facts) in READS.items()]
    return in_registry(tmp_path_factory.mktemp("registry"), made)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[PhantomExam, Exam]:
    folder = tmp_path_factory.mktemp("exam")
    phantom = write_exam(folder, PhantomSpec(seed=31, preset="small", laterality="L"))
    return phantom, exam_in(folder)


def with_sequences(phantom: PhantomExam, exam: Exam, kept: tuple[str, ...]) -> Exam:
    """The exam without every series that could be one of the other sequences."""
    of = {"t1_pre": "t1c", "t1_post": "t1c", "t1_dynamic": "t1c", "subtraction": "t1c", "mip": "t1c", "dwi": "adc"}
    gone = {s.series_uid for s in phantom.series if of.get(s.label, s.label) in set(SEQUENCES) - set(kept)}
    return replace(exam, series=tuple(s for s in exam.series if s.series_uid not in gone))


def with_regions(phantom: PhantomExam, exam: Exam, folder: Path, kept: tuple[str, ...]) -> Exam:
    if not kept:
        return replace(exam, rois=())
    return redrawn(exam, phantom, folder, [(r, "L", phantom.masks[r].voxels_zyx) for r in ROLES if r in kept])


def subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    return list(chain.from_iterable(combinations(names, n) for n in range(len(names) + 1)))


def clinical(known: tuple[str, ...]) -> Clinical:
    return Clinical(
        known=dict.fromkeys(known, 1), missing={n: "the registry has no row" for n in FACTS if n not in known}
    )


@pytest.mark.parametrize(("roles", "known"), list(product(subsets(BOTH), subsets(FACTS))))
@pytest.mark.parametrize("shipped", [False, True], ids=["of-a-registry", "shipped"])
def test_exactly_what_no_signature_reads_is_not_evaluated_and_says_why(
    whole: tuple[PhantomExam, Exam],
    family: Signatures,
    tmp_path: Path,
    shipped: bool,
    roles: tuple[str, ...],
    known: tuple[str, ...],
) -> None:
    in_use, settings = (Signatures.from_settings(SHIPPED.signature), SHIPPED) if shipped else (family, QUICK)
    phantom, exam = whole
    for sequences in subsets(SEQUENCES):
        there = with_regions(phantom, with_sequences(phantom, exam, sequences), tmp_path, roles)
        found = analyse(there, settings, in_use, clinical=clinical(known)).result
        here = {*groups(sequences, roles), *known}
        able = [signature.header.title for signature in in_use.order if signature.inputs <= here]
        where = (sequences, roles, known, found.reasons)
        if able:
            assert found.prediction is not None, where
            assert found.prediction.signature == able[0], where
            assert found.signature["name"] == found.prediction.signature
            lacking = (set(SEQUENCES) - set(sequences)) | (set(ROLES) - set(roles)) | (set(FACTS) - set(known))
            assert set(found.absent) == lacking, where
            assert set(found.sequences) == set(sequences)
        else:
            assert (found.status, found.prediction) == ("not_evaluated", None), where
            assert found.reasons
            assert len(found.reasons) == len(found.reason_codes)
            assert set(SEQUENCES) - set(sequences) <= set(found.absent), where
            assert {one for reason in found.reasons for one in reason.split("; ")} <= sentences(sequences, roles), where
        assert StudyResult.from_json(found.to_json()) == found


def sentences(sequences: tuple[str, ...], roles: tuple[str, ...]) -> set[str]:
    """What may be said to be absent of an exam that has these: nothing that is there."""
    no_region = () if roles else ("there is no ROI object (DICOM SEG or RTSTRUCT) in this exam",)
    return {
        *(f"the exam has no series that could be {SEQUENCE_TITLES[s]}" for s in SEQUENCES if s not in sequences),
        *(f"{REGION_NAMES[r]} is missing" for r in ROLES if r not in roles),
        *no_region,
    }


@pytest.mark.parametrize(("kept", "source"), [(kept, source) for kept in subsets(SEQUENCES) for source in kept])
def test_a_region_is_read_on_the_grid_it_was_drawn_on(
    whole: tuple[PhantomExam, Exam], tmp_path: Path, source: Sequence, kept: tuple[str, ...]
) -> None:
    phantom, exam = whole
    there = drawn_on_series(with_sequences(phantom, exam, kept), phantom, tmp_path, phantom.chosen[source])
    found = analyse(there, QUICK, Signatures.none()).result
    assert {role: roi.drawn_on for role, roi in found.rois.items()} == dict.fromkeys(ROLES, source)
    assert set(found.alignment) == set(kept) - {source}, "relative to the grid that was drawn on"
    for roi in found.rois.values():
        assert set(roi.voxels) == set(kept)
        assert set(roi.kept_volume) == set(kept) - {source}
    distorted = [q for q in found.quality if q.check.startswith("drawn_on.") and not q.ok]
    assert bool(distorted) == (source == "adc")


def test_a_region_drawn_on_diffusion_images_passes_where_the_site_allows_it(
    whole: tuple[PhantomExam, Exam], tmp_path: Path
) -> None:
    phantom, exam = whole
    dwi = next(s.series_uid for s in phantom.series if s.label == "dwi")
    there = drawn_on_series(exam, phantom, tmp_path, dwi)
    allowed = QUICK.model_copy(update={"roi": RoiSettings(allow_drawn_on_dwi=True)})
    for settings, ok in ((QUICK, False), (allowed, True)):
        found = analyse(there, settings, Signatures.none()).result
        checks = {q.check: q.ok for q in found.quality if q.check.startswith("drawn_on.")}
        assert checks == {f"drawn_on.{role}.L": ok for role in ROLES}
        assert found.rois["tumor"].drawn_on == "adc"
    assert settings_hash(allowed) == settings_hash(Settings(bias=Bias(sequences=())))


def test_each_region_is_read_on_its_own_images(whole: tuple[PhantomExam, Exam], tmp_path: Path) -> None:
    phantom, exam = whole
    on_t1c = redrawn(exam, phantom, tmp_path, [("tumor", "L", phantom.masks["tumor"].voxels_zyx)])
    on_t2 = drawn_on_series(exam, phantom, tmp_path, phantom.chosen["t2"], roles=("lymph_nodes",))
    found = analyse(replace(exam, rois=(*on_t1c.rois, *on_t2.rois)), QUICK, Signatures.none()).result
    assert {role: roi.drawn_on for role, roi in found.rois.items()} == {"tumor": "t1c", "lymph_nodes": "t2"}
    assert all(set(roi.voxels) == set(SEQUENCES) for roi in found.rois.values())


def test_a_sequence_that_shows_no_region_is_absent_for_that_region(
    whole: tuple[PhantomExam, Exam], family: Signatures
) -> None:
    phantom, exam = whole
    apart = frame_of_reference(exam, phantom.chosen["adc"], "2.25.99")
    found = analyse(apart, QUICK, family, clinical=clinical(())).result
    assert found.prediction is not None
    assert found.prediction.signature.startswith("t1c_t2@")
    assert {"adc.tumor", "adc.lymph_nodes"} <= set(found.absent)
    assert "frames of reference" in found.absent["adc.tumor"]


def test_a_series_that_cannot_be_read_stops_only_what_would_be_asked_first(
    whole: tuple[PhantomExam, Exam], family: Signatures, tmp_path_factory: pytest.TempPathFactory
) -> None:
    phantom, exam = whole
    broken = without_files(exam, phantom.chosen["adc"])
    found = analyse(broken, QUICK, family, clinical=clinical(())).result
    assert (found.prediction, found.reason_codes) == (None, ("not-dicom",)), "it is there: nobody answers without it"
    t1c = in_registry(tmp_path_factory.mktemp("t1c"), [reading("t1c", groups(("t1c",), BOTH))])
    found = analyse(broken, QUICK, t1c).result
    assert found.prediction is not None
    assert set(found.absent) == {"adc"}


def test_two_series_that_could_both_be_t2_leave_the_answer_to_who_reads_no_t2(
    whole: tuple[PhantomExam, Exam], family: Signatures
) -> None:
    phantom, exam = whole
    t2 = next(s for s in exam.series if s.series_uid == phantom.chosen["t2"])
    twins = []
    for n, instance in enumerate(t2.instances):
        ref = replace(instance.ref, series_uid="2.25.4242", sop_instance_uid=f"2.25.4242.{n}")
        named = {"SeriesDescription": f"{instance.tags['SeriesDescription']} b", "ProtocolName": "b"}
        twins.append(replace(instance, ref=ref, tags={**instance.tags, **named}))
    everything = [i for s in exam.series for i in s.instances] + [*exam.rois, *twins]
    found = analyse(exam_of(exam.study_uid, everything), QUICK, family, clinical=clinical(())).result
    assert found.prediction is not None
    assert found.prediction.signature.startswith("t1c@")
    assert "too close to call" in found.absent["t2"]


def test_each_side_names_the_signature_that_answered_it(
    whole: tuple[PhantomExam, Exam], family: Signatures, tmp_path: Path
) -> None:
    phantom, exam = whole
    tumor, nodes = (phantom.masks[role].voxels_zyx for role in ROLES)
    right = np.roll(nodes, -4, axis=1) & ~nodes
    regions = [("tumor", "L", tumor), ("lymph_nodes", "L", nodes), ("lymph_nodes", "R", right)]
    both = redrawn(exam, phantom, tmp_path, regions)
    found = analyse(both, QUICK, family, clinical=clinical(FACTS)).result
    assert {side: part.signature["name"].partition("@")[0] for side, part in found.sides.items()} == {
        "L": "all_n",
        "R": "nodes",
    }
    assert {side: set(part.absent) for side, part in found.sides.items()} == {"L": set(), "R": {"tumor"}}
    assert found.absent == {}


def test_an_exam_without_diffusion_has_a_row_with_empty_columns(
    whole: tuple[PhantomExam, Exam], tmp_path: Path
) -> None:
    phantom, exam = whole
    params = tmp_path / "median.json"
    params.write_text('{"imageType": {"Original": {}}, "featureClass": {"firstorder": ["Median"]}}')
    settings = Settings(features=Features(params=params), bias=Bias(sequences=()))
    few = replace(with_sequences(phantom, exam, ("t1c", "t2")), study_uid="1.2.3")
    one = with_regions(phantom, replace(exam, study_uid="1.2.4"), tmp_path, ("tumor",))

    def measured(exams: list[Exam], name: str) -> list[dict[str, str]]:
        table = tmp_path / name
        outcome = fill(table, exams, lambda each: analyse(each, settings, Signatures.none()).result)
        assert (outcome.rows, outcome.failures) == (len(exams), ())
        with table.open(newline="") as stream:
            return list(csv.DictReader(stream))

    every = [f"{s}.{r}.original_firstorder_Median" for s in SEQUENCES for r in ROLES]
    (alone,) = measured([few], "alone.csv")
    assert [name for name in every if not alone[name]] == [name for name in every if name.startswith("adc.")]
    rows = measured([exam, few, one], "three.csv")
    assert [[name for name in every if not row[name]] for row in rows] == [
        [],
        [name for name in every if name.startswith("adc.")],
        [name for name in every if ".lymph_nodes." in name],
    ]
    assert {name: rows[0][name] for name in every if rows[1][name]} == {n: rows[1][n] for n in every if rows[1][n]}


def frame_of_reference(exam: Exam, series_uid: str, uid: str) -> Exam:
    """The exam with the files of one series in another frame of reference."""

    def moved(instance: InstanceFacts) -> InstanceFacts:
        assert instance.path is not None
        ds = dcmread(instance.path)
        ds.FrameOfReferenceUID = uid
        path = instance.path.with_suffix(".moved")
        ds.save_as(path)
        return replace(instance, path=path, frame_of_reference_uid=uid)

    return with_instances(exam, series_uid, moved)


def without_files(exam: Exam, series_uid: str) -> Exam:
    return with_instances(exam, series_uid, lambda instance: replace(instance, path=Path("gone.dcm")))


def with_instances(exam: Exam, series_uid: str, change: Callable[[InstanceFacts], InstanceFacts]) -> Exam:
    def changed(series: SeriesFacts) -> SeriesFacts:
        if series.series_uid != series_uid:
            return series
        return replace(series, instances=tuple(change(i) for i in series.instances))

    return replace(exam, series=tuple(changed(s) for s in exam.series))
