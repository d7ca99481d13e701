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
    "brew": "brew install python@3.13",
    "pacman": "sudo pacman -S --needed python312 gcc",
    "pyenv": "pyenv install 3.13",
}
# What a system's /etc/os-release says → the command that brings a Python where no program tells more.
APT = "sudo apt-get update && sudo apt-get install -y python{0} python{0}-venv python{0}-dev gcc libc6-dev"
SYSTEMS = {
    'ID=debian\nVERSION_ID="12"': APT.format("3.11"),
    'ID=debian\nVERSION_ID="13"': APT.format("3.13"),
    'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="22.04"': APT.format("3.11").replace(
        "sudo apt-get update", "sudo add-apt-repository -y universe"
    ),
    'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"': APT.format("3.12"),
    'ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_ID="21.3"': APT.format("3.13").replace(
        "sudo apt-get update", "sudo add-apt-repository -y ppa:deadsnakes/ppa"
    ),
    'ID=debian\nVERSION_ID="11"': "(the packages of this system have none: get Python 3.13 from python.org)",
    'NAME="Fedora Linux"\nID=fedora\nVERSION_ID=43': BRINGS["dnf"],
    'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.6"': BRINGS["dnf"],
    "ID=alpine\nVERSION_ID=3.22.1": BRINGS["apk"],
    'ID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"': BRINGS["zypper"],
    "ID=arch": BRINGS["pacman"],
    "ID=nixos": "(get Python 3.13 from python.org)",
}


def setup_with(folder: Path, release: str | None = None, **programs: str) -> subprocess.CompletedProcess[str]:
    """Run script/setup in a copy of the project where only these programs are on the path.

    `release`: what /etc/os-release says; None for this machine's own.
    """
    for name in ("script", "bin"):
        (folder / name).mkdir()
    for name in ("script/setup", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    for name in TOOLS:
        (folder / "bin" / name).symlink_to(str(shutil.which(name)))
    for name, body in programs.items():
        (folder / "bin" / name).unlink(missing_ok=True)
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / "bin" / name).chmod(0o755)
    environment = {"PATH": str(folder / "bin")}
    if release is not None:
        (folder / "os-release").write_text(f"{release}\n")
        environment["AXRAD_OS_RELEASE"] = str(folder / "os-release")
    return subprocess.run(
        ["sh", "script/setup"],
        cwd=folder,
        env=environment,
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


@pytest.mark.parametrize("release", SYSTEMS)
def test_without_a_known_program_the_system_is_known_by_its_name(tmp_path: Path, release: str) -> None:
    done = setup_with(tmp_path, release)
    assert done.returncode == 1
    assert done.stderr.splitlines()[1].strip() == SYSTEMS[release]


@pytest.mark.parametrize("release", [name for name in SYSTEMS if "ID=ubuntu" in name or "ID=debian" in name])
def test_package_lists_that_were_never_fetched_hide_no_python(tmp_path: Path, release: str) -> None:
    done = setup_with(tmp_path, release, **{"apt-cache": "exit 0", "apt-get": "exit 0", "id": "echo 1000"})
    assert done.stderr.splitlines()[1].strip() == SYSTEMS[release]


def test_on_alpine_it_is_said_that_one_dependency_is_not_made_for_it(tmp_path: Path) -> None:
    assert "SimpleITK is not made for musl" in setup_with(tmp_path, "ID=alpine").stderr


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ("dnf", "sudo dnf install -y python3.12-devel gcc"),
        ("zypper", "sudo zypper install -y python312-devel gcc"),
        ("brew", "xcode-select --install"),
    ],
)
def test_without_a_compiler_the_systems_own_command_is_named(tmp_path: Path, manager: str, command: str) -> None:
    """A Python that has everything but its headers, on a system without apt-get."""
    python = 'case "$2" in *print*) echo 3.12;; *Python.h*) exit 1;; esac'
    done = setup_with(tmp_path, python3=python, **{manager: "exit 0"})
    assert (done.returncode, done.stderr.splitlines()[1].strip()) == (1, command)


def test_a_folder_of_wheels_that_is_not_there_is_named(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "script", tmp_path / "script", ignore=lambda *_: {"compat"})
    done = subprocess.run(
        ["sh", "script/setup"], cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "AXRAD_WHEELS": "nowhere"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "axrad: AXRAD_WHEELS names no folder: nowhere\n")


def test_a_python_that_is_too_old_counts_as_none(tmp_path: Path) -> None:
    done = setup_with(tmp_path, python3="exit 1", dnf="exit 0")
    assert (done.returncode, "3.11, 3.12 or 3.13" in done.stderr) == (1, True)


def test_the_newest_python_that_the_systems_packages_have_is_asked_for(tmp_path: Path) -> None:
    """As a person without sudo: what to type is printed."""
    known = 'case "$2" in python3.12) echo "Package: $2";; esac'
    done = setup_with(tmp_path, **{"apt-cache": known})
    assert done.returncode == 1
    assert "python3.12 python3.12-venv python3.12-dev" in done.stderr
