"""Whatever data file is tracked beside the code is installed with it: what works in a clone works from a wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from setuptools import Distribution
from setuptools.command.build_py import build_py
from setuptools.config.pyprojecttoml import apply_configuration

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("config", "daemon", "dicom_sr", "pipeline")


@pytest.fixture(scope="module")
def tracked() -> frozenset[str]:
    """Every file of the four packages that git knows of."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        reason = "not a git clone, or no git"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    # A clone may belong to somebody else than who runs the tests; for listing it that is no danger.
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", *PACKAGES]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode()
    return frozenset(name for name in listed.split("\0") if name and (ROOT / name).exists())


@pytest.fixture
def distribution(monkeypatch: pytest.MonkeyPatch) -> Distribution:
    """What setuptools makes of pyproject.toml."""
    monkeypatch.chdir(ROOT)
    made = Distribution({"script_name": "setup.py"})
    apply_configuration(made, "pyproject.toml")
    made.set_defaults()
    made.include_package_data = False  # it adds what an earlier build listed: not there in a fresh clone
    return made


def installed(distribution: Distribution) -> frozenset[str]:
    """What setuptools' own build step would put into a wheel."""
    command = build_py(distribution)
    command.finalize_options()
    data = [Path(folder, name) for _, folder, _, names in command.data_files for name in names]
    modules = [Path(path) for _, _, path in command.find_all_modules()]
    return frozenset(path.as_posix() for path in [*data, *modules])


def test_every_tracked_file_of_the_packages_is_installed(tracked: frozenset[str], distribution: Distribution) -> None:
    assert {"daemon/main.py", "config/extraction.toml"} <= tracked
    assert tracked - installed(distribution) == frozenset()


def test_a_data_file_of_a_kind_without_a_pattern_is_missed(tracked: frozenset[str], distribution: Distribution) -> None:
    (patterns,) = distribution.package_data.values()
    patterns.remove("*.axsig")
    signatures = {name for name in tracked if name.endswith(".axsig")}
    assert signatures
    assert tracked - installed(distribution) == signatures
