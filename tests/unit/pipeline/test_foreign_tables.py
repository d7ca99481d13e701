"""Tables as other programs write them either read equal, or are refused with file, row and column."""

from __future__ import annotations

import csv
import io
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.schema import Settings
from pipeline.errors import InputRejected
from pipeline.research.tables import design
from pipeline.research.tables.column_map import NOTHING, ColumnMap, read_map
from pipeline.research.tables.feature_table import Table, read
from pipeline.research.tables.separated import text_of
from pipeline.signature.names import clinical_category, clinical_number
from tests.support.signature_tables import FAST, feature

TITLES = ("case_id", "nodes", feature(0), feature(1), "age_years", "site")
ROWS = (
    ("007", "R", "0.5", "-1.25e-3", "51.5", "Köln"),
    ("8", "N", "12.125", "3", "62", "Köln"),
    ("9", "R", "", "1234.5", "", "上海"),
    ("a,b;c", "N", "0.001", "7.75", "48.25", 'the "old" one'),
)


@dataclass(frozen=True)
class Writing:
    """How a program writes a table."""

    separator: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    line_end: str = "\n"
    all_quoted: bool = False
    spaces_in_titles: bool = False
    row_names: str = ""
    empty_end: int = 0
    empty_column: bool = False
    separator_line: bool = False
    missing: str = ""

    def text(self, rows: tuple[tuple[str, ...], ...] = ROWS, titles: tuple[str, ...] = TITLES) -> str:
        stream = io.StringIO()
        quoting = csv.QUOTE_ALL if self.all_quoted else csv.QUOTE_MINIMAL
        writer = csv.writer(stream, delimiter=self.separator, lineterminator=self.line_end, quoting=quoting)
        if self.separator_line:
            stream.write(f"sep={self.separator}{self.line_end}")
        head = [f" {t} " if self.spaces_in_titles else t for t in titles]
        tail = [""] if self.empty_column else []
        before = {"": [], "R": [], "named": [""], "pandas": ["Unnamed: 0"]}[self.row_names]
        writer.writerow([*before, *head, *tail])
        for number, row in enumerate(rows, 0 if self.row_names == "pandas" else 1):
            cells = [self._cell(j, cell) for j, cell in enumerate(row)]
            writer.writerow([*([str(number)] if self.row_names else []), *cells, *tail])
        width = len(titles) + bool(self.row_names) + len(tail)
        stream.write((self.separator * (width - 1) + self.line_end) * self.empty_end)
        return stream.getvalue()

    def _cell(self, column: int, cell: str) -> str:
        if not cell:
            return self.missing
        return cell.replace(".", self.decimal) if 2 <= column <= 4 else cell


@st.composite
def writings(draw: st.DrawFn) -> Writing:
    separator = draw(st.sampled_from([",", ";", "\t"]))
    return Writing(
        separator,
        draw(st.sampled_from([".", ","])),
        draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "gb18030"])),
        draw(st.sampled_from(["\n", "\r\n", "\r"])),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from(["", "R", "named", "pandas"])),
        draw(st.integers(0, 3)),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from(["", "NA", "NaN", "N/A", "NULL", "#N/A"])),
    )


def _read(data: bytes, mapping: ColumnMap = NOTHING, **options: object) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(data)
        arguments: dict[str, object] = {"label": "nodes", "positive": "R", "id_column": "case_id", **options}
        return read(path, settings=Settings(), mapping=mapping, **arguments)  # type: ignore[arg-type]


def _same(one: Table, other: Table) -> None:
    assert (one.ids, one.columns, one.positive.tolist()) == (other.ids, other.columns, other.positive.tolist())
    np.testing.assert_array_equal(one.features, other.features)
    ages = [[clinical_number("age_years", cell) for cell in t.others["age_years"]] for t in (one, other)]
    assert ages[0] == ages[1]
    assert list(one.others["site"]) == list(other.others["site"])


PLAIN = _read(Writing().text().encode())


