"""The afternoon of docs/researcher.md, command by command."""

from __future__ import annotations

from pathlib import Path

from tests.support import docs


def test_the_way_from_archive_to_signature_goes_as_it_is_described(tmp_path: Path) -> None:
    steps = docs.steps(docs.ROOT / "docs" / "researcher.md")
    assert len(steps) > 10
    for step in steps:
        problem = docs.told_otherwise(step, docs.run(step, tmp_path))
        assert not problem, f"docs/researcher.md:{step.line}: `{step.command}` {problem}"
    assert (tmp_path / "judged" / "report.html").stat().st_size > 10_000
    assert (tmp_path / "result" / "page.png").is_file()
