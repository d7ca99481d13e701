"""A test is given up when it makes no progress, and not because the machine is busy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.limits import MOVED_S, STILL_S, WHOLE_S, Progress

ROOT = Path(__file__).resolve().parents[2]
CONFTEST = """
import pytest
from tests.support import limits

limits.LOOK_EVERY_S, limits.STILL_S, limits.MOVED_S, limits.STUBBORN_S = 0.2, {still}, 0.5, 3

def pytest_configure(config):
    config.addinivalue_line("markers", "timeout(seconds): a limit")
    config.pluginmanager.register(limits.Limits(config))
"""


def run(folder: Path, body: str, still: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run pytest with these limits on a file of tests."""
    (folder / "conftest.py").write_text(CONFTEST.format(still=still))
    (folder / "test_it.py").write_text(body)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:timeout", "-c", os.devnull,
         "--rootdir", folder, folder / "test_it.py"],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_test_that_gets_processor_time_goes_on_until_its_limit() -> None:
    progress = Progress(WHOLE_S, own_s=0, spent_s=0)
    for second in range(0, int(WHOLE_S), 20):
        assert progress.verdict(second, second * 0.5) is None
    assert "not done in 600 s" in (progress.verdict(WHOLE_S + 1, WHOLE_S * 0.5) or "")


def test_a_test_whose_processes_only_wait_is_given_up_earlier() -> None:
    progress = Progress(WHOLE_S, own_s=0, spent_s=0)
    assert progress.verdict(STILL_S, MOVED_S / 2) is None
    assert "did anything" in (progress.verdict(STILL_S + 1, MOVED_S / 2) or "")


def test_a_process_that_ended_counts_as_progress() -> None:
    progress = Progress(WHOLE_S, own_s=0, spent_s=9)
    assert progress.verdict(100, 1) is None
    assert progress.verdict(STILL_S + 50, 1) is None


def test_time_in_which_others_had_the_processors_is_not_counted() -> None:
    """The own clock stands still then, for hours if need be."""
    progress = Progress(WHOLE_S, own_s=5, spent_s=0)
    assert all(progress.verdict(5.1, 0.1) is None for _ in range(1000))


def test_a_deadlock_fails_with_the_place_where_it_waits_and_the_next_test_runs(tmp_path: Path) -> None:
    body = "import threading\ndef test_waits(): threading.Event().wait()\ndef test_next(): pass\n"
    done = run(tmp_path, body, still=1.0)
    assert "1 failed, 1 passed" in done.stdout
    assert "no process of this test did anything" in done.stdout
    assert "in test_waits" in done.stdout


def test_an_endless_loop_fails_by_its_own_limit(tmp_path: Path) -> None:
    body = "import pytest\n@pytest.mark.timeout(1)\ndef test_loops():\n    while True: pass\n"
    done = run(tmp_path, body)
    assert "1 failed" in done.stdout
    assert "not done in 1 s" in done.stdout


def test_a_test_that_swallows_its_failure_ends_the_process_with_its_name(tmp_path: Path) -> None:
    body = (
        "import threading\n"
        "def test_stubborn():\n"
        "    while True:\n"
        "        try: threading.Event().wait()\n"
        "        except BaseException: pass\n"
    )
    done = run(tmp_path, body, still=1.0)
    assert done.returncode == 70
    assert "test_stubborn cannot be ended" in done.stdout + done.stderr
