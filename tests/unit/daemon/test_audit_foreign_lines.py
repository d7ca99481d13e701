"""Lines and files that somebody else put into the audit trail stop neither the trail nor its verification."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from config.schema import Settings
from daemon import audit
from daemon.audit_trail import chain
from daemon.audit_trail.verification import Verdict, files_of_trail, verify
from daemon.cli.refused import refusals

LINES = 6
DEEP = b"[" * 30_000
ENDLESS = b'{"chain":{"trail":"a","number":1e400,"previous":"b"}}'
FORGED = b'{"EventIdentification":{"EventID":"forged"}}\n'


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    for number in range(LINES):
        chain.append(path, {"number": number})
    return path


def verdict_on(trail: Path) -> Verdict:
    last = chain.last_link(trail)
    return verify(files_of_trail(trail), [] if last is None else [last])


@pytest.mark.parametrize("line", [DEEP, ENDLESS, b"1" * 5000, b"\xff\xfe"], ids=["deep", "endless", "long", "bytes"])
def test_the_trail_goes_on_after_a_line_that_cannot_be_read_and_the_line_shows(trail: Path, line: bytes) -> None:
    with trail.open("ab") as file:
        file.write(line + b"\n")
    settings = Settings.model_validate({"spool": {"path": trail.parent / "spool"}})
    audit.activity(settings, started=True)
    assert trail.read_bytes().count(b"\n") == LINES + 2
    assert verdict_on(trail).faults == [f"audit.jsonl, line {LINES + 1}: no audit message, or a part of one"]


def flipped(packed: bytes) -> bytes:
    return packed[:14] + bytes(255 - byte for byte in packed[14:24]) + packed[24:]


@pytest.mark.parametrize(
    "damage", [flipped, lambda packed: packed[:-12], lambda _: FORGED], ids=["bits", "cut", "text"]
)
def test_a_packed_file_that_is_damaged_is_named(trail: Path, damage: Callable[[bytes], bytes]) -> None:
    lines = trail.read_bytes().splitlines(keepends=True)
    trail.with_name("audit.jsonl.1.gz").write_bytes(damage(gzip.compress(b"".join(lines[:3]), mtime=0)))
    trail.write_bytes(b"".join(lines[3:]))
    assert any("audit.jsonl.1.gz cannot be read to its end: " in fault for fault in verdict_on(trail).faults)


def test_a_line_that_was_put_before_those_of_a_rotated_trail_shows(trail: Path) -> None:
    trail.write_bytes(FORGED + b"".join(trail.read_bytes().splitlines(keepends=True)[3:]))
    assert any("follows 1 lines of no chain" in fault for fault in verdict_on(trail).faults)


def test_lines_of_before_there_was_a_chain_are_counted_and_are_no_fault(trail: Path) -> None:
    trail.write_bytes(FORGED + trail.read_bytes())
    verdict = verdict_on(trail)
    assert (verdict.unchained, verdict.faults) == (1, [])


@pytest.mark.parametrize(
    "line", [DEEP, ENDLESS, b"{}", b"3", b"\xff\xfe"], ids=["deep", "endless", "empty", "3", "bytes"]
)
def test_refusals_are_listed_past_a_line_of_somebody_else(tmp_path: Path, line: bytes) -> None:
    settings = Settings.model_validate({"spool": {"path": tmp_path / "spool"}})
    trail = audit.trail_path(settings)
    trail.write_bytes(line + b"\n")
    audit.refused_association(settings, "MR1", "10.1.1.7", "unknown-peer")
    assert [one["calling_ae"] for one in refusals(trail, 10)] == ["MR1"]