@settings(deadline=None)
@given(writings())
def test_a_table_reads_equal_however_a_program_writes_it(how: Writing) -> None:
    _same(_read(how.text().encode(how.encoding)), PLAIN)


BAD = ("<5", "2.Jan", "Jan 05", "2024-05-03", "1.234,5", "1_0", "#REF!", "abc", "1 234.5", "１", "0x1F", "--")


@settings(deadline=None)
@given(writings(), st.integers(0, 3), st.integers(2, 3), st.sampled_from(BAD))
def test_a_cell_that_is_no_number_is_refused_with_file_row_and_column(
    how: Writing, row: int, column: int, cell: str
) -> None:
    how = replace(how, decimal=".", missing="")
    rows = tuple(tuple(cell if (i, j) == (row, column) else c for j, c in enumerate(r)) for i, r in enumerate(ROWS))
    with pytest.raises(InputRejected) as refused:
        _read(how.text(rows).encode(how.encoding))
    assert f"row {row + 1} {TITLES[column]} = {cell!r}" in refused.value.message
    assert refused.value.message.startswith("t.csv")


@settings(deadline=None)
@given(writings(), st.integers(0, 3), st.integers(-1, 1))
def test_a_row_that_was_cut_or_grew_is_refused_with_its_number(how: Writing, row: int, more: int) -> None:
    how = replace(how, decimal=".", empty_column=False, row_names="")
    rows = tuple((*r, "x") if more > 0 and i == row else r[: more or -1] if i == row else r for i, r in enumerate(ROWS))
    with pytest.raises(InputRejected, match=rf"t\.csv is no table: 6 titles, but the cells are \d in row {row + 1}$"):
        _read(how.text(rows).encode(how.encoding))


@settings(deadline=None)
@given(writings(), st.integers(1, 5), st.integers(1, 5))
def test_a_title_that_occurs_twice_is_refused(how: Writing, one: int, other: int) -> None:
    titles = list(TITLES)
    titles[one] = titles[other if one != other else 0]
    with pytest.raises(InputRejected, match="columns that occur twice") as refused:
        _read(how.text(titles=tuple(titles)).encode(how.encoding))
    assert titles[one] in refused.value.message


@settings(deadline=None)
@given(st.binary(max_size=400) | st.text(alphabet='aR;,\t"\n\r1.é\ufeff', max_size=200).map(str.encode))
def test_whatever_bytes_come_they_are_read_or_refused_in_words(data: bytes) -> None:
    with pytest.raises(InputRejected) as refused:
        _read(data)
    assert "t.csv" in refused.value.message


def test_all_that_is_wrong_is_told_at_once() -> None:
    titles = (*TITLES[:5], "remark", feature(1))
    rows = (
        ("1", "R", "x", "1", "50", "", "1"),
        ("1", "", "2", "y", "50", "", "2"),
        ("", "N", "3", "<5", "50", "", "3"),
    )
    with pytest.raises(InputRejected) as refused:
        _read(Writing().text(rows, titles).encode())
    assert refused.value.message.split("\n") == [
        "t.csv: 6 things are wrong:",
        f"- columns that occur twice: {feature(1)}",
        "- column names that are not ours: remark. Features are named sequence.roi.feature, for example "
        "t1c.tumor.original_shape_Sphericity; say what others are in a file for --map, or leave them out with "
        "--ignore COLUMN.",
        "- no id in column case_id in rows 3",
        "- the same id in column case_id in rows 1 and 2",
        "- column nodes: no label in rows 2",
        f"- cells that are no numbers: row 1 {feature(0)} = 'x', row 2 {feature(1)} = 'y', row 3 {feature(1)} = '<5' "
        "(a bound, not a value)",
    ]


