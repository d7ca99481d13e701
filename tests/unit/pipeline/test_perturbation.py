"""Exams measured again with region and image perturbed: what is drawn, how far features agree, what is written."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from config.schema import Features, Settings, Work
from daemon.cli.extract import extract
from pipeline.errors import InputRejected
from pipeline.features import classes, repeats
from pipeline.features.intraclass import one_way, two_way
from pipeline.features.paired_tables import paired_stability
from pipeline.features.perturbation import KINDS, LARGEST_CHANGE, noise_level, original
from pipeline.features.region import Refusal
from pipeline.features.repeats import KEYS, Repeats, kind_of, perturbed_features
from pipeline.phantom import PhantomSpec, write_exam
from pipeline.records import Mask, Volume
from tests.support.radiomics import noise, region, volume

S = np.s_
# Six targets and four judges: table 2 of Shrout and Fleiss, 1979.
JUDGED = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)[
    :, :, None
]


def test_the_coefficients_are_those_of_shrout_and_fleiss_with_their_intervals() -> None:
    one, two = one_way(JUDGED), two_way(JUDGED)
    assert (one.value[0], one.low[0], one.high[0]) == pytest.approx((0.166, -0.133, 0.723), abs=1e-3)
    assert (two.value[0], two.low[0], two.high[0]) == pytest.approx((0.290, 0.019, 0.761), abs=1e-3)


def test_perfect_agreement_is_one_and_what_does_not_vary_has_no_coefficient() -> None:
    values = np.stack([np.repeat(np.arange(5.0)[:, None], 3, 1), np.full((5, 3), 2.0)], axis=2)
    for made in (one_way(values), two_way(values)):
        assert (made.value[0], made.low[0], made.high[0]) == (1.0, 1.0, 1.0)
        assert np.isnan(made.value[1])


@pytest.mark.parametrize("constant", [0.1, 1 / 3, 1e9 + 0.1, -7.7e-5])
@pytest.mark.parametrize("shape", [(3, 2), (7, 17), (10, 31)])
def test_the_rounding_of_a_mean_is_no_agreement(constant: float, shape: tuple[int, int]) -> None:
    values = np.full((*shape, 1), constant)
    assert np.isnan(one_way(values).value).all()
    assert np.isnan(two_way(values).value).all()
    same = values * np.arange(1, shape[0] + 1)[:, None, None]
    assert (two_way(same).value, two_way(same).low, two_way(same).high) == (1, 1, 1)


def test_a_reader_who_always_measures_more_agrees_less_than_chance_alone_would_say() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(40, 1, 1))
    fair = truth + rng.normal(size=(40, 2, 1)) * 0.1
    assert two_way(fair).value[0] > 0.95
    assert two_way(fair + np.array([0.0, 2.0])[None, :, None]).value[0] < 0.5


def one_roi(seed: int = 0) -> tuple[Volume, Mask]:
    image = volume(noise((18, 34, 36), np.float32, seed=seed), (0.8, 0.7, 2.0))
    return image, region(image, S[5:12, 10:22, 11:24], holes=0.05, seed=seed)


@trying(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(KINDS), st.integers(0, 3))
def test_a_perturbation_is_drawn_from_its_seed_and_stays_near_the_region(seed: int, kind: str, image_seed: int) -> None:
    image, mask = one_roi(image_seed)
    drawn = [original(image, mask).perturbed(kind, np.random.default_rng(seed)) for _ in range(2)]  # type: ignore[arg-type]
    (voxels, inside), (again, twice) = drawn
    assert (voxels.voxels_zyx == again.voxels_zyx).all()
    assert (inside.voxels_zyx == twice.voxels_zyx).all()
    assert inside.voxels_zyx.any()
    overlap = 2 * (inside.voxels_zyx & mask.voxels_zyx).sum() / (inside.voxels + mask.voxels)
    assert overlap > 0.6
    assert (voxels.voxels_zyx is image.voxels_zyx) == (kind in ("contour", "volume"))
    if kind == "volume":
        assert abs(inside.voxels / mask.voxels - 1) <= LARGEST_CHANGE + 1e-3
    if kind == "noise":
        assert (inside.voxels_zyx == mask.voxels_zyx).all()


def test_noise_is_as_much_as_the_image_has_whatever_anatomy_lies_under_it() -> None:
    anatomy = np.add.outer(np.arange(12.0) * 30, np.add.outer(np.arange(60.0) * 8, np.arange(60.0) * 5))
    rng = np.random.default_rng(0)
    assert noise_level(anatomy + rng.normal(0, 7.0, anatomy.shape)) == pytest.approx(7.0, rel=0.05)


def test_a_region_that_is_refused_is_not_perturbed() -> None:
    image, _ = one_roi()
    alone = region(image, S[3:4, 3:4, 3:4])
    with pytest.raises(Refusal):
        original(image, alone)
    rows = list(perturbed_features("1.2", "L", {"t1c": image}, {("t1c", "tumor"): alone}, Features(), 1))
    assert [set(row) for row in rows] == [set(KEYS)] * 2


PLACES = {"inside": S[5:8, 18:27, 17:25], "a corner": S[0:3, 0:8, 30:38], "a whole axis": S[0:12, 14:20, 15:24]}


@pytest.mark.parametrize("place", PLACES)
def test_what_lies_far_from_the_region_is_not_read_and_changes_no_bit(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = volume(noise((12, 40, 38), np.float32), (0.8, 0.7, 2.0))
    mask = region(image, PLACES[place], holes=0.1)

    def rows() -> list[dict[str, object]]:
        return list(perturbed_features("1.2", "L", {"t1c": image}, {("t1c", "tumor"): mask}, Features(), 4))

    cut = rows()
    monkeypatch.setattr(repeats, "_around", lambda volume, mask, *_: (volume, mask))
    assert cut == rows()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "few.toml"
    path.write_text(
        "[imageType]\nOriginal = {}\n[featureClass]\nshape = ['VoxelVolume']\nfirstorder = ['Mean', 'Range']\n"
    )
    return Settings(features=Features(params=path), work=Work(threads=1))


def _exams(repeats: Repeats, studies: range) -> None:
    with repeats:
        for study in studies:
            with repeats.of(f"1.2.{study}") as measure:
                assert measure is not None
                image, mask = one_roi(study)
                measure("L", {"t1c": image}, {("t1c", "tumor"): mask})


def test_shape_is_not_measured_again_where_only_the_image_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    image, mask = one_roi()
    measured, real = [], classes.shape
    monkeypatch.setattr(classes, "shape", lambda *args: measured.append(args) or real(*args))
    rows = list(perturbed_features("1.2", "L", {"t1c": image}, {("t1c", "tumor"): mask}, Features(), 4))
    assert len(measured) == 4
    assert [rows[0][n] == rows[4][n] for n in rows[0] if "_shape_" in n] == [True] * 14


def test_rows_and_coefficients_are_written_and_work_resumes(tmp_path: Path, settings: Settings) -> None:
    import pyarrow.parquet as pq

    whole, parts = Repeats(tmp_path / "whole.csv", settings, 8), Repeats(tmp_path / "parts.csv", settings, 8)
    _exams(whole, range(4))
    parts.table.touch()
    _exams(parts, range(2))
    _exams(Repeats(tmp_path / "parts.csv", settings, 8), range(1, 4))  # the second exam is done twice
    rows = pq.read_table(whole.path).to_pylist()
    assert sorted(map(str, rows)) == sorted(map(str, pq.read_table(parts.path).to_pylist()))
    assert len(rows) == 4 * 9
    assert [row["kind"] for row in rows[:9]] == ["none", *(kind_of(n) for n in range(1, 9))]
    assert whole.stability.read_bytes() == parts.stability.read_bytes()
    with whole.stability.open() as stream:
        reader = csv.DictReader(stream)
        table = {row["feature"]: row for row in reader}
    assert reader.line_num == 1 + len(table) == 1 + 3  # a feature has one row
    assert (reader.fieldnames or [])[:5] == ["feature", "icc", "icc_low", "icc_high", "n"]
    volume = table["t1c.tumor.original_shape_VoxelVolume"]
    assert (volume["icc_noise"], volume["n_noise"], volume["n"], volume["repeats"]) == ("1.0000", "4", "4", "9")
    assert float(volume["icc_low"]) < float(volume["icc"]) < float(volume["icc_high"]) <= 1
    assert float(volume["icc_volume"]) < 1
    assert all(
        volume[f"icc_{kind}"] and not volume[f"icc_{other}"] for kind in KINDS for other in ("readers", "retest")
    )
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith("whole")) == [
        "whole.csv.perturbed.parquet", "whole.csv.stability.csv",
    ]  # fmt: skip


def test_an_exam_that_fails_leaves_no_rows_and_without_perturbations_nothing_is_written(
    tmp_path: Path, settings: Settings
) -> None:
    repeats = Repeats(tmp_path / "t.csv", settings, 2)
    image, mask = one_roi()

    def fail() -> None:
        with repeats, repeats.of("1.2") as measure:
            assert measure is not None
            measure(None, {"t1c": image}, {("t1c", "tumor"): mask})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert repeats.rows == []
    with Repeats(tmp_path / "t.csv", settings, 0) as none, none.of("1.2") as measure:
        assert measure is None
    assert list(tmp_path.glob("t.csv*")) == []


def test_rows_of_an_earlier_run_do_not_count_for_what_is_done_anew(tmp_path: Path, settings: Settings) -> None:
    import pyarrow.parquet as pq

    table = tmp_path / "t.csv"
    _exams(Repeats(table, settings, 4), range(2))
    table.touch()
    _exams(again := Repeats(table, settings, 2), range(1))
    assert Counter(row["study_uid"] for row in pq.read_table(again.path).to_pylist()) == {"1.2.0": 3, "1.2.1": 5}
    table.unlink()
    _exams(anew := Repeats(table, settings, 2), range(2, 3))
    assert {row["study_uid"] for row in pq.read_table(anew.path).to_pylist()} == {"1.2.2"}


def test_a_run_that_was_killed_twice_while_it_wrote_goes_on(tmp_path: Path, settings: Settings) -> None:
    table = tmp_path / "t.csv"
    table.touch()
    _exams(whole := Repeats(table, settings, 1), range(1))
    row, journal = json.dumps(whole.rows[0]), tmp_path / "t.csv.perturbed.jsonl"
    for _ in range(2):
        with journal.open("a") as stream:
            stream.write(row[:40])
        Repeats(table, settings, 1).__enter__()
        with journal.open("a") as stream:
            stream.write(row + "\n")
    assert len(Repeats(table, settings, 1).__enter__().rows) == 2 + 2


@pytest.mark.parametrize("name", ["t.csv.perturbed.parquet", "t.csv.perturbed.jsonl"])
def test_a_damaged_file_of_perturbations_is_refused(tmp_path: Path, settings: Settings, name: str) -> None:
    (tmp_path / "t.csv").touch()
    (tmp_path / name).write_bytes(b"\xff no table\n")
    with pytest.raises(InputRejected, match="is no table of perturbations"):
        Repeats(tmp_path / "t.csv", settings, 1).__enter__()


def test_the_command_measures_each_exam_again(tmp_path: Path, settings: Settings) -> None:
    import pyarrow.parquet as pq

    write_exam(tmp_path / "exam", PhantomSpec(seed=22, preset="small", laterality="L"))
    config, table = tmp_path / "axrad.toml", tmp_path / "t.csv"
    config.write_text(f'[features]\nparams = "{settings.features.params}"\n[bias]\nsequences = []\n')
    asked = [str(tmp_path / "exam"), "--out", str(table), "--config", str(config), "--perturb", "4"]
    done = CliRunner().invoke(extract, asked)
    assert done.exit_code == 0, done.output
    rows = pq.read_table(f"{table}.perturbed.parquet").to_pylist()
    assert [row["kind"] for row in rows] == ["none", *KINDS]
    with table.open() as stream:
        (exam,) = csv.DictReader(stream)
    features = set(rows[0]) - set(KEYS)
    assert len(features) == 6 * 3
    assert {name: float(exam[name]) for name in features} == {name: rows[0][name] for name in features}
    with Path(f"{table}.stability.csv").open() as stream:
        agreement = {row["feature"]: (row["icc"], row["n"]) for row in csv.DictReader(stream)}
    assert agreement == dict.fromkeys(features, ("", "1"))  # one exam has nothing to be compared with


@pytest.mark.parametrize("wrong", [["--image", "EXAM", "--mask", "EXAM"], ["--out", "t.csv", "--origin", "drawn"]])
def test_perturbations_are_of_a_table_of_all_exams(tmp_path: Path, wrong: list[str]) -> None:
    (tmp_path / "a").touch()
    arguments = [str(tmp_path / "a") if word == "EXAM" else word for word in wrong]
    paths = [] if "--image" in wrong else [str(tmp_path / "a")]
    done = CliRunner().invoke(extract, [*paths, *arguments, "--perturb", "3"])
    assert done.exit_code == 2
    assert "--perturb" in done.output


def written(path: Path, shift: float, noise_of: float, **columns: list[str]) -> Path:
    rng = np.random.default_rng(4)
    truth = np.linspace(0, 9, 12)
    lines = ["study_uid,side,patient_key,t1c.tumor.original_firstorder_Mean,t1c.tumor.original_firstorder_Range"]
    for number, value in enumerate(truth):
        study, patient = columns.get("studies", [])[number : number + 1] or [f"1.2.{number}"], f"p{number}"
        cells = [value + shift + rng.normal() * noise_of, "" if number == 0 else value]
        lines.append(",".join(map(str, [*study, "L", patient, *cells])))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_readers_and_a_second_scan_stand_in_the_same_report(tmp_path: Path, settings: Settings) -> None:
    table = written(tmp_path / "a.csv", 0, 0)
    reader = written(tmp_path / "b.csv", 4, 0)
    again = written(tmp_path / "c.csv", 0, 0.3, studies=[f"1.9.{n}" for n in range(12)])
    with Repeats(table, settings, 0, {"readers": reader, "retest": again}) as repeats:
        pass
    with repeats.stability.open() as stream:
        rows = {row["feature"].rpartition("_")[2]: row for row in csv.DictReader(stream)}
    assert float(rows["Mean"]["icc_readers"]) < 0.6  # one reader measures more, always
    assert float(rows["Mean"]["icc_retest"]) > 0.95
    assert (rows["Range"]["icc_readers"], rows["Range"]["n_readers"]) == ("1.0000", "11")
    assert {row["icc"] for row in rows.values()} == {""}  # nothing was perturbed


def test_tables_that_cannot_be_paired_are_refused(tmp_path: Path) -> None:
    table = written(tmp_path / "a.csv", 0, 0)
    strangers = written(tmp_path / "b.csv", 0, 0, studies=[f"1.9.{n}" for n in range(12)])
    twice = written(tmp_path / "c.csv", 0, 0, studies=["1.2.0"] * 12)
    for other, words in ((strangers, "have 0 rows of the same study_uid and side"), (twice, "two rows have the same")):
        with pytest.raises(InputRejected, match=words):
            list(paired_stability(table, other, "readers"))
