"""Whoever edits, reorders or cuts the audit trail of a running daemon is found out by `axrad audit verify`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from daemon.processes.supervisor import axrad_command
from tests.support.postgres import free_port
from tests.support.waiting import wait_for, wait_for_end, wait_for_listener

pytestmark = [pytest.mark.peer("echoscu"), pytest.mark.timeout(600)]
SETTINGS = """
[spool]
path = "data/spool"
warn_free_bytes = 1
refuse_free_bytes = 1
[listen]
port = {port}
[metrics]
enabled = false
[[peer]]
ae_title = "SCANNER"
host = "127.0.0.1"
"""
LINES = 6


def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        daemon = subprocess.Popen(
            [*axrad_command(), "listen", "--config", str(folder / "axrad.toml")],
            stdout=log, stderr=log, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    wait_for_listener(port)
    return daemon


def noted(folder: Path) -> int:
    ledger = folder / "data" / "ledger.sqlite"
    if not ledger.is_file():
        return 0
    engine = sa.create_engine(f"sqlite:///{ledger}")
    try:
        with engine.connect() as connection:
            return int(connection.execute(sa.text("select coalesce(max(number), 0) from audit_anchors")).scalar_one())
    except sa.exc.OperationalError:
        return 0
    finally:
        engine.dispose()


def trail(folder: Path) -> Path:
    return folder / "data" / "audit.jsonl"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site whose daemon refused strangers, was told of its trail's length, and was ended."""
    folder = tmp_path_factory.mktemp("site")
    port = free_port()
    (folder / "axrad.toml").write_text(SETTINGS.format(port=port))
    daemon = start(folder, port)
    try:
        for _ in range(LINES - 2):
            subprocess.run(["echoscu", "-aet", "STRANGER", "127.0.0.1", str(port)], capture_output=True, check=False)
        wait_for(lambda: noted(folder) >= LINES - 1, "the ledger to know the trail's length")
    finally:
        daemon.send_signal(signal.SIGTERM)
        wait_for_end(daemon)
    return folder


@pytest.fixture
def site(recorded: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(recorded, copy)
    return copy


def verify(folder: Path) -> tuple[int, list[str]]:
    done = subprocess.run(
        [*axrad_command(), "audit", "verify", "--json", "--config", str(folder / "axrad.toml")],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["faults"]


def change(folder: Path, edit: Callable[[list[bytes]], list[bytes]]) -> None:
    path = trail(folder)
    path.write_bytes(b"".join(edit(path.read_bytes().splitlines(keepends=True))))


def test_a_trail_that_nobody_touched_is_as_it_was_written(site: Path) -> None:
    assert verify(site) == (0, [])


@pytest.mark.parametrize("line", range(LINES))
def test_an_edited_line_shows_also_the_last_one(site: Path, line: int) -> None:
    change(site, lambda lines: [x.replace(b"127.0.0.1", b"10.9.9.9").replace(b'"E"', b'"R"') if n == line else x
                                for n, x in enumerate(lines)])  # fmt: skip
    code, faults = verify(site)
    assert code == 1
    assert faults


def test_lines_in_another_order_show(site: Path) -> None:
    change(site, lambda lines: [lines[0], lines[2], lines[1], *lines[3:]])
    assert verify(site)[0] == 1


def test_a_removed_and_an_added_line_show(site: Path) -> None:
    change(site, lambda lines: [*lines[:2], *lines[3:]])
    assert any("missing" in fault for fault in verify(site)[1])


def test_a_line_of_somebody_else_shows(site: Path) -> None:
    change(site, lambda lines: [*lines, b'{"EventIdentification":{}}\n'])
    assert any("not in the chain" in fault for fault in verify(site)[1])


def test_a_cut_tail_shows(site: Path) -> None:
    change(site, lambda lines: lines[:3])
    assert any("the end is missing" in fault for fault in verify(site)[1])


def test_a_cut_tail_shows_by_the_ledger_where_the_file_beside_it_was_cut_too(site: Path) -> None:
    change(site, lambda lines: lines[:3])
    (site / "data" / "audit.jsonl.chain").unlink()
    assert any("the end is missing" in fault for fault in verify(site)[1])


def test_a_removed_trail_shows_by_the_ledger(site: Path) -> None:
    trail(site).unlink()
    (site / "data" / "audit.jsonl.chain").unlink()
    assert any("whole trail" in fault for fault in verify(site)[1])


def test_rotated_files_are_one_trail(site: Path) -> None:
    lines = trail(site).read_bytes().splitlines(keepends=True)
    trail(site).with_name("audit.jsonl.1").write_bytes(b"".join(lines[:3]))
    change(site, lambda lines: lines[3:])
    assert verify(site) == (0, [])


def test_a_daemon_that_goes_on_after_a_cut_leaves_the_gap(site: Path) -> None:
    change(site, lambda lines: lines[:3])
    port = int((site / "axrad.toml").read_text().split("port = ")[1].split()[0])
    daemon = start(site, port)
    try:
        wait_for(lambda: noted(site) > LINES, "the ledger to know more lines")
    finally:
        daemon.send_signal(signal.SIGTERM)
        wait_for_end(daemon)
    assert any("missing" in fault for fault in verify(site)[1])
