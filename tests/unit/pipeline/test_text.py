"""Text in every character set, clean of what a decoder left behind."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from pipeline.dicom_file.text_values import clean, person_names, text_of


def test_designations_of_character_sets_are_no_text() -> None:
    assert clean("\x1b$)A张^\x1b$)A小东") == "张^小东"
    assert clean("\x1b(Babc\x1b$B") == "abc"


def test_several_values_are_joined_as_they_are_encoded() -> None:
    assert clean(["ORIGINAL ", "PRIMARY"]) == "ORIGINAL\\PRIMARY"


def test_an_absent_element_is_empty_text() -> None:
    assert text_of(Dataset(), "SeriesDescription") == ""


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_text_without_control_characters_only_loses_its_padding(text: str) -> None:
    assert clean(text) == text.strip()


@pytest.mark.cases
@pytest.mark.parametrize(
    ("file", "alphabetic", "ideographic"),
    [
        ("chrGB2312.dcm", "Zhang^XiaoDong", "张^小东"),
        ("chrX1.dcm", "Wang^XiaoDong", "王^小東"),
        ("chrX2.dcm", "Wang^XiaoDong", "王^小东"),
        ("chrJapMulti.dcm", "やまだ^たろう", ""),
        ("chrKoreanMulti.dcm", "김희중", ""),
    ],
)
def test_names_in_every_character_set_survive(cases: Path, file: str, alphabetic: str, ideographic: str) -> None:
    dataset = pydicom.dcmread(cases / "charset" / file, stop_before_pixels=True)
    assert person_names(dataset, "PatientName")[:2] == (alphabetic, ideographic)


def test_pydicom_still_leaves_the_escape_of_iso_2022_ir_58() -> None:
    """When this fails the library is mended: `text_values` no longer needs to take escapes out of IR 58 text."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = ["", "ISO 2022 IR 58"]
    encoded = b"\x1b$)A\xd5\xc5"
    element = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(0x0008, 0x103E), "LO", len(encoded), encoded, 0, False, True
    )
    dataset[0x0008, 0x103E] = element
    dataset.set_original_encoding(False, True, ["iso8859", "iso_ir_58"])
    assert dataset.SeriesDescription == "\x1b$)A张"
    assert text_of(dataset, "SeriesDescription") == "张"
