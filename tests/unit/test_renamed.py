"""docs/renamed.md leads from the names of the first version to names that are in the tree."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "renamed.md").read_text(encoding="utf-8")
OURS = ("daemon", "dicom_sr", "pipeline", "config")
DOTTED = re.compile(rf"(?:{'|'.join(OURS)})(?:\.\w+)+")


def names_now() -> list[str]:
    """The dotted names in the last column of every table."""
    cells = [line.strip("| ").split(" | ")[-1] for line in PAGE.splitlines() if line.startswith("| `")]
    return [name for cell in cells for name in DOTTED.findall(cell)]


def bare_names_now() -> list[str]:
    """Names in the last column without their module, which is that of the first column by its new name."""
    cells = [line.strip("| ").split(" | ")[-1] for line in PAGE.splitlines() if line.startswith("| `")]
    return [name for cell in cells for name in re.findall(r"`([A-Za-z_]\w+)`", cell)]


def defined_in(tree: ast.AST) -> set[str]:
    """Classes, functions, constants and fields."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                names.add(node.name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.alias(asname=None, name=name) | ast.alias(asname=str(name)):
                names.add(name)
    return names


def problem_with(name: str) -> str | None:
    """Why a dotted name leads nowhere: no such module, or nothing of that name defined or passed on in it."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        module = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
        if module.is_file():
            inside = defined_in(ast.parse(module.read_text(encoding="utf-8")))
            missing = [part for part in parts[length:] if part not in inside]
            return f"{name}: {module.relative_to(ROOT)} has no {missing[0]}" if missing else None
    return f"{name}: no such module"


def test_every_new_name_is_in_the_tree() -> None:
    assert len(names_now()) > 150
    assert [problem for name in names_now() if (problem := problem_with(name))] == []


def test_every_new_name_without_its_module_is_in_the_tree() -> None:
    trees = [ast.parse(p.read_text(encoding="utf-8")) for folder in OURS for p in (ROOT / folder).rglob("*.py")]
    modules = {path.stem for folder in OURS for path in (ROOT / folder).rglob("*.py")}
    defined = set().union(modules, *(defined_in(tree) for tree in trees))
    assert len(bare_names_now()) > 100
    assert [name for name in bare_names_now() if name not in defined] == []


@pytest.mark.parametrize("name", ["daemon.network.redirekts", "daemon.ledger.claims.no_such", "pipeline.nowhere.x"])
def test_a_name_that_leads_nowhere_would_be_noticed(name: str) -> None:
    assert problem_with(name) is not None
