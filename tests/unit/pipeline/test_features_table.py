from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.catalog import Exam
from pipeline.errors import InputRejected, RoiRejected
from pipeline.features.feature_table import Outcome, fill
from pipeline.result import Part, StudyResult

A, B = "t1c.tumor.original_firstorder_Mean", "t2.lymph_nodes.wavelet-HLL_glcm_Idmn"


def exam(uid: str) -> Exam:
    return Exam(uid, ())


def result(uid: str, value: float = 1.5, **fields: object) -> StudyResult:
    return StudyResult(study_uid=uid, status="not_evaluated", **{"features": {A: value, B: 0.1}, **fields})  # type: ignore[arg-type]


def analyse(one: Exam) -> StudyResult:
    if one.study_uid == "1.2.9":
        raise RoiRejected("the tumour ROI is missing", code="no-tumor")
    return result(one.study_uid, float(one.study_uid.rpartition(".")[2]) / 3)


def rows_of(path: Path) -> list[dict[str, str]]:
    if path.suffix == ".parquet":
        return [{k: v for k, v in row.items() if v is not None} for row in pq.read_table(path).to_pylist()]
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(params=["features.csv", "features.parquet"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


def test_each_exam_becomes_a_row_with_exact_numbers(table: Path) -> None:
    outcome = fill(table, [exam("1.2.1"), exam("1.2.2")], analyse)
    rows = rows_of(table)
    assert [row["study_uid"] for row in rows] == ["1.2.1", "1.2.2"]
    assert [float(row[A]) for row in rows] == [1 / 3, 2 / 3]
    assert (outcome.rows, outcome.skipped, outcome.failures) == (2, 0, ())
    assert sorted(p.name for p in table.parent.iterdir()) == [table.name]


def test_a_second_run_does_only_what_is_not_in_the_table(table: Path) -> None:
    fill(table, [exam("1.2.1")], analyse)
    done: list[str] = []

    def counted(one: Exam) -> StudyResult:
        done.append(one.study_uid)
        return analyse(one)

    outcome = fill(table, [exam("1.2.1"), exam("1.2.2")], counted)
    assert done == ["1.2.2"]
    assert (outcome.rows, outcome.skipped) == (1, 1)
    assert [float(row[A]) for row in rows_of(table)] == [1 / 3, 2 / 3]


def test_one_failing_exam_stops_nothing_and_is_listed_with_its_reason(table: Path) -> None:
    outcome = fill(table, [exam("1.2.1"), exam("1.2.9"), exam("1.2.2")], analyse)
    assert len(rows_of(table)) == 2
    (failure,) = outcome.failures
    assert (failure.study_uid, failure.code) == ("1.2.9", "no-tumor")
    document = json.loads(table.with_name(table.name + ".failed.json").read_text())
    assert document["failed"][0]["reason"] == "the tumour ROI is missing"


def test_an_exam_that_failed_is_tried_again_and_the_list_goes_when_all_is_well(table: Path) -> None:
    fill(table, [exam("1.2.9")], analyse)
    assert not table.exists()
    fill(table, [exam("1.2.9")], lambda one: result(one.study_uid))
    assert len(rows_of(table)) == 1
    assert not table.with_name(table.name + ".failed.json").exists()


def test_an_error_that_nobody_foresaw_is_listed_without_its_text(tmp_path: Path) -> None:
    def broken(one: Exam) -> StudyResult:
        raise KeyError("DOE^JANE")

    outcome = fill(tmp_path / "t.csv", [exam("1.2.1")], broken)
    assert outcome.failures[0].code == "unexpected"
    assert "KeyError" in outcome.failures[0].reason
    assert "DOE" not in (tmp_path / "t.csv.failed.json").read_text()


def test_a_result_without_features_fails_with_the_results_reasons(tmp_path: Path) -> None:
    nothing = StudyResult(
        study_uid="1.2.1", status="not_evaluated", reasons=("T2 is missing",), reason_codes=("t2-missing",)
    )
    outcome = fill(tmp_path / "t.csv", [exam("1.2.1")], lambda one: nothing)
    assert (outcome.failures[0].code, outcome.failures[0].reason) == ("t2-missing", "T2 is missing")


def test_both_sides_of_an_exam_are_two_rows(table: Path) -> None:
    sides = {"L": Part(features={A: 1.0}), "R": Part(features={A: 2.0, B: 3.0}, missing_features={})}
    fill(table, [exam("1.2.1")], lambda one: result(one.study_uid, features={}, laterality="B", sides=sides))
    rows = rows_of(table)
    assert [(row["side"], float(row[A])) for row in rows] == [("L", 1.0), ("R", 2.0)]
    assert not rows[0].get(B)


def test_a_missing_feature_is_an_empty_cell_and_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    partial = {"1.2.1": result("1.2.1", features={A: 1.0}, missing_features={B: "flat"}), "1.2.2": result("1.2.2")}
    outcome = fill(path, map(exam, partial), lambda one: partial[one.study_uid])
    assert rows_of(path)[0][B] == ""
    assert outcome.incomplete == {"1.2.1": {B: "flat"}}
    assert json.loads((tmp_path / "t.csv.failed.json").read_text())["incomplete"]["1.2.1"] == {B: "flat"}


def test_columns_that_a_person_added_stay(table: Path) -> None:
    fill(table, [exam("1.2.1")], analyse)
    if table.suffix == ".csv":
        lines = table.read_text().splitlines()
        table.write_text(f"{lines[0]},label,age_years\n{lines[1]},R,61\n")
    else:
        old = pq.read_table(table)
        pq.write_table(old.append_column("label", pa.array(["R"])).append_column("age_years", pa.array([61])), table)
    fill(table, [exam("1.2.2")], analyse)
    first, second = rows_of(table)
    assert (first["label"], str(first["age_years"])) == ("R", "61")
    assert float(first[A]) == 1 / 3
    assert not second.get("label")


def test_facts_about_the_acquisition_stand_between_the_keys_and_the_features(table: Path) -> None:
    protocol = {"extraction_hash": "ab", "field_strength_t": 3.0, "manufacturer": "ACME"}
    fill(table, [exam("1.2.1")], lambda one: result(one.study_uid, protocol=protocol), extraction_hash="ab")
    (row,) = rows_of(table)
    assert [name for name in row if name != "side"] == ["study_uid", "origin", *protocol, A, B]
    assert float(row["field_strength_t"]) == 3.0


def test_rows_extracted_with_other_settings_are_not_mixed(table: Path) -> None:
    protocol = {"extraction_hash": "ab"}
    fill(table, [exam("1.2.1")], lambda one: result(one.study_uid, protocol=protocol), extraction_hash="ab")
    before = table.read_bytes()
    with pytest.raises(InputRejected, match="other settings"):
        fill(table, [exam("1.2.2")], analyse, extraction_hash="cd")
    assert table.read_bytes() == before


class Killed(BaseException):
    pass


def test_a_run_that_is_broken_off_keeps_what_it_had(table: Path) -> None:
    def until_killed(one: Exam) -> StudyResult:
        if one.study_uid == "1.2.2":
            raise Killed
        return analyse(one)

    with pytest.raises(Killed):
        fill(table, [exam("1.2.1"), exam("1.2.2")], until_killed)
    assert [row["study_uid"] for row in rows_of(table)] == ["1.2.1"]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_journal_cut_off_anywhere_loses_at_most_the_last_row(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "t.csv"
    lines = [json.dumps({"study_uid": f"1.2.{n}", "side": None, A: n / 3, B: 0.5}) + "\n" for n in (1, 2, 3)]
    cut = data.draw(st.integers(0, sum(map(len, lines))))
    path.with_name("t.csv.rows.jsonl").write_text("".join(lines)[:cut])
    whole = "".join(lines)[:cut].count("\n")
    outcome = fill(path, [exam("1.2.1"), exam("1.2.2"), exam("1.2.3")], analyse)
    assert (outcome.skipped, outcome.rows) == (whole, 3 - whole)
    assert {row["study_uid"]: float(row[A]) for row in rows_of(path)} == {f"1.2.{n}": n / 3 for n in (1, 2, 3)}


def test_a_journal_that_outlived_its_table_adds_no_row_twice(table: Path) -> None:
    fill(table, [exam("1.2.1")], analyse)
    left = json.dumps({"study_uid": "1.2.1", "side": None, A: 1 / 3, B: 0.1}) + "\n"
    table.with_name(table.name + ".rows.jsonl").write_text(left)
    fill(table, [exam("1.2.1"), exam("1.2.2")], analyse)
    assert [row["study_uid"] for row in rows_of(table)] == ["1.2.1", "1.2.2"]


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n"])
def test_another_kind_of_csv_is_not_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    if content:
        with pytest.raises(InputRejected, match="study_uid"):
            fill(path, [exam("1.2.1")], analyse)
        assert path.read_bytes() == content
    else:
        assert fill(path, [exam("1.2.1")], analyse).rows == 1


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("t.xlsx", None, r"\.csv or \.parquet"),
        ("t.parquet", b"not parquet", "not a Parquet file"),
        ("missing/t.csv", None, "no folder"),
    ],
)
def test_a_table_that_cannot_be_is_refused(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputRejected, match=reason):
        fill(tmp_path / name, [exam("1.2.1")], analyse)


def test_a_second_run_on_the_same_table_at_the_same_time_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"

    def meanwhile(one: Exam) -> StudyResult:
        with pytest.raises(InputRejected, match="Another run"):
            fill(path, [exam("1.2.2")], analyse)
        return analyse(one)

    assert fill(path, [exam("1.2.1")], meanwhile).rows == 1


def test_progress_counts_every_exam(tmp_path: Path) -> None:
    ticks: list[int] = []
    exams = [exam("1.2.1"), exam("1.2.9"), exam("1.2.2")]
    tick: Callable[[], None] = lambda: ticks.append(1)  # noqa: E731
    assert isinstance(fill(tmp_path / "t.csv", exams, analyse, tick), Outcome)
    assert len(ticks) == 3
