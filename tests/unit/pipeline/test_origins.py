"""Who made a region is told from its object to the signature, and a signature answers for what it was trained on."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from config.schema import RoiSettings, SignatureSettings
from daemon.assembly.basis import region_origin
from daemon.assembly.revision_rule import is_preliminary
from pipeline.catalog import Exam, facts_from_json, facts_to_json, read_facts
from pipeline.errors import FeatureRejected, InputRejected
from pipeline.features.feature_table import fill
from pipeline.records import Origin, Role
from pipeline.research.evaluation.evaluate import Questions, evaluate
from pipeline.research.tables import feature_table
from pipeline.research.training.train import train
from pipeline.result import Part, RoiSummary, StudyResult
from pipeline.roi import read
from pipeline.roi.rules import load_rules
from pipeline.signature import container
from pipeline.signature.record import Signature
from pipeline.signature.registry import Registry
from pipeline.signature.trained_origins import notes_on
from tests.support.signature_tables import FAST, frame, table, trained
from tests.support.slices import LYMPH_NODE, NEOPLASM, facts, grid, segment_item, volume, write_seg

SHAPE = (6, 8, 10)
ALL: dict[Role, Origin] = {"tumor": "measured", "lymph_nodes": "drawn"}


def made(number: int, how: str, name: str = "", kind: tuple[str, str, str] = NEOPLASM) -> Dataset:
    segment = segment_item(number, "a", kind)
    segment.SegmentAlgorithmType = how
    if name:
        segment.SegmentAlgorithmName = name
    return segment


def drawn_exam(folder: Path, *segments: Dataset) -> Path:
    """A segmentation with one block of voxels per segment."""
    masks = {}
    for n, segment in enumerate(segments):
        mask = np.zeros(SHAPE, bool)
        mask[1 + n, 2:4, 2:4] = True
        masks[int(segment.SegmentNumber)] = mask
    return write_seg(folder / "s.dcm", masks, grid(SHAPE), segments)


@pytest.mark.parametrize(
    ("how", "origin"), [("MANUAL", "drawn"), ("SEMIAUTOMATIC", "model"), ("AUTOMATIC", "model"), ("", "drawn")]
)
def test_what_a_segmentation_says_of_its_maker_is_kept_with_the_region(tmp_path: Path, how: str, origin: str) -> None:
    path = drawn_exam(tmp_path, made(1, how, "Grower 3"))
    (roi,) = read([facts(path)], volume(np.zeros(SHAPE, np.int16), grid(SHAPE)), RoiSettings())
    assert (roi.origin, roi.confirmed_by, roi.segments[0].algorithm) == (origin, None, "Grower 3")


def test_a_region_of_several_segments_is_of_the_origin_that_a_reader_had_the_least_part_in(tmp_path: Path) -> None:
    path = drawn_exam(tmp_path, made(1, "MANUAL"), made(2, "AUTOMATIC"))
    (roi,) = read([facts(path)], volume(np.zeros(SHAPE, np.int16), grid(SHAPE)), RoiSettings())
    assert (len(roi.segments), roi.origin) == (2, "model")


def test_assembly_knows_the_origin_by_the_header_alone_and_keeps_it(tmp_path: Path) -> None:
    path = drawn_exam(tmp_path, made(1, "AUTOMATIC"), made(2, "MANUAL", kind=LYMPH_NODE))
    known = facts_from_json(facts_to_json(read_facts(path)))
    exam = Exam("1.2.3", (), (known,))
    origins = {role: region_origin(exam, role, load_rules())["origin"] for role in ("tumor", "lymph_nodes")}
    assert origins == {"tumor": "model", "lymph_nodes": "drawn"}


def test_facts_of_an_earlier_version_say_nothing_and_mean_drawn(tmp_path: Path) -> None:
    document = facts_to_json(read_facts(drawn_exam(tmp_path, made(1, "AUTOMATIC"))))
    document["segments"][0].pop("algorithm_type")  # type: ignore[index]
    exam = Exam("1.2.3", (), (facts_from_json(document),))
    assert region_origin(exam, "tumor", load_rules())["origin"] == "drawn"


def test_a_result_of_an_earlier_version_has_drawn_regions() -> None:
    region = RoiSummary(source_uid="1.2", segments=(1,), voxels={"t1c": 5}, volume_mm3=5.0)
    old = StudyResult(study_uid="1.2.3", status="evaluated", rois={"tumor": region}).model_dump(by_alias=True)
    for name in ("origin", "confirmed_by"):
        assert old["rois"]["tumor"].pop(name, "absent") != "absent"
    again = StudyResult.model_validate(old)
    assert (again.rois["tumor"].origin, again.rois["tumor"].unconfirmed) == ("drawn", False)


@pytest.mark.parametrize(
    ("origin", "waits"), [("drawn", False), ("measured", True), ("model", False), ("enhancement", True)]
)
def test_only_what_axrad_proposed_waits_for_a_reader(origin: Origin, waits: bool) -> None:
    assert region(origin).unconfirmed == waits
    assert not region(origin).model_copy(update={"confirmed_by": "somebody"}).unconfirmed
    assert is_preliminary({"origin": origin, "confirmed_by": None}) == waits


def region(origin: Origin) -> RoiSummary:
    return RoiSummary(source_uid="1.2", segments=(1,), voxels={}, volume_mm3=1.0, origin=origin)


def measured_exam(one: Exam) -> StudyResult:
    """Both sides: left drawn, right with a tumour grown from measurements."""
    features = {"t1c.tumor.original_firstorder_Mean": 1.5}
    right = Part(rois={"tumor": region("measured"), "lymph_nodes": region("drawn")}, features=features)
    left = Part(rois={"tumor": region("drawn")}, features=features)
    return StudyResult(study_uid=one.study_uid, status="not_evaluated", sides={"L": left, "R": right})


def test_a_table_of_features_tells_the_origins_of_each_row(tmp_path: Path) -> None:
    fill(tmp_path / "t.csv", [Exam("1.2.1", ())], measured_exam)
    with (tmp_path / "t.csv").open(newline="") as stream:
        assert [(row["side"], row["origin"]) for row in csv.DictReader(stream)] == [
            ("L", "drawn"),
            ("R", "drawn+measured"),
        ]


@pytest.mark.parametrize(("wanted", "rows", "others"), [({"drawn"}, 1, 1), ({"drawn", "measured"}, 2, 0)])
def test_rows_of_other_origins_than_asked_for_are_left_out_and_counted(
    tmp_path: Path, wanted: set[Origin], rows: int, others: int
) -> None:
    outcome = fill(tmp_path / "t.csv", [Exam("1.2.1", ())], measured_exam, origins=wanted)
    assert (outcome.rows, outcome.other_origins, outcome.failures) == (rows, others, ())


def file_of(folder: Path, origins: list[str] | None) -> Signature:
    """A signature trained on a CSV file whose rows say who made their regions, or say nothing."""
    data = frame(40)
    if origins is not None:
        data.insert(1, "origin", [origins[i % len(origins)] for i in range(len(data))])
    data.to_csv(folder / "table.csv", index=False, lineterminator="\n")
    read_again = feature_table.read(folder / "table.csv", label="nodes", positive="R", id_column="id")
    return train(read_again, FAST)


def test_a_table_of_drawn_regions_gives_the_file_that_it_gave_before_it_said_so(tmp_path: Path) -> None:
    silent, told = file_of(tmp_path, None), file_of(tmp_path, ["drawn"])
    assert told.header.origins == ("drawn",)
    assert container.to_bytes(told) == container.to_bytes(silent)
    assert b'"origins"' not in container.to_bytes(told)


def test_a_signature_keeps_the_origins_that_it_was_trained_on(tmp_path: Path) -> None:
    made_of = file_of(tmp_path, ["drawn", "measured", "drawn+measured"])
    kept = container.save(made_of, tmp_path / "s.axsig")
    assert container.load(tmp_path / "s.axsig").header.origins == ("drawn", "measured")
    assert notes_on(kept, ALL, SignatureSettings()) == ()


def test_an_origin_that_is_none_is_refused_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(InputRejected, match=r"row 2: 'guessed' is no origin of a region"):
        file_of(tmp_path, ["drawn", "guessed"])


DRAWN = trained(frame(60))


def test_a_signature_trained_on_drawn_regions_abstains_on_others_until_the_settings_allow_them() -> None:
    with pytest.raises(FeatureRejected, match="trained on drawn regions, these are measured") as refused:
        notes_on(DRAWN, ALL, SignatureSettings(allow_origins=("model",)))
    assert refused.value.code == "other-origin"
    (note,) = notes_on(DRAWN, ALL, SignatureSettings(allow_origins=("measured",)))
    assert note.endswith("these are measured: the settings allow it")


def test_what_a_viewer_calls_semiautomatic_is_evaluated_by_default_and_the_report_says_so(tmp_path: Path) -> None:
    path = drawn_exam(tmp_path, made(1, "SEMIAUTOMATIC"))
    (roi,) = read([facts(path)], volume(np.zeros(SHAPE, np.int16), grid(SHAPE)), RoiSettings())
    (note,) = notes_on(DRAWN, {"tumor": roi.origin}, SignatureSettings())
    assert note.endswith("was trained on drawn regions, these are model-made: the settings allow it")


@pytest.mark.parametrize(
    ("origin", "settings"),
    [
        ("measured", SignatureSettings()),
        ("enhancement", SignatureSettings()),
        ("model", SignatureSettings(allow_origins=())),
    ],
)
def test_by_default_a_model_alone_is_allowed_and_a_site_may_refuse_it(
    origin: Origin, settings: SignatureSettings
) -> None:
    with pytest.raises(FeatureRejected) as refused:
        notes_on(DRAWN, {"tumor": origin}, settings)
    assert refused.value.code == "other-origin"


def test_a_region_that_the_signature_does_not_read_does_not_count() -> None:
    nodes = trained(frame(60, groups=("t1c.lymph_nodes", "t2.lymph_nodes")))
    assert notes_on(nodes, ALL, SignatureSettings()) == ()


@pytest.mark.parametrize(
    ("origin", "effect", "speaks"),
    [("measured", 1.5, True), ("drawn+measured", 1.5, True), ("drawn", 1.5, False), ("measured", 0.0, False)],
)
def test_a_recorded_evaluation_on_such_regions_lets_it_answer_if_it_speaks_for_it(
    tmp_path: Path, origin: str, effect: float, speaks: bool
) -> None:
    registry = Registry(tmp_path)
    kept = registry.load(registry.add(DRAWN))
    cohort = frame(60, effect=effect, seed=5, prefix="external").assign(origin=origin)
    registry.record(evaluate(kept, {"external": table(cohort)}, Questions(repeats=1)).facts)
    settings = SignatureSettings(registry=tmp_path)
    if speaks:
        assert notes_on(kept, ALL, settings)[0].endswith("a recorded evaluation speaks for it")
    else:
        with pytest.raises(FeatureRejected, match="no recorded evaluation"):
            notes_on(kept, ALL, settings)


def test_a_cohort_with_some_such_rows_speaks_for_none(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    kept = registry.load(registry.add(DRAWN))
    cohort = frame(60, seed=5, prefix="external").assign(origin=["drawn", "measured", "measured"] * 20)
    registry.record(evaluate(kept, {"external": table(cohort)}, Questions(repeats=1)).facts)
    with pytest.raises(FeatureRejected, match="no recorded evaluation"):
        notes_on(kept, ALL, SignatureSettings(registry=tmp_path))
