"""A site's own rule tables are looked at before work begins, and what is wrong with them is shown where people look."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from config.schema import Settings
from daemon import main as command_line
from daemon.health import standing_checks
from daemon.main import cli
from tests.unit.daemon.test_assembly_ledger import House, exam, house  # noqa: F401 - a fixture

FILES = {
    "assembly.exam_rules": "[assembly]\nexam_rules = 'own.toml'\n",
    "sequences.rules": "[sequences]\nrules = 'own.toml'\n",
    "proposal.model": "[proposal]\nenabled = true\nfrom_images = 'model'\nmodel = 'own.toml'\n",
    "roi.rules": "[roi]\nrules = 'own.toml'\n",
    "features.params": "[features]\nparams = 'own.toml'\n",
}


def configured(folder: Path, lines: str, table: str) -> Path:
    (folder / "own.toml").write_text(table)
    path = folder / "axrad.toml"
    path.write_text(f"{lines}[spool]\npath = 'spool'\n")
    return path


@pytest.mark.parametrize("table", ["no table", "foo = 1\n"])
@pytest.mark.parametrize("key", FILES)
@pytest.mark.parametrize("command", ["up", "work"])
def test_a_daemon_does_not_start_with_a_table_that_would_stop_every_exam(
    tmp_path: Path,
    key: str,
    table: str,
    command: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = configured(tmp_path, FILES[key] + "[broker]\nurl = 'redis://127.0.0.1:1/0'\n", table)
    monkeypatch.setattr(sys, "argv", ["axrad", command, "--config", str(path)])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert f"axrad: {key}: " in told
    assert "Traceback" not in told


def test_status_tells_of_a_table_that_cannot_be_used(tmp_path: Path) -> None:
    path = configured(tmp_path, FILES["assembly.exam_rules"], "foo = 1\n")
    said = " ".join(CliRunner().invoke(cli, ["status", "--config", str(path)]).output.split())
    assert "Assembly.exam_rules" not in said
    assert "assembly.exam_rules: the exam rules" in said
    assert "unknown table foo" in said


def test_an_exam_that_cannot_be_judged_says_why_and_goes_on_when_it_can(house: House, tmp_path: Path) -> None:  # noqa: F811
    own = tmp_path / "own.toml"
    own.write_text("foo = 1\n")
    right, wrong = house.settings, Settings(assembly=house.settings.assembly.model_copy(update={"exam_rules": own}))
    house.settings = wrong
    house.arrive(exam.images, exam.seg())
    house.later(1e4)
    house.later(1e4)
    study = house.study()
    assert (study.state, study.reason_code) == ("assembling", "judging-failed")
    assert "unknown table foo" in study.reason
    assert house.kinds().count("judging-failed") == 1
    with house.ledger.read() as connection:
        told = {f.code: f for f in standing_checks.of_ledger(connection, wrong, house.now)}["judging"]
    assert (told.level, told.value) == ("fail", 1)
    assert study.id in told.text

    house.settings = right
    house.later(1e4)
    assert house.study().state == "ready"
    with house.ledger.read() as connection:
        assert {f.code: f for f in standing_checks.of_ledger(connection, right, house.now)}["judging"].ok
