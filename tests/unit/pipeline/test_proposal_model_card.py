"""The card of a site's own model, and which file is its model."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputRejected
from pipeline.proposal import model_card
from pipeline.proposal.model_card import load_card, load_model
from tests.support.proposal_model import CARD, NAME, VERSION

DATA = b"the bytes of a model"


def written(folder: Path, old: str = "", new: str = "", data: bytes = DATA) -> Path:
    """A card with one text replaced, and its model."""
    text = CARD.format(name=NAME, version=VERSION, sha256=hashlib.sha256(data).hexdigest())
    assert old in text
    (folder / "model.onnx").write_bytes(data)
    (folder / "card.toml").write_text(text.replace(old, new, 1) if old else text, encoding="utf-8")
    return folder / "card.toml"


def reason(path: Path) -> str:
    with pytest.raises(InputRejected) as error:
        load_model(path)
    return error.value.message


def test_a_card_and_the_model_that_it_names_are_read(tmp_path: Path) -> None:
    model = load_model(written(tmp_path))
    assert model.onnx == DATA
    assert (model.card.name, model.card.demonstration, model.card.roles) == (NAME, True, {"tumor"})
    assert model.card.input.patch == (48, 48, 32)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('version = "1"', "", "version: Field required"),
        ("demonstration = true", 'demonstration = true\ncolour = "red"', "colour: Extra inputs"),
        ('file = "model.onnx"', 'file = "../model.onnx"', "file: must be the name of a file in the folder"),
        ('file = "model.onnx"', 'file = "/etc/model.onnx"', "file: must be the name of a file in the folder"),
        ('file = "model.onnx"', 'file = "..\\\\model.onnx"', "file: must be the name of a file in the folder"),
        ('file = "model.onnx"', 'file = "model.bin"', "file: must be the name of a file in the folder"),
        ('name = "phantom', 'name = "axrad phantom', "name: must not begin with axrad"),
        ("[2.0, 2.0, 2.0]", "[2.0, 2.0]", "input.spacing_mm.2: Field required"),
        ("[2.0, 2.0, 2.0]", "[0.0, 2.0, 2.0]", "input.spacing_mm: must be three numbers of mm"),
        ("[2.0, 2.0, 2.0]", "[nan, 2.0, 2.0]", "input.spacing_mm.0"),
        ("[48, 48, 32]", "[512, 512, 512]", "input.patch: must be three numbers of voxels"),
        ("[48, 48, 32]", "[48, 48, 0]", "input.patch: must be three numbers of voxels"),
        ('["t1c", "before"]', '["t1c", "pet"]', "input.sequences.1: Input should be"),
        ('["t1c", "before"]', '["t1c", "t1c"]', "input.sequences: each may be named once"),
        ('["t1c", "before"]', "[]", "input.sequences: Tuple should have at least 1 item"),
        ('"zscore"', '"minmax"', "input.normalisation: Input should be"),
        ("overlap = 0.5", "overlap = 1.0", "input.overlap"),
        ("overlap = 0.5", "overlap = true", "input.overlap: must be a number, not true or false"),
        ('role = "tumor"', 'role = "liver"', "output.channel.0.role"),
        ("index = 0", "index = -1", "output.channel.0.index"),
        ("threshold = 0.5", "threshold = 1.5", "output.threshold"),
        (
            'role = "tumor"',
            'role = "tumor"\n[[output.channel]]\nindex = 0\nrole = "tumor"',
            "output: channel: an index",
        ),
        ("[input]", "[input", "is no TOML"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    assert key in reason(written(tmp_path, old, new))


def test_another_model_than_the_card_names_is_refused(tmp_path: Path) -> None:
    card = written(tmp_path)
    (tmp_path / "model.onnx").write_bytes(DATA + b"!")
    assert "is not the file of sha256" in reason(card)


def test_a_model_that_is_missing_a_pipe_or_a_folder_is_refused_at_once(tmp_path: Path) -> None:
    card = written(tmp_path)
    (tmp_path / "model.onnx").unlink()
    assert "does not lie in the folder" in reason(card)
    os.mkfifo(tmp_path / "model.onnx")
    assert "is no file" in reason(card)
    (tmp_path / "model.onnx").unlink()
    (tmp_path / "model.onnx").mkdir()
    assert reason(card)


def test_a_link_out_of_the_folder_is_refused_and_one_within_a_mounted_folder_is_not(tmp_path: Path) -> None:
    elsewhere, data, mounted = tmp_path / "elsewhere", tmp_path / "mounted" / "..data", tmp_path / "mounted"
    elsewhere.mkdir()
    data.mkdir(parents=True)
    written(data)
    for name in ("card.toml", "model.onnx"):  # as Kubernetes mounts a volume
        (mounted / name).symlink_to(Path("..data") / name)
    assert load_model(mounted / "card.toml").onnx == DATA
    (elsewhere / "model.onnx").write_bytes(DATA)
    (data / "model.onnx").unlink()
    (data / "model.onnx").symlink_to(elsewhere / "model.onnx")
    assert "does not lie in the folder" in reason(mounted / "card.toml")


def test_a_model_or_card_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = written(tmp_path)
    monkeypatch.setattr(model_card, "MOST_MODEL_BYTES", 10)
    assert "has more than" in reason(card)
    card.write_text("#" * (model_card.MOST_CARD_BYTES + 1))
    assert "the card card.toml has more than 64 KiB" in reason(card)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400))
def test_whatever_stands_in_a_card_it_is_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("card") / "card.toml"
    path.write_bytes(data)
    with pytest.raises(InputRejected):
        load_card(path)


def test_a_card_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text("a = " + "[" * 30_000)
    with pytest.raises(InputRejected):
        load_card(path)
