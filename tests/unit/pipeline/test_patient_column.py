"""Which rows of a table are of one patient, under a key that those who pool tables share."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest

from pipeline.catalog import Exam, InstanceFacts, exam_of, patient_key
from pipeline.errors import InputRejected
from pipeline.features.feature_table import fill
from pipeline.features.patient_column import PUBLIC, key_from, public_key
from pipeline.research.tables.reading import read_frame
from pipeline.result import StudyResult
from tests.support.facts import image

KEY = key_from(b"shared between sites, by agreement\n", "key")


def exam(study: str, *patients: str) -> Exam:
    images: list[InstanceFacts] = [image(f"{study}.1", n, study, patient) for n, patient in enumerate(patients)]
    return exam_of(study, images)


def result(one: Exam) -> StudyResult:
    features = {"t1c.tumor.original_shape_Sphericity": 0.5}
    return StudyResult(study_uid=one.study_uid, revision=1, status="not_evaluated", features=features)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_exams_of_a_patient_have_one_key_and_its_id_stands_beside_it(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    fill(table, [exam("1.1", "P1"), exam("1.2", "P2"), exam("1.3", "P1")], result, patients=KEY)
    first, second, third = rows(table)
    assert first["patient_key"] == third["patient_key"] != second["patient_key"]
    assert {row["patient_key_id"] for row in rows(table)} == {KEY.id}
    assert "P1" not in table.read_text()
    assert patient_key("P1", "") not in table.read_text()


def test_two_sites_with_one_key_find_their_common_patient_and_with_others_do_not(tmp_path: Path) -> None:
    other = key_from(b"another key of 16 bytes or more", "other")
    digests = []
    for name, key in (("a", KEY), ("b", key_from(b"shared between sites, by agreement", "copy")), ("c", other)):
        fill(tmp_path / f"{name}.csv", [exam(f"1.{ord(name)}", "P1")], result, patients=key)
        digests.append(rows(tmp_path / f"{name}.csv")[0]["patient_key"])
    assert digests[0] == digests[1] != digests[2]


def test_without_a_key_the_salt_is_public_and_says_so(tmp_path: Path) -> None:
    fill(tmp_path / "t.csv", [exam("1.1", "P1")], result, patients=public_key())
    (row,) = rows(tmp_path / "t.csv")
    assert row["patient_key_id"] == PUBLIC == "public-1"
    assert row["patient_key"] == public_key().of(patient_key("P1", "")), "as it was documented, for ever"
    assert row["patient_key"] == "07f7d2a9bbd7c1fdaa1f49e534d1d40a"


def test_an_exam_of_nobody_or_of_two_has_no_patient(tmp_path: Path) -> None:
    fill(tmp_path / "t.csv", [exam("1.1", ""), exam("1.2", "P1", "P2")], result, patients=KEY)
    assert [row["patient_key"] for row in rows(tmp_path / "t.csv")] == ["", ""]


def test_rows_under_another_key_are_not_mixed_in(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    fill(table, [exam("1.1", "P1")], result, patients=KEY)
    with pytest.raises(InputRejected, match=f"under the key {KEY.id}, not public-1"):
        fill(table, [exam("1.2", "P1")], result, patients=public_key())
    old = tmp_path / "old.csv"
    fill(old, [exam("1.1", "P1")], result)
    fill(old, [exam("1.2", "P1")], result, patients=KEY)
    assert [row["patient_key_id"] for row in rows(old)] == ["", KEY.id], "a table of before goes on"


def test_the_key_is_long_enough_and_never_shown() -> None:
    with pytest.raises(InputRejected, match="at least 16 characters"):
        key_from(b"short", "key")
    assert "shared" not in repr(KEY)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_has_one_name_whatever_the_key(tmp_path: Path, suffix: str) -> None:
    names = set()
    for name, key in (("a", KEY), ("b", public_key())):
        table = tmp_path / f"{name}{suffix}"
        fill(table, [exam("1.1", "P1"), exam("1.2", '=P"2')], result, patients=key)
        names.add(read_frame(table)[1])
    assert len(names) == 1
    without = tmp_path / f"without{suffix}"
    fill(without, [exam("1.1", "P1"), exam("1.2", '=P"2')], result)
    if suffix == ".csv":
        assert names == {read_frame(without)[1]}, "that of the table of an axrad without these columns"
    frame = pd.read_csv(tmp_path / f"a{suffix}") if suffix == ".csv" else pd.read_parquet(tmp_path / f"a{suffix}")
    frame["t1c.tumor.original_shape_Sphericity"] += 1
    changed = tmp_path / f"changed{suffix}"
    frame.to_csv(changed, index=False) if suffix == ".csv" else frame.to_parquet(changed, index=False)
    assert read_frame(changed)[1] not in names
