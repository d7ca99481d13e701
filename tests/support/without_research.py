"""An environment in which nothing can be imported but what axrad needs at run time, in every process that it starts."""

from __future__ import annotations

import os
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
# A library that is not installed is one that no finder finds.
HOOK = """
import sys
from importlib.machinery import PathFinder

BLOCKED = frozenset({blocked!r})

class Without:
    find_distributions = PathFinder.find_distributions
    invalidate_caches = PathFinder.invalidate_caches

    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] in BLOCKED else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""


def requirements(extra: str | None = None) -> set[str]:
    """Names in pyproject.toml: the requirements at run time, or those of an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    return {canonicalize_name(Requirement(text).name) for text in listed}


def with_theirs(names: set[str]) -> set[str]:
    """These distributions and all that they need in turn, extras of theirs left aside."""
    needed: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name in needed:
            continue
        needed.add(name)
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                todo.append(canonicalize_name(requirement.name))
    return needed


def blocked_modules() -> set[str]:
    """Top-level modules that only the extra `research` brings."""
    only_research = with_theirs(requirements("research")) - with_theirs(requirements())
    modules: dict[str, set[str]] = {}
    for module, distributions in metadata.packages_distributions().items():
        modules[module] = {canonicalize_name(name) for name in distributions}
    return {module for module, owners in modules.items() if owners <= only_research}


def environ(folder: Path) -> dict[str, str]:
    """The environment of this process, with the hook for every Python that starts in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(HOOK.format(blocked=sorted(blocked_modules())), encoding="utf-8")
    return {**os.environ, "PYTHONPATH": str(folder)}
