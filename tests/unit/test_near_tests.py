"""Which tests `script/test --fast` takes, and which programs `script/test PATH` asks for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import fast

ROOT = Path(__file__).resolve().parents[2]


def needed(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.needed", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_a_distance_is_the_number_of_imports_to_the_nearest_change() -> None:
    graph = {"a": set(), "b": {"a"}, "c": {"b"}, "d": {"c", "a"}, "apart": {"os"}}
    assert fast.distances(graph, ["a"]) == {"a": 0, "b": 1, "d": 1, "c": 2}
    assert fast.distances(graph, ["b", "not there"]) == {"b": 0, "c": 1, "d": 2}


def test_circles_of_imports_end() -> None:
    assert fast.distances({"a": {"b"}, "b": {"a"}}, ["a"]) == {"a": 0, "b": 1}


def test_an_import_inside_a_function_counts_and_a_foreign_one_does_not() -> None:
    source = "import numpy\ndef f():\n    from daemon.spool import journal\n"
    assert fast.imports(source) == {"daemon.spool", "daemon.spool.journal"}


def test_the_test_of_what_was_changed_comes_before_tests_that_only_reach_it() -> None:
    files = fast.nearest([Path("tests/unit/test_near_tests.py"), Path("tests/support/fast.py")])
    assert files[0] == Path("tests/unit/test_near_tests.py")


@pytest.mark.parametrize(
    ("changed", "test"),
    [
        ("docs/index.md", "tests/unit/test_docs.py"),
        ("script/setup", "tests/unit/test_setup.py"),
        ("config/sequence_rules.toml", "tests/unit/pipeline/test_sequences_rules.py"),
        ("pyproject.toml", "tests/unit/test_setup.py"),
    ],
)
def test_a_file_that_is_no_module_counts_as_those_that_name_it(changed: str, test: str) -> None:
    assert Path(test) in fast.nearest([Path(changed)])


def test_a_file_that_nothing_names_reaches_no_test() -> None:
    assert fast.nearest([Path("docker", "no-such-file" + ".yaml")]) == []


@pytest.mark.parametrize(
    ("path", "programs"),
    [
        ("tests/unit/test_near_tests.py", set()),
        ("tests/integration/test_docs_orthanc.py", {"orthanc"}),
        ("tests/e2e/test_viewer.py", {"viewer", "orthanc", "chromium", "node", "npm"}),
        ("tests/unit/daemon/test_queue.py", {"postgres"}),
    ],
)
def test_a_path_needs_the_programs_of_its_tests(path: str, programs: set[str]) -> None:
    assert needed(path) == programs


def test_a_selection_needs_only_what_it_selects() -> None:
    assert needed("tests/unit/daemon/test_queue.py", "-k", "sqlite") == set()
