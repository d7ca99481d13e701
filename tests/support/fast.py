"""The tests nearest to what was changed: `python -m tests.support.fast` prints their files, nearest first.

Near is a test file that was changed itself, then one that imports what was changed, then one that imports what imports
it. Only unit tests count. `--fast` takes their tests in that order for `BUDGET_S` seconds, without outside programs,
real data and PostgreSQL, and without tests that took longer than `SLOW_S` the last time.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.support.limits import WithMain
from tests.support.needed import needed_by
from tests.support.waiting import OwnClock

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("daemon", "dicom_sr", "pipeline", "config", "tests")
# Of a minute, what importing and collecting leave.
BUDGET_S = 35.0
SLOW_S = 5.0
MOST_FILES = 30
CACHE = "axrad/seconds"


def module_name(path: Path) -> str:
    """`daemon/spool/__init__.py` → `daemon.spool`, relative to the project."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str) -> set[str]:
    """Modules of ours that a file names in an import, wherever it stands, as far as the text tells."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.partition(".")[0] in ROOMS}


def distances(graph: Mapping[str, set[str]], changed: Iterable[str]) -> dict[str, int]:
    """How many imports lie between a module and the nearest one that was changed."""
    used_by: dict[str, set[str]] = {}
    for name, used in graph.items():
        for other in used & graph.keys():
            used_by.setdefault(other, set()).add(name)
    found = {name: 0 for name in changed if name in graph}
    todo = [*found]
    for name in todo:
        for user in sorted(used_by.get(name, ())):
            if user not in found:
                found[user] = found[name] + 1
                todo.append(user)
    return found


def changed_files() -> list[Path]:
    """Since the branch left main, in the working tree, and new; in a clean main what its last commit changed."""

    def git(*arguments: str) -> list[str]:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.splitlines() if done.returncode == 0 else []

    base = git("merge-base", "HEAD", "main") or ["HEAD"]
    names = [*git("diff", "--name-only", base[0]), *git("ls-files", "--others", "--exclude-standard")]
    names = names or git("diff", "--name-only", "HEAD~1")
    return [Path(name) for name in dict.fromkeys(names)]


def stands_for(path: Path, sources: Mapping[str, str]) -> set[str]:
    """Modules that a changed file counts as: itself, or those that name it; a page is what the tests of pages read."""
    if path.suffix == ".py":
        return {module_name(path)}
    if path.suffix == ".md":
        return {"tests.unit.test_docs"}
    name = path.as_posix() if path.parts[0] == "script" else path.name
    return {module for module, source in sources.items() if name in source}


def nearest(changed: Iterable[Path]) -> list[Path]:
    """Files of unit tests, nearest first; those that reach nothing that was changed are left out."""
    paths = {module_name(p): p for p in (f.relative_to(ROOT) for room in ROOMS for f in (ROOT / room).rglob("*.py"))}
    sources = {name: (ROOT / path).read_text(encoding="utf-8") for name, path in paths.items()}
    graph = {name: imports(source) for name, source in sources.items()}
    found = distances(graph, {module for path in changed for module in stands_for(path, sources)})
    tests = [name for name in found if name.startswith("tests.unit.") and paths[name].name.startswith("test_")]
    return [paths[name] for name in sorted(tests, key=lambda name: (found[name], name))]


class Times:
    """Keeps how long each test took, in pytest's cache."""

    def __init__(self, config: pytest.Config) -> None:
        self._cache: pytest.Cache | None = getattr(config, "cache", None)  # `-p no:cacheprovider` takes it away
        self._of_worker = hasattr(config, "workerinput")
        self._seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] = self._seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        if self._cache is not None and not self._of_worker and self._seconds:
            kept = self._cache.get(CACHE, {}) | {name: round(s, 2) for name, s in self._seconds.items()}
            self._cache.set(CACHE, kept)


class Fast:
    """The plugin of `--fast`."""

    def __init__(self, config: pytest.Config) -> None:
        cache: pytest.Cache | None = getattr(config, "cache", None)
        self._seconds: dict[str, float] = cache.get(CACHE, {}) if cache is not None else {}
        self._clock = OwnClock(work=WithMain())
        self._start_s: float | None = None

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        kept = [item for item in items if self._counts(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept

    def _counts(self, item: pytest.Item) -> bool:
        if needed_by(item) or item.get_closest_marker("cases"):
            return False
        return self._seconds.get(item.nodeid, 0.0) < SLOW_S

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if self._start_s is None:
            self._start_s = self._clock.now()
        if self._clock.now() - self._start_s > BUDGET_S:
            pytest.skip(f"did not fit into the {BUDGET_S:.0f} s of --fast")


def main() -> int:
    changed = changed_files()
    files = nearest(changed)
    if not files:
        print(f"axrad: no unit test imports what was changed ({len(changed)} files)", file=sys.stderr)
    left_out = len(files) - MOST_FILES
    told = f", and {left_out} that are farther away are left out" if left_out > 0 else ""
    print(f"axrad: {min(len(files), MOST_FILES)} test files near {len(changed)} changed files{told}", file=sys.stderr)
    print("\n".join(map(str, files[:MOST_FILES])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
