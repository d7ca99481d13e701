"""No cell that we write begins as a formula, and every cell is read back as it was."""

from __future__ import annotations

import csv
import re
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.csv_cells import escaped, unescaped
from pipeline.features.feature_table import _read_csv, _write_csv

LETTERS = "=+-@'; \t\r\n1e.x＝\ufeff\u200b\0"
FORMULAS = [
    "=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\r=1", " =1", "x;=1", "a\n@b", "'=1", "''-x", "＝1", "-",
    "\ufeff=1", "\0=1", "\x0b=1", "\x0c=1", "\x85=1", "\u200b=1", "\u2003=1", "\xad=1", "\u200e@x", "\u2028=1",
    "﹦1", "⁼1",
]  # fmt: skip
texts = st.one_of(st.text(max_size=12), st.text(LETTERS, max_size=12), st.sampled_from(FORMULAS))


@given(texts)
def test_a_text_is_read_back_equal(text: str) -> None:
    assert unescaped(escaped(text)) == text


@given(texts)
def test_nothing_begins_as_a_formula_in_any_cell_that_a_program_may_see(text: str) -> None:
    written = escaped(text)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", written, re.ASCII):
        return
    for cell in re.split(r"[;\t\r\n\x0b\x0c\x85\u2028\u2029]", written):
        seen = "".join(one for one in cell if unicodedata.category(one) not in ("Cc", "Cf", "Zs"))
        assert unicodedata.normalize("NFKC", seen[:1]) not in {*"=+-@\u2212"}, written


def test_no_character_that_nobody_sees_hides_a_formula() -> None:
    unseen = [one for one in map(chr, range(0x110000)) if unicodedata.category(one) in ("Cc", "Cf", "Zs", "Zl", "Zp")]
    assert [f"U+{ord(one):04X}" for one in unseen if escaped(f"{one}=1") == f"{one}=1"] == []


@pytest.mark.parametrize("number", ["-1.5", "+2", "-1e-05", "0", "-.5", "1.2.840.10008", "2026-11-27"])
def test_numbers_uids_and_dates_stay_as_they_are(number: str) -> None:
    assert escaped(number) == number


storable = texts.filter(lambda text: not re.search("[\\x00\\ud800-\\udfff]", text))


@settings(max_examples=40, deadline=None)
@given(st.lists(storable, min_size=1, max_size=4))
def test_a_table_of_features_is_read_back_equal(cells: list[str]) -> None:
    columns = ["study_uid", "=added", *(f"c{n}" for n in range(len(cells)))]
    row = {"study_uid": "1.2.3", "=added": "-x", **{f"c{n}": cell for n, cell in enumerate(cells)}}
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        _write_csv(file, columns, [dict(row)])  # type: ignore[arg-type]
        file.flush()
        assert _read_csv(Path(file.name)) == [row]
        with open(file.name, newline="", encoding="utf-8") as written:
            assert next(csv.reader(written))[1] == "'=added"
