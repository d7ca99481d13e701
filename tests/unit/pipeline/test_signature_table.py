"""Wrong tables are refused, and the rows and columns are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from config.schema import Settings
from pipeline.errors import InputRejected
from pipeline.research.tables import design
from pipeline.research.tables.feature_table import read
from tests.support.signature_tables import FAST, clinical, feature, frame, table, trained

A = feature(0)


def _written(data: pd.DataFrame, folder: Path, encoding: str = "utf-8") -> Path:
    path = folder / "table.csv"
    path.write_bytes(data.to_csv(index=False).encode(encoding))
    return path


def test_a_csv_is_read_to_the_last_digit(tmp_path: Path) -> None:
    data = frame()
    found = read(_written(data, tmp_path), label="nodes", positive="R")
    np.testing.assert_array_equal(found.features[:, found.columns.index(A)], data[A])
    assert found.negative_value == "N"


@pytest.mark.parametrize(("column", "taken"), [("patient_id", True), ("study_uid", True), ("id", False)])
def test_only_a_column_that_names_patients_or_exams_is_taken_for_the_id(column: str, taken: bool) -> None:
    found = table(frame().rename(columns={"id": column}), id_column=None)
    assert (found.id_column == column) == taken


def test_a_parquet_table_is_read_alike(tmp_path: Path) -> None:
    data = frame()
    data.to_parquet(tmp_path / "t.parquet")
    found = read(tmp_path / "t.parquet", label="nodes", positive="R")
    np.testing.assert_array_equal(found.features, table(data).features)


def test_numeric_labels_are_one_value_however_they_are_written(tmp_path: Path) -> None:
    data = frame().assign(nodes=lambda d: np.where(d["nodes"] == "R", "1.0", "0.0"))
    found = read(_written(data, tmp_path), label="nodes", positive="1")
    assert found.positive.tolist() == [i % 2 == 0 for i in range(60)]


def test_ids_keep_their_leading_zeros(tmp_path: Path) -> None:
    data = frame().assign(id=[f"{i:04d}" for i in range(60)])
    assert read(_written(data, tmp_path), label="nodes", positive="R", id_column="id").ids[7] == "0007"


def test_gb18030_headers_are_read_and_named_in_the_refusal(tmp_path: Path) -> None:
    path = _written(frame().rename(columns={A: "临床N分期"}), tmp_path, "gb18030")
    with pytest.raises(InputRejected, match="column names that are not ours: 临床N分期"):
        read(path, label="nodes", positive="R")


def test_published_tables_pass_only_when_foreign_columns_are_asked_for(tmp_path: Path) -> None:
    path = _written(frame().rename(columns={A: "TT1C62"}), tmp_path)
    with pytest.raises(InputRejected, match="TT1C62"):
        read(path, label="nodes", positive="R")
    assert "TT1C62" in read(path, label="nodes", positive="R", foreign_columns=True).columns


def test_a_feature_that_the_extraction_does_not_make_is_refused_with_the_name_that_it_does_make() -> None:
    wrong = ["t1c.tumor.wavelet_LLL_firstorder_Mean", "t2.tumor.log-sigma-1-0-mm-3D_firstorder_Mean"]
    data = frame().assign(**dict.fromkeys(wrong, 1.0))
    with pytest.raises(InputRejected, match="features that the configured extraction does not make") as refused:
        table(data, settings=Settings())
    assert f"{wrong[0]} (did you mean t1c.tumor.wavelet-LLL_firstorder_Mean?), {wrong[1]}." in refused.value.message
    assert set(table(data, foreign_columns=True, settings=Settings()).columns) > set(wrong)


def test_a_misspelt_column_is_met_with_the_nearest_name() -> None:
    with pytest.raises(InputRejected, match=r"age_year \(did you mean age_years\?\)"):
        table(frame().assign(age_year=50))


def test_a_column_can_be_left_out_by_name() -> None:
    assert "remark" not in table(frame().assign(remark="x"), ignore=["remark"]).others


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.assign(nodes="R"), "only R"),
        (lambda d: d.assign(nodes="N"), "no case is R"),
        (lambda d: d.drop(columns="nodes"), "missing columns: nodes"),
        (lambda d: d.assign(nodes=[*d["nodes"][:-1], ""]), "no label in rows 60"),
        (lambda d: d.assign(nodes=[*d["nodes"][:-1], "maybe"]), "maybe"),
        (lambda d: d.assign(id=[*d["id"][:-1], "case3"]), "same id in column id in rows 4 and 60"),
        (lambda d: d.assign(id=[*d["id"][:-1], ""]), "no id in column id in rows 60"),
        (lambda d: d.assign(**{A: ["x", *d[A][1:].astype(str)]}), f"row 1 {A} = 'x'"),
        (lambda d: d.assign(**{A: [np.inf, *d[A][1:]]}), f"infinite values: row 1 {A}"),
        (lambda d: d.assign(**{A: [-1e71, *d[A][1:]]}), f"whose variance is no number: row 1 {A} = '-1e+71'"),
        (lambda d: d.assign(extraction_hash=["a"] * 30 + ["b"] * 30), "2 different settings"),
        (lambda d: pd.concat([d, d[[A]]], axis=1), f"columns that occur twice: {A}"),
    ],
)
def test_a_wrong_table_is_refused_with_what_is_wrong(change: object, message: str) -> None:
    with pytest.raises(InputRejected, match=message.replace("(", r"\(").replace("+", r"\+")):
        table(change(frame()))


def test_labels_outside_the_vocabulary_are_refused_with_their_rows() -> None:
    data = frame().assign(nodes=lambda d: [*d["nodes"][:-1], "maybe"])
    with pytest.raises(InputRejected, match=r"labels maybe are not in the vocabulary \(R, N\): rows 60"):
        table(data, negative="N")


def test_missing_values_are_refused_with_rows_and_columns() -> None:
    data = frame()
    data.loc[4, A] = np.nan
    with pytest.raises(InputRejected, match=rf"1 of 60 cases have missing values: rows 5; columns {A}"):
        trained(data)


def test_complete_cases_are_counted_and_nothing_is_imputed() -> None:
    data = frame()
    data.loc[[4, 9], A] = np.nan
    recipe = FAST.model_copy(update={"complete_cases": True})
    signature = trained(data, recipe)
    assert signature.header.incomplete_cases_left_out == 2
    assert signature.header.positives + signature.header.negatives == 58
    rest = trained(data.drop(index=[4, 9]), recipe)
    np.testing.assert_array_equal(signature.array("z_mean"), rest.array("z_mean"))


def test_fewer_cases_than_folds_are_refused() -> None:
    data = frame(cases=60)
    few = pd.concat([data[data["nodes"] == "N"], data[data["nodes"] == "R"][:4]])
    with pytest.raises(InputRejected, match="4 cases in the smaller class are fewer than 5 folds"):
        trained(few)


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("clinical_t", "T9", "row 2: clinical_t: 'T9' is no stage"),
        ("age_years", "150", "row 2: age_years: '150' is not in 0..120"),
        ("ki67_percent", "many", "row 2: ki67_percent"),
        ("molecular_subtype", "D", "row 2: molecular_subtype: 'D' is no molecular subtype"),
    ],
)
def test_a_clinical_cell_that_cannot_be_read_is_refused_with_its_row(column: str, cell: str, message: str) -> None:
    data = clinical(frame()).astype({column: object})
    data.loc[1, column] = cell
    with pytest.raises(InputRejected, match=message):
        design.for_training(table(data), FAST.model_copy(update={"clinical": (column,)}))


@pytest.mark.parametrize(("cell", "stage"), [("T1c", 1), ("cT2", 2), ("3", 3), ("N1mi", 1), ("ypN0(sn)", 0), (2.0, 2)])
def test_stages_are_read_however_they_are_written(cell: object, stage: int) -> None:
    from pipeline.signature.names import clinical_number

    assert clinical_number("clinical_t", cell) == stage


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    for content in (b"", b"\xff\xfe\x00\x81", b"id,nodes\n1\n"):
        path.write_bytes(content)
        with pytest.raises(InputRejected):
            read(path, label="nodes", positive="R")
    with pytest.raises(InputRejected, match="cannot read the table"):
        read(tmp_path / "none.csv", label="nodes", positive="R")


@pytest.mark.parametrize("values", [(1.0, 0.0), (0.0, 1.0), (7.25, -3.0)])
def test_a_candidate_that_is_the_label_under_another_name_is_refused(values: tuple[float, float]) -> None:
    data = frame(20)
    copied = data.assign(**{feature(3): np.where(data["nodes"] == "R", *values)})
    with pytest.raises(InputRejected, match=f"{feature(3)} tells the label in every case") as refused:
        design.for_training(table(copied), FAST)
    assert refused.value.code == "label-leak"
    copied.loc[4, feature(3)] = 0.5
    design.for_training(table(copied), FAST)


def test_wrong_clinical_cells_of_one_kind_are_told_once_with_their_rows() -> None:
    data = clinical(frame(20)).assign(molecular_subtype=["Luminal", "TNBC"] * 10, ki67_percent=["<5", *["20"] * 19])
    recipe = FAST.model_copy(update={"clinical": ("molecular_subtype", "ki67_percent")})
    with pytest.raises(InputRejected) as refused:
        design.for_training(table(data), recipe)
    assert refused.value.message == (
        "table.csv, rows 1, 3, 5, 7, 9, 11, 13, 15, 17, 19: molecular_subtype: 'Luminal' is no molecular subtype; "
        "row 1: ki67_percent: '<5' is no number: a bound, not a value"
    )
