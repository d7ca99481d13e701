"""The file is what was written, byte for byte, or it is refused."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputRejected
from pipeline.signature import container
from pipeline.signature.record import Floats, Signature
from tests.support.signature_tables import FAST, features, frame, trained

MADE = trained()
DATA = container.to_bytes(MADE)


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    saved = container.save(MADE, tmp_path / "s.axsig")
    loaded = container.load(tmp_path / "s.axsig", saved.sha256)
    assert loaded.header == MADE.header
    assert loaded.sha256 == saved.sha256
    for name, array in MADE.arrays.items():
        np.testing.assert_array_equal(loaded.arrays[name], array)


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, len(DATA) - 1), flip=st.integers(1, 255))
def test_any_altered_byte_is_noticed(place: int, flip: int) -> None:
    altered = bytearray(DATA)
    altered[place] ^= flip
    with pytest.raises(InputRejected):
        container.from_bytes(bytes(altered), "s.axsig")


@pytest.mark.parametrize("data", [b"", b"PK", DATA[:-7], DATA + b"x", b"\x80\x04K\x01."])
def test_what_is_no_signature_is_refused(data: bytes) -> None:
    with pytest.raises(InputRejected):
        container.from_bytes(data, "s.axsig")


def test_a_rewritten_header_is_noticed() -> None:
    members = {}
    with zipfile.ZipFile(io.BytesIO(DATA)) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    members[container.HEADER] = members[container.HEADER].replace(b'"demonstration": false', b'"demonstration": true')
    with pytest.raises(InputRejected, match="header was altered"):
        container.from_bytes(container._pack(members), "s.axsig")


def test_the_registrys_digest_is_checked(tmp_path: Path) -> None:
    container.save(MADE, tmp_path / "s.axsig")
    with pytest.raises(InputRejected, match="it was altered"):
        container.load(tmp_path / "s.axsig", "0" * 64)


def test_objects_that_would_need_pickle_are_never_written_or_read() -> None:
    harmful = Signature(MADE.header, {**MADE.arrays, "z_mean": np.array([{}], dtype=object)})
    with pytest.raises(ValueError, match="allow_pickle=False"):
        container.to_bytes(harmful)
    assert b"cnumpy" not in DATA


def test_arrays_that_do_not_fit_the_header_are_refused() -> None:
    short = Signature(MADE.header, {**MADE.arrays, "z_mean": MADE.array("z_mean")[:-1]})
    with pytest.raises(InputRejected, match="z_mean does not fit"):
        container.from_bytes(container.to_bytes(short), "s.axsig")


def test_a_file_holds_no_id_of_a_case() -> None:
    data = frame().assign(id=[f"verysecret{i}" for i in range(60)])
    assert b"verysecret" not in container.to_bytes(trained(data))


def test_loaded_arrays_cannot_be_written_to() -> None:
    loaded = container.from_bytes(DATA, "s.axsig")
    with pytest.raises(ValueError, match="read-only"):
        loaded.arrays["z_mean"][0] = 1


def test_predicting_needs_no_scikit_learn(tmp_path: Path) -> None:
    import json
    import subprocess
    import sys

    container.save(MADE, tmp_path / "s.axsig")
    (tmp_path / "f.json").write_text(json.dumps(features(frame(), 0)))
    code = (
        "import json,sys,pathlib;from pipeline.signature import load,predict;"
        f"d=pathlib.Path({str(tmp_path)!r});predict(load(d/'s.axsig'),json.loads((d/'f.json').read_text()));"
        "print('sklearn' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_a_signature_keeps_its_recipe() -> None:
    assert container.from_bytes(DATA, "s.axsig").header.recipe == FAST


@pytest.mark.parametrize("header", ["[]", '"text"', "3", "null", "[" * 5000])
def test_a_header_that_is_no_object_is_refused(header: str) -> None:
    with zipfile.ZipFile(io.BytesIO(DATA)) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    members[container.HEADER] = header.encode()
    with pytest.raises(InputRejected, match="no intact signature"):
        container.from_bytes(container._pack(members), "s.axsig")


FOREST = trained(recipe=FAST.model_copy(update={"classifier": "forest"}))


def refused(changed: Signature) -> str:
    with pytest.raises(InputRejected) as caught:
        container.from_bytes(container.to_bytes(changed), "s.axsig")
    return caught.value.message


def with_array(one: Signature, name: str, change: Callable[[Floats], npt.ArrayLike]) -> Signature:
    changed = np.asarray(change(one.array(name).copy()), one.arrays[name].dtype)
    return Signature(one.header, {**one.arrays, name: changed})


@pytest.mark.parametrize("name", ["dual", "support", "oof_positive", "oof_negative", "precision"])
def test_arrays_of_more_dimensions_than_are_read_are_refused(name: str) -> None:
    refused(with_array(MADE, name, lambda array: array[None]))


@pytest.mark.parametrize("name", ["dual", "support"])
def test_arrays_that_are_shorter_than_their_partners_are_refused(name: str) -> None:
    assert "does not fit" in refused(with_array(MADE, name, lambda array: array[:-1]))


@pytest.mark.parametrize("name", ["oof_positive", "oof_negative"])
@pytest.mark.parametrize("change", [lambda a: a[::-1], lambda a: a + 1, lambda a: a - 1], ids=["order", "high", "low"])
def test_scores_that_are_no_sorted_probabilities_are_refused(name: str, change: Callable[[Floats], Floats]) -> None:
    assert "sorted probabilities" in refused(with_array(MADE, name, change))


@pytest.mark.parametrize(
    ("name", "value"),
    [("roots", -1), ("roots", 10**6), ("left", -1), ("right", 10**6), ("feature", 10**6)],
)
def test_trees_that_lead_to_nodes_or_columns_that_are_not_there_are_refused(name: str, value: int) -> None:
    inner = int(np.flatnonzero(FOREST.array("feature") >= 0)[0])

    def change(array: Floats) -> Floats:
        array[0 if name == "roots" else inner] = value
        return array

    assert "a tree has links" in refused(with_array(FOREST, name, change))


@pytest.mark.parametrize(
    "facts",
    [
        {"constants": {}},
        {"constants": {**MADE.header.constants, "gamma": math.nan}},
        {"calibration": MADE.header.calibration.model_copy(update={"b": math.inf})},
        {"distance_quantiles": {}},
        {"distance_quantiles": {"0.99": math.nan}},
        {"distance_quantiles": {"0.99": math.inf}},
        {"distance_quantiles": {"0.99": 0.0}},
    ],
)
def test_constants_that_are_lacking_or_no_numbers_are_refused(facts: dict[str, object]) -> None:
    """No number is never too far from training, and its probability neither high nor low."""
    refused(Signature(MADE.header.model_copy(update=facts), MADE.arrays))
