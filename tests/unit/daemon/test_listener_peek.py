"""Who a data set says it is, from its first bytes."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from daemon.listener.data_set_uids import BIG_ENDIAN, HEAD_BYTES, Identity, Unreadable, identity
from tests.support.dimse import EXPLICIT_LE, IMPLICIT_LE, MR_IMAGE, encoded, mr_image

DEFLATED = "1.2.840.10008.1.2.1.99"


@pytest.mark.parametrize("syntax", [EXPLICIT_LE, IMPLICIT_LE, BIG_ENDIAN])
def test_both_uids_are_found_in_every_byte_order_and_with_or_without_vr(syntax: str) -> None:
    image = mr_image("1.2.3")
    image.SpecificCharacterSet = "ISO_IR 192"
    image.ImageType = ["ORIGINAL", "PRIMARY"]
    raw = encoded(image, syntax)
    assert identity(raw, syntax, size=len(raw)) == Identity(MR_IMAGE, "1.2.3", True)


def test_a_deflated_data_set_is_inflated_only_as_far_as_needed() -> None:
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    raw = squeeze.compress(encoded(mr_image("1.2.3", pixels=b"\0" * 5_000_000))) + squeeze.flush()
    assert identity(raw[:HEAD_BYTES], DEFLATED, size=len(raw)).sop_instance_uid == "1.2.3"


def test_a_data_set_without_instance_uid_is_known_to_have_none() -> None:
    image = mr_image()
    del image.SOPInstanceUID
    raw = encoded(image)
    found = identity(raw, EXPLICIT_LE, size=len(raw))
    assert (found.sop_instance_uid, found.complete) == (None, True)


def test_what_lies_behind_a_sequence_of_undefined_length_is_left_to_the_indexer() -> None:
    image = mr_image()
    language = Dataset()
    language.CodeValue = "zh"
    image.add_new(0x00080006, "SQ", [language])
    image[0x00080006].is_undefined_length = True
    raw = encoded(image)
    found = identity(raw, EXPLICIT_LE, size=len(raw))
    assert (found.sop_instance_uid, found.complete) == (None, False)


def test_a_head_that_ends_early_is_not_held_against_the_data_set() -> None:
    raw = encoded(mr_image("1.2.3"))
    for length in range(0, 60):
        assert identity(raw[:length], EXPLICIT_LE, size=len(raw)).sop_instance_uid in (None, "1.2.3")


@pytest.mark.parametrize(
    ("raw", "syntax"),
    [
        (b"GIF89a and more of it, no DICOM", EXPLICIT_LE),
        (b"\x08\x00\x18\x00UI\xff\xff1.2", EXPLICIT_LE),
        (b"\x08\x00\x18\x00UI\x02\x001\x00\x08\x00\x16\x00UI\x02\x001\x00", EXPLICIT_LE),
        (b"\x08\x00\x05\x00CS\x02\x00XX\x08\x00\x05\x00CS\x02\x00XX", EXPLICIT_LE),
        (b"\x08\x00\x16\x00\xff\xff\xff\x7f1.2", IMPLICIT_LE),
        (b"\xff\xff\xff\xff", DEFLATED),
        (b"\x08\x00", EXPLICIT_LE),
    ],
)
def test_bytes_that_are_no_data_elements_are_unreadable(raw: bytes, syntax: str) -> None:
    with pytest.raises(Unreadable):
        identity(raw, syntax, size=len(raw))


@pytest.mark.parametrize("size", [10_000, 5_000_000])
@pytest.mark.parametrize("charset", [True, False])
def test_a_data_set_in_another_syntax_than_was_negotiated_is_no_data_set(size: int, charset: bool) -> None:
    image = mr_image("1.2.3", pixels=bytes(size))
    if charset:
        image.SpecificCharacterSet = "ISO_IR 100"
    for is_in, said in ((EXPLICIT_LE, IMPLICIT_LE), (IMPLICIT_LE, EXPLICIT_LE), (EXPLICIT_LE, DEFLATED)):
        raw = encoded(image, is_in)
        with pytest.raises(Unreadable):
            identity(raw[:HEAD_BYTES], said, size=len(raw))
    for is_in, said in ((EXPLICIT_LE, BIG_ENDIAN), (BIG_ENDIAN, EXPLICIT_LE)):
        raw = encoded(image, is_in)
        assert identity(raw[:HEAD_BYTES], said, size=len(raw)) == Identity(None, None, True)


@given(st.binary(max_size=200), st.sampled_from([EXPLICIT_LE, IMPLICIT_LE, BIG_ENDIAN, DEFLATED]), st.booleans())
def test_any_bytes_have_an_identity_or_are_unreadable(raw: bytes, syntax: str, whole: bool) -> None:
    try:
        found = identity(raw, syntax, size=len(raw) if whole else 10**6)
    except Unreadable:
        return
    assert found.sop_instance_uid is None or len(found.sop_instance_uid) <= len(raw) or syntax == DEFLATED
