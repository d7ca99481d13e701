"""The units in docker/systemd are right by systemd's own word, give axrad no rights, and start what is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import docs
from tests.unit.test_docs import problem_with

FOLDER = docs.ROOT / "docker" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
AXRAD = "/opt/axrad/bin/axrad"
# As `systemd-analyze security` counts: 0 is safe, 10 is a service that may do everything.
MOST_EXPOSED = 3.0

each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
needs_systemd = pytest.mark.peer("systemd-analyze")


def analyze(*words: str | Path) -> str:
    """All that systemd-analyze says, whatever its exit status."""
    done = subprocess.run(
        ["systemd-analyze", *map(str, words)],
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "SYSTEMD_COLORS": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def exposure(unit: Path) -> float:
    said = analyze("security", "--offline=true", unit)
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert level is not None, said
    return float(level[1])


def with_program(unit: Path, folder: Path, **changes: str) -> Path:
    """The unit with a program that is on this machine: systemd looks whether it is there."""
    text = unit.read_text(encoding="utf-8").replace(AXRAD, str(Path(sys.executable).with_name("axrad")))
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    copy = folder / unit.name
    copy.write_text(text, encoding="utf-8")
    return copy


def commands() -> dict[str, list[str]]:
    """Each unit's command; that of the template for every role."""
    found = {}
    for unit in UNITS:
        (line,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
        for role in ("analyse", "deliver", "sweep") if "@" in unit.name else ("",):
            found[unit.name.replace("@", f"@{role}")] = shlex.split(line.replace("%i", role))
    return found


@needs_systemd
@each_unit
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    assert analyze("verify", with_program(unit, tmp_path)) == ""


@needs_systemd
def test_a_misspelt_key_would_be_noticed(tmp_path: Path) -> None:
    assert "Umaks" in analyze("verify", with_program(FOLDER / "axrad.service", tmp_path, UMask="Umaks"))


@needs_systemd
@each_unit
def test_a_unit_exposes_little(unit: Path) -> None:
    assert exposure(unit) <= MOST_EXPOSED


@needs_systemd
def test_a_unit_without_its_fences_exposes_much(tmp_path: Path) -> None:
    bare = tmp_path / "bare.service"
    bare.write_text(f"[Service]\nExecStart={AXRAD} up\n", encoding="utf-8")
    assert exposure(bare) > 2 * MOST_EXPOSED


def test_every_process_that_a_site_needs_has_a_unit() -> None:
    started = {" ".join(words[1:-2]) for words in commands().values()}
    assert started == {
        "up", "listen", "work --role analyse", "work --role deliver", "work --role sweep", "beat", "observe", "console",
        "flower",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "words"), commands().items(), ids=lambda value: value if "." in value else "")
def test_the_command_of_a_unit_exists(name: str, words: list[str]) -> None:
    assert words[0] == AXRAD
    assert words[-2:] == ["--config", "/etc/axrad/axrad.toml"]
    assert problem_with(words[1:]) is None


@each_unit
def test_what_a_unit_writes_is_its_users_alone(unit: Path) -> None:
    lines = unit.read_text(encoding="utf-8").splitlines()
    assert {"User=axrad", "UMask=0077", "StateDirectory=axrad", "StateDirectoryMode=0700"} <= set(lines)


@each_unit
def test_a_worker_is_left_to_end_its_own_children(unit: Path) -> None:
    """A signal to every process of the service would end exams that are being analysed."""
    assert "KillMode=mixed" in unit.read_text(encoding="utf-8").splitlines()


def test_the_operators_page_names_every_unit() -> None:
    page = (docs.ROOT / "docs" / "operator.md").read_text(encoding="utf-8")
    assert [unit.name for unit in UNITS if unit.name.removesuffix(".service") not in page] == []


def test_the_minimal_configuration_keeps_nothing_beside_the_settings() -> None:
    """The settings lie in /etc, which a service may not write to."""
    page = docs.ROOT / "docs" / "operator.md"
    (minimal,) = (block.text for block in docs.blocks(page) if block.info == "toml" and "[spool]" in block.text)
    kept = re.findall(r'^(?:path|registry) = "([^"]*)"', minimal, re.MULTILINE)
    assert len(kept) == 2
    assert all(path.startswith("/var/lib/axrad/") for path in kept)
