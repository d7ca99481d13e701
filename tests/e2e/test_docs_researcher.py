"""The afternoon of docs/researcher.md: a newcomer's way with forty exams, command by command, and what it costs."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import pytest

from tests.support import docs

# What a newcomer's afternoon may cost, in seconds of processor time.
MOST_SECONDS = 600
EXAMS = 40


def _spent() -> float:
    """Processor time in seconds of everything that this process started and waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_the_way_from_archive_to_signature_goes_as_it_is_described(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = docs.steps(docs.ROOT / "docs" / "researcher.md")
    assert len(steps) > 15
    costs: dict[str, float] = {}
    for step in steps:
        before = _spent()
        problem = docs.told_otherwise(step, docs.run(step, tmp_path))
        assert not problem, f"docs/researcher.md:{step.line}: `{step.command}` {problem}"
        what = step.command.splitlines()[0].split(" --")[0]
        costs[what] = costs.get(what, 0.0) + _spent() - before
    with capsys.disabled():
        lines = [f"{seconds:6.1f} s  {command}" for command, seconds in costs.items()]
        sys.stdout.write("\n".join(["", *lines, f"{sum(costs.values()) / 60:.1f} processor-minutes in all\n"]))
    assert sum(costs.values()) < MOST_SECONDS
    exams = [json.loads((tmp_path / f"truth_{site}.json").read_text())["exams"] for site in "ab"]
    assert sum(map(len, exams)) == EXAMS
    assert (tmp_path / "judged" / "report.html").stat().st_size > 10_000
    assert "fixed bin width of 25" in (tmp_path / "judged" / "methods.md").read_text()
    assert (tmp_path / "result" / "page.png").is_file()
