from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from dicom_sr import uids
from tests.support.reports import case

RESULT = case("high").result


@given(st.lists(st.text(), min_size=1, max_size=4), st.sampled_from(["2.25", "1.2.840.99999.1", "1.2.3." + "4" * 50]))
def test_derived_uids_are_valid_and_repeatable(parts: list[str], root: str) -> None:
    uid = uids.derived(root, *parts)
    assert UID(uid).is_valid
    assert uid.startswith(root)
    assert uid == uids.derived(root, *parts)


def test_the_device_uid_changes_when_the_signature_is_trained_anew_and_not_with_the_exam() -> None:
    other_exam = RESULT.model_copy(update={"study_uid": "2.25.9", "input_digest": "x"})
    assert uids.of_device(other_exam, "2.25") == uids.of_device(RESULT, "2.25")
    assert uids.of_device(RESULT.model_copy(update={"signature": {"hash": "x"}}), "2.25") != uids.of_device(
        RESULT, "2.25"
    )
