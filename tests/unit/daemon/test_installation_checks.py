"""What `axrad doctor` says of how axrad is installed."""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from config.schema import Settings
from config.schema import Spool as SpoolSection
from daemon.health import installation_checks
from daemon.health.installation_checks import PYRADIOMICS, environment, examine, is_own, pyradiomics, spool

ROOT = Path(__file__).resolve().parents[3]
OURS = {name: ["axrad"] for name in installation_checks.NAMES}


def installed(folder: Path, version: str, *files: str) -> None:
    """A PyRadiomics in a folder, as pip leaves its description there."""
    info = folder / f"pyradiomics-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: pyradiomics\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"radiomics/{file},,\n" for file in files))
    (folder / "radiomics").mkdir()
    for file in files:
        (folder / "radiomics" / file).touch()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where packages are looked for."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


def test_this_installation_is_right(tmp_path: Path) -> None:
    findings = list(examine(Settings(spool=SpoolSection(path=tmp_path / "spool"))))
    assert [(f.code, f.level) for f in findings] == [("pyradiomics", "ok"), ("environment", "ok"), ("spool", "ok")]


def test_the_version_is_the_one_that_is_pinned() -> None:
    assert f'"pyradiomics=={PYRADIOMICS}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_a_missing_pyradiomics_is_told_with_how_to_get_it(folder: Path) -> None:
    found = pyradiomics()
    assert (found.level, "script/wheelhouse" in found.remedy) == ("fail", True)


def test_another_version_of_pyradiomics_is_told(folder: Path) -> None:
    installed(folder, "3.1.0", f"_cmatrices{EXTENSION_SUFFIXES[0]}")
    found = pyradiomics()
    assert found.level == "fail"
    assert "3.1.0" in found.text
    assert PYRADIOMICS in found.text


@pytest.mark.parametrize("compiled", ["_cmatrices.cpython-27m-x86_64-linux-gnu.so", "_cmatrices.py"])
def test_a_pyradiomics_of_another_python_is_told(folder: Path, compiled: str) -> None:
    installed(folder, PYRADIOMICS, compiled)
    assert pyradiomics().level == "fail"
    assert "another Python" in pyradiomics().text


def test_a_pyradiomics_of_this_python_is_right(folder: Path) -> None:
    installed(folder, PYRADIOMICS, f"_cmatrices{EXTENSION_SUFFIXES[0]}")
    assert pyradiomics().ok


def test_a_pyradiomics_whose_compiled_part_was_removed_is_told(folder: Path) -> None:
    installed(folder, PYRADIOMICS, name := f"_cmatrices{EXTENSION_SUFFIXES[0]}")
    (folder / "radiomics" / name).unlink()
    assert "is missing" in pyradiomics().text


def test_a_package_with_an_import_name_of_ours_is_named() -> None:
    found = environment({**OURS, "config": ["axrad", "python-config"]}, is_own=True)
    assert found.level == "fail"
    assert "python-config (config)" in found.text


def test_the_systems_python_is_not_axrads_own(tmp_path: Path) -> None:
    assert environment(OURS, is_own=is_own(tmp_path, tmp_path)).level == "warn"


def test_virtual_environments_and_condas_are_own(tmp_path: Path) -> None:
    assert is_own(tmp_path / "venv", tmp_path)
    (tmp_path / "conda-meta").mkdir()
    assert environment(OURS, is_own=is_own(tmp_path, tmp_path)).ok


@pytest.mark.parametrize(
    ("path", "level"), [("/etc/axrad/axrad-data/spool", "warn"), ("/var/lib/axrad/spool", "ok"), ("/etcetera", "ok")]
)
def test_a_spool_among_the_settings_of_the_system_is_told(path: str, level: str) -> None:
    assert spool(Path(path)).level == level


def test_a_link_to_a_spool_among_the_settings_is_told(tmp_path: Path) -> None:
    (tmp_path / "spool").symlink_to("/etc/axrad/spool")
    assert spool(tmp_path / "spool").level == "warn"
