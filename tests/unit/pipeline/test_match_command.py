"""`axrad match` as people and programs call it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from pydicom import dcmread

from daemon.cli.match import match
from pipeline.errors import InputRejected
from pipeline.phantom import PhantomSpec, write_exam
from pipeline.pictures.fonts import font_path


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exam") / "exam"
    write_exam(folder, PhantomSpec(3, "siemens", "small"))
    return folder


def test_json_names_every_series_and_the_chosen_ones(phantom: Path) -> None:
    result = CliRunner().invoke(match, [str(phantom), "--json"], catch_exceptions=False)
    document = json.loads(result.stdout)
    assert set(document["chosen"]) == {"t1c", "t2", "adc"}
    assert document["reasons"] == []
    labels = {s["series_uid"]: s["label"] for s in document["series"]}
    assert labels[document["chosen"]["t1c"]] in ("t1_post", "t1_dynamic")
    assert labels[document["chosen"]["t2"]] == "t2"


def test_the_sheet_has_a_tile_per_series(phantom: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    result = CliRunner().invoke(match, [str(phantom), "--sheet", str(sheet)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "t1c" in result.stdout
    with Image.open(sheet) as image:
        chosen = int(np.all(np.asarray(image.convert("RGB")) == (46, 160, 67), axis=2).sum())
        assert image.width > 900
    # Three frames of four pixels around chosen tiles.
    assert chosen > 3 * 4 * 2 * (240 + 306) * 0.9


def test_every_series_and_its_reason_fit_a_narrow_terminal(
    phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    sheet = tmp_path / "sheet.png"
    said = CliRunner().invoke(match, [str(phantom), "--sheet", str(sheet)], catch_exceptions=False).stdout
    lines = said.replace(str(sheet), "sheet.png").splitlines()
    assert max(map(len, lines)) <= 80
    at = next(n for n, line in enumerate(lines) if " t2 " in line and line.endswith("t2_tse_tra_fs"))
    assert lines[at + 1].strip().startswith("TR 4500 ms, TE 85 ms")


@pytest.mark.skipif(font_path("王") is None, reason="no font with Han characters is installed")
def test_the_sheet_draws_chinese_names(tmp_path: Path) -> None:
    def sheet_of(description: str) -> bytes:
        exam = write_exam(tmp_path / description, PhantomSpec(3, "siemens", "small"))
        for path in exam.paths:
            dataset = dcmread(path)
            dataset.SpecificCharacterSet = "ISO_IR 192"
            dataset.SeriesDescription = description
            dataset.save_as(path)
        sheet = tmp_path / f"{description}.png"
        CliRunner().invoke(match, [str(exam.folder), "--sheet", str(sheet)], catch_exceptions=False)
        return sheet.read_bytes()

    # Characters that no font has would all be the same box.
    assert sheet_of("增强") != sheet_of("平扫")


def test_a_table_of_names_gives_a_line_per_row(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("vendor,series_description\nGE,Ph1/Ax Vibrant\nSIEMENS,t2_tse_tra\n")
    result = CliRunner().invoke(match, ["--names", str(table)], catch_exceptions=False)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["row"], line["label"]) for line in lines] == [(0, "t1_post"), (1, "t2")]
    assert all(0 < line["confidence"] <= 1 and line["why"] for line in lines)


def test_without_paths_or_names_the_usage_is_wrong() -> None:
    assert CliRunner().invoke(match, []).exit_code == 2


def test_a_folder_without_images_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    result = CliRunner().invoke(match, [str(tmp_path), "--json"])
    assert isinstance(result.exception, InputRejected)