def test_all_clinical_cells_that_cannot_be_read_are_told_at_once() -> None:
    rows = tuple((*row[:4], age, row[5]) for row, age in zip(ROWS, ("<40", "62", "160", "2. Mai"), strict=True))
    with pytest.raises(InputRejected) as refused:
        design.for_training(_read(Writing().text(rows).encode()), FAST.model_copy(update={"clinical": ("age_years",)}))
    assert refused.value.message == (
        "t.csv, row 1: age_years: '<40' is no number: a bound, not a value; row 3: age_years: '160' is not in 0..120; "
        "row 4: age_years: '2. Mai' is no number: a date, which spreadsheets make of numbers"
    )


AMBIGUOUS = (("1", "R", "1,234", "2,500", "50", ""), ("2", "N", "12,345", "7", "50", ""))


def test_commas_that_may_stand_between_thousands_are_refused_and_the_map_decides() -> None:
    data = Writing(";").text(AMBIGUOUS).encode()
    with pytest.raises(InputRejected, match=rf"row 1 {feature(0)} = '1,234'.*decimal = \",\"") as refused:
        _read(data)
    assert refused.value.code == "ambiguous-numbers"
    assert _read(data, ColumnMap(decimal=",")).features.tolist() == [[1.234, 2.5], [12.345, 7.0]]
    with pytest.raises(InputRejected, match="cells that are no numbers: row 1"):
        _read(data, ColumnMap(decimal="."))


def test_decimal_commas_beside_points_are_refused_with_one_of_each() -> None:
    rows = (("1", "R", "0,5", "1.5", "50", ""), ("2", "N", "2,75", "7", "50", ""))
    with pytest.raises(InputRejected) as refused:
        _read(Writing(";").text(rows).encode())
    assert f"row 1 {feature(0)} = '0,5'" in refused.value.message
    assert f"row 1 {feature(1)} = '1.5'" in refused.value.message


def test_two_separators_that_both_make_a_table_are_refused_and_the_map_decides() -> None:
    data = b"case_id,nodes;site,x\n1,R;a,b\n2,N;a,b\n"
    with pytest.raises(InputRejected, match="comma and semicolon both make a table"):
        _read(data)
    with pytest.raises(InputRejected, match="missing columns: nodes, case_id"):
        _read(data, ColumnMap(separator=";"))


def test_windows_text_is_read_where_it_cannot_be_chinese() -> None:
    rows = tuple((*row[:5], "Köln") for row in ROWS)
    assert set(_read(Writing(";", ",").text(rows).encode("cp1252")).others["site"]) == {"Köln"}


@pytest.mark.parametrize("words", ["Größe", "Übermaß;ärztliche Größe", "INFORMAÇÃO", "année;prénom;déjà"])
def test_two_western_letters_beside_each_other_are_not_read_as_a_chinese_one(words: str) -> None:
    assert text_of(f"id;{words};x\n1;2;3\n".encode("cp1252"), "t.csv") == f"id;{words};x\n1;2;3\n"


@pytest.mark.parametrize("words", ["期", "T分期;N期", "淋巴结;鑫", "Ki67指数（%）;≥20;左"])
def test_chinese_text_stays_chinese_down_to_a_single_character(words: str) -> None:
    assert text_of(f"id;{words};x\n".encode("gb18030"), "t.csv") == f"id;{words};x\n"


def test_text_of_which_nobody_can_tell_the_encoding_is_refused() -> None:
    for data in ("id;Größe;süß;µ°\n".encode("cp1252"), "id;龘靐\n".encode("gb18030")):
        with pytest.raises(InputRejected, match="could be Windows-1252 or GB18030; save it in UTF-8"):
            text_of(data, "t.csv")


@pytest.mark.parametrize(
    ("head", "is_table"), [(b"PK\x03\x04rest", False), (b"a\x00b\x00,\x00", False), (b"", False), (b"\n\n", False)]
)
def test_what_is_no_text_is_refused_by_what_it_is(head: bytes, is_table: bool) -> None:
    with pytest.raises(InputRejected, match=r"t\.csv is (a workbook|no text|empty)"):
        _read(head)


