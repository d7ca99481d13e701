"""script/pins: the hashes by which every package is installed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SETS = ("build", "run", "research", "model", "test")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def blocks(name: str) -> list[str]:
    """Each package of a file: its line and those of its hashes."""
    text = (ROOT / "script" / "pins" / f"{name}.txt").read_text(encoding="utf-8")
    return [block for block in re.split(r"\n(?=\S)", text.strip()) if not block.startswith("#")]


def packages(name: str) -> dict[str, str]:
    """The package's name → its version."""
    pinned = (block.partition("\n")[0].rstrip("\\ ").partition(";")[0].strip() for block in blocks(name))
    return {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in pinned}


@pytest.mark.parametrize("name", SETS)
def test_every_package_has_a_version_and_hashes_and_nothing_else(name: str) -> None:
    line = r"[a-z0-9][a-z0-9.-]*(\[[a-z,]+\])?==\S+( ; [^\\]+)? \\"
    shape = re.compile(rf"{line}(\n    --hash=sha256:[0-9a-f]{{64}}( \\)?)+")
    assert [block for block in blocks(name) if not shape.fullmatch(block)] == []


@pytest.mark.parametrize("name", SETS)
def test_no_address_of_an_index_is_in_it(name: str) -> None:
    assert "://" not in (ROOT / "script" / "pins" / f"{name}.txt").read_text(encoding="utf-8")


def test_the_versions_are_those_of_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    constraints = {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in lines}
    pinned = {name: version for kind in SETS for name, version in packages(kind).items()}
    assert {name: version for name, version in pinned.items() if constraints.get(name) != version} == {}, "script/pin"


@pytest.mark.parametrize("kind", ["run", "research", "model", "test"])
def test_whatever_the_project_asks_for_has_hashes(kind: str) -> None:
    asked = PROJECT["dependencies"] if kind == "run" else PROJECT["optional-dependencies"][kind]
    known = {name for one in SETS[: SETS.index(kind) + 1] for name in packages(one)}
    assert {canonicalize_name(Requirement(line).name) for line in asked} - known == set(), "run script/pin"


def test_what_a_container_runs_needs_no_package_of_the_research_or_of_the_tests() -> None:
    assert {"pandas", "lifelines", "pytest", "mypy"}.isdisjoint({**packages("build"), **packages("run")})
