"""What is read straight from the bytes is what pydicom makes of them, or is left to pydicom."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.tag import Tag

from pipeline.catalog.header_tags import _numbers, _texts
from pipeline.dicom_file import fast_values

TAG = Tag(0x0018, 0x0080)
MALFORMED = (ValueError, TypeError, OverflowError)


def raw(vr: str, data: bytes) -> RawDataElement:
    return RawDataElement(TAG, vr, len(data), data, 0, False, True)


def by_pydicom(element: RawDataElement, convert):  # type: ignore[no-untyped-def]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return convert(convert_raw_data_element(element, encoding="iso8859", ds=None).value)


@given(st.sampled_from(["DS", "IS"]), st.text(alphabet="0123456789+-.eE \\\0", min_size=1, max_size=24))
@settings(max_examples=600)
def test_numbers_are_those_of_pydicom(vr: str, text: str) -> None:
    element = raw(vr, text.encode())
    found = fast_values.number(element)
    if found is fast_values.UNSURE:
        return
    expected = by_pydicom(element, _numbers)
    assert found == expected
    assert repr(found) == repr(expected), "an int stays an int, a float a float"


@given(st.sampled_from(["CS", "DA", "TM", "LO", "SH"]), st.binary(min_size=1, max_size=24))
@settings(max_examples=600)
def test_texts_are_those_of_pydicom(vr: str, data: bytes) -> None:
    element = raw(vr, data)
    found = fast_values.text(element)
    if found is not fast_values.UNSURE:
        assert found == by_pydicom(element, _texts)


@given(st.lists(st.text(alphabet="ABCxyz019_ .-", max_size=8), min_size=1, max_size=4))
def test_printable_texts_are_read_without_pydicom(values: list[str]) -> None:
    element = raw("CS", "\\".join([*values, "END"]).encode())
    assert fast_values.text(element) == by_pydicom(element, _texts)


@pytest.mark.parametrize(
    ("vr", "data"),
    [
        ("DS", b"1e999"), ("DS", b"12,5"), ("DS", b"nan"), ("DS", b"1\\"), ("IS", b"12.0"), ("IS", b"9" * 11),
        ("US", b"\1"), ("FD", b"\0" * 8), ("DS", b""), ("DS", b"   "),
    ],
)  # fmt: skip
def test_doubtful_numbers_are_left_to_pydicom(vr: str, data: bytes) -> None:
    assert fast_values.number(raw(vr, data)) is fast_values.UNSURE


@pytest.mark.parametrize(
    ("vr", "data"),
    [
        ("LO", "Größe".encode()),
        ("LO", b"\x1b$)A\x0e"),
        ("CS", b"A\tB"),
        ("ST", b"one\\not two"),
        ("PN", b"A^B"),
        ("LO", b"  "),
    ],
)
def test_doubtful_texts_are_left_to_pydicom(vr: str, data: bytes) -> None:
    assert fast_values.text(raw(vr, data)) is fast_values.UNSURE


def test_bytes_in_big_endian_are_left_to_pydicom() -> None:
    element = RawDataElement(TAG, "US", 2, b"\0\1", 0, False, False)
    assert fast_values.number(element) is fast_values.UNSURE
    assert fast_values.number(raw("US", b"\1\0")) == 1
