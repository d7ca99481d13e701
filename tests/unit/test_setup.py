"""What script/setup says where a machine has no Python for it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("sh", "cat", "cksum", "cut", "dirname", "id", "mktemp", "rm", "sed")
BRINGS = {
    "dnf": "sudo dnf install -y python3.12 python3.12-devel gcc",
    "zypper": "sudo zypper install -y python312 python312-devel gcc",
    "apk": "sudo apk add python3 python3-dev gcc musl-dev",
    "uv": "uv python install 3.13",
    "pyenv": "pyenv install 3.13",
}


def setup_with(folder: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """Run script/setup in a copy of the project where only these programs are on the path."""
    for name in ("script", "bin"):
        (folder / name).mkdir()
    for name in ("script/setup", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    for name in TOOLS:
        (folder / "bin" / name).symlink_to(str(shutil.which(name)))
    for name, body in programs.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / "bin" / name).chmod(0o755)
    return subprocess.run(
        ["sh", "script/setup"],
        cwd=folder,
        env={"PATH": str(folder / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("manager", BRINGS)
def test_without_a_python_the_one_command_that_brings_one_is_named(tmp_path: Path, manager: str) -> None:
    done = setup_with(tmp_path, **{manager: "exit 0"})
    assert done.returncode == 1
    assert done.stderr.splitlines()[1].strip() == BRINGS[manager]
    assert "PYTHON=" in done.stderr


def test_a_python_that_is_too_old_counts_as_none(tmp_path: Path) -> None:
    done = setup_with(tmp_path, python3="exit 1", dnf="exit 0")
    assert (done.returncode, "3.11, 3.12 or 3.13" in done.stderr) == (1, True)


def test_the_newest_python_that_the_systems_packages_have_is_asked_for(tmp_path: Path) -> None:
    """As a person without sudo: what to type is printed."""
    known = 'case "$2" in python3.12) echo "Package: $2";; esac'
    done = setup_with(tmp_path, **{"apt-cache": known})
    assert done.returncode == 1
    assert "python3.12 python3.12-venv python3.12-dev" in done.stderr