def test_row_names_that_are_no_numbers_need_a_name() -> None:
    data = Writing(row_names="named").text().replace("\n1,", "\np1,").encode()
    with pytest.raises(InputRejected, match="columns without a title: number 1"):
        _read(data)
    named = _read(data, ColumnMap(columns={"": "patient_id", "case_id": "series_uid"}), id_column=None)
    assert (named.id_column, named.ids[0]) == ("patient_id", "p1")


MAP = """
ignore = ["Bemerkung"]
[columns]
"Fall" = "case_id"
"Alter" = "age_years"
[replace]
"T1C_tumor_" = "t1c.tumor."
"wavelet." = "wavelet-"
[values.age_years]
"<40" = 39.5
"""


def test_a_map_says_what_columns_and_cells_of_another_table_are(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(MAP)
    wavelet = "t1c.tumor.wavelet-LLH_firstorder_Mean"
    titles = ("Fall", "nodes", feature(0).replace("t1c.tumor.", "T1C_tumor_"), "T1C_tumor_wavelet.LLH_firstorder_Mean",
              "Alter", "Bemerkung")  # fmt: skip
    rows = tuple((*row[:4], "<40", "x") for row in ROWS)
    mapped = _read(Writing().text(rows, titles).encode(), read_map(tmp_path / "m.toml"))
    assert mapped.columns == (feature(0), wavelet)
    assert set(mapped.others["age_years"]) == {"39.5"}
    assert mapped.ids == PLAIN.ids
    np.testing.assert_array_equal(mapped.features, PLAIN.features)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[columns", "no TOML"),
        ("[column]\na = 'b'", "no map of columns: column: Extra"),
        ("decimal = ';'\nseparator = ':'", "separator: .*; decimal: "),
        ("[columns]\nNone = 'case_id'", "the map names columns that the table lacks: None"),
        ("[values.ki67_percent]\n'<5' = 2", "the map names columns that the table lacks: ki67_percent"),
        ("[columns]\nsite = 'age_years'", "columns that occur twice: age_years"),
    ],
)
def test_a_map_that_is_wrong_or_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(InputRejected, match=message):
        _read(Writing().text().encode(), read_map(tmp_path / "m.toml"))


@pytest.mark.parametrize("cell", ["NX", "TX", "cNx", "pTX", "NA", "n/a", "NaN", "#N/A", "", None, " "])
def test_a_stage_that_could_not_be_assessed_is_missing(cell: str | None) -> None:
    assert clinical_number("clinical_n", cell) is None


@pytest.mark.parametrize("cell", ["<5", "< 5 %", ">20", "~10", "5-10", "1_0", "inf"])
def test_a_bound_is_no_value(cell: str) -> None:
    with pytest.raises(ValueError, match="is no number"):
        clinical_number("ki67_percent", cell)


@pytest.mark.parametrize(
    ("cell", "subtype"),
    [
        ("Luminal B (HER2-)", "luminal B"),
        ("Luminal B (HER2+)", "luminal B"),
        ("luminal B-like (HER2-negative)", "luminal B"),
        ("Luminal B, HER2 positive", "luminal B"),
        ("LumB", "luminal B"),
        ("Luminal-A", "luminal A"),
        ("luminal A-like", "luminal A"),
        ("Luminal A subtype", "luminal A"),
        ("HER2+", "HER2-positive"),
        ("HER2-positive", "HER2-positive"),
        ("HER2-positive (non-luminal)", "HER2-positive"),
        ("HER2-enriched", "HER2-positive"),
        ("Triple negative", "triple-negative"),
        ("Basal-like", "triple-negative"),
        ("unknown", None),
        ("NA", None),
    ],
)
def test_subtypes_are_read_however_they_are_spelt(cell: str, subtype: str | None) -> None:
    assert clinical_category("molecular_subtype", cell) == subtype


@pytest.mark.parametrize("cell", ["HER2-", "HER2 negative", "Luminal", "Luminal A/B", "Luminal A (HER2+)", "1", "ER+"])
def test_what_names_no_one_subtype_is_refused(cell: str) -> None:
    with pytest.raises(ValueError, match="is no molecular subtype"):
        clinical_category("molecular_subtype", cell)
