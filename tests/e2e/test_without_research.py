"""Everything but the commands of research works where the libraries of the extra `research` are not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.cli.research_extra import LIBRARIES
from daemon.processes.supervisor import axrad_command
from pipeline.phantom import PhantomSpec, write_exam
from tests.support import without_research


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return without_research.environ(tmp_path_factory.mktemp("hook"))


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_exam(tmp_path_factory.mktemp("exam"), PhantomSpec(seed=7, preset="small")).folder


def axrad(environ: dict[str, str], folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*axrad_command(), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


def test_the_commands_look_for_the_libraries_that_the_extra_installs() -> None:
    assert set(LIBRARIES) == without_research.requirements("research")
    assert set(LIBRARIES) <= without_research.blocked_modules()


@pytest.mark.parametrize("library", LIBRARIES)
def test_none_of_them_can_be_imported_there(environ: dict[str, str], library: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import {library}"], env=environ, capture_output=True, text=True, check=False
    )
    assert f"No module named '{library}'" in done.stderr


def test_every_module_outside_of_research_can_be_imported(environ: dict[str, str]) -> None:
    script = """
import importlib, pkgutil, warnings
warnings.simplefilter("ignore")
for room in ("config", "pipeline", "dicom_sr", "daemon"):
    for module in pkgutil.walk_packages(importlib.import_module(room).__path__, room + ".", onerror=lambda name: None):
        if not module.name.startswith(("pipeline.research", "daemon.ledger.migrations.env")):
            importlib.import_module(module.name)
"""
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_exam_goes_from_the_listener_to_the_archive(environ: dict[str, str], tmp_path: Path) -> None:
    done = axrad(environ, tmp_path, "demo", "--out", tmp_path / "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "demo" / "result.json").read_text())
    assert result["prediction"]["signature"].startswith("demonstration@")
    log = tmp_path / "demo" / "work" / "daemon.log"
    assert "No module named" not in log.read_text()


def test_an_exam_is_evaluated_and_measured_offline(environ: dict[str, str], exam: Path, tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    registry.mkdir()
    listed = axrad(environ, tmp_path, "signature", "list", "--registry", registry)
    assert listed.returncode == 0, listed.stderr
    shown = axrad(environ, tmp_path, "signature", "show")
    assert "DEMONSTRATION" in shown.stdout, shown.stderr
    done = axrad(environ, tmp_path, "run", exam, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "out").rglob("sr.dcm"))
    table = axrad(environ, tmp_path, "extract", exam, "--out", tmp_path / "features.csv")
    assert table.returncode == 0, table.stderr
    assert (tmp_path / "features.csv").read_text().startswith("study_uid")


@pytest.mark.parametrize(
    "arguments",
    [
        ("signature", "train", "t.csv", "--label", "y", "--positive", "1", "--out", "s.axsig"),
        ("signature", "evaluate", "s.axsig", "--table", "a=t.csv", "--out", "out"),
        ("cohort", "delta", "t.csv", "t.csv", "--out", "out"),
        ("reproduce", ".", "--out", "out"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_command_of_research_says_which_extra_to_install(
    environ: dict[str, str], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "t.csv").write_text("id,y\n1,0\n")
    done = axrad(environ, tmp_path, *arguments)
    words = [word for word in arguments[:2] if word.isalpha()]
    assert done.returncode == 1
    assert done.stderr == (
        f"axrad: axrad {' '.join(words)} needs {', '.join(LIBRARIES)}: install the extra `research` "
        "(pip install 'axrad[research]', or script/setup in the source tree).\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_parquet_table_says_so(environ: dict[str, str], exam: Path, tmp_path: Path) -> None:
    done = axrad(environ, tmp_path, "extract", exam, "--out", tmp_path / "features.parquet")
    assert done.returncode == 1
    assert "features.parquet needs pyarrow: install the extra `research`" in done.stderr
