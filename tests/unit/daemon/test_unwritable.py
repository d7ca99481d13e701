"""Output that cannot be written is exit 1 with a sentence in every command; nothing is made unasked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MAIN = "from daemon.main import main; main()"
# Commands that write files: what goes before and after the place, and whether that is a folder. IN, DIR: what is there.
WRITING = {
    "phantom": (["phantom", "--out"], [], True),
    "run": (["run", "DIR", "--out"], [], True),
    "roi": (["roi", "IN", "--images", "DIR", "--out"], [], True),
    "reproduce": (["reproduce", "DIR", "--out"], [], True),
    "demo": (["demo", "--out"], [], True),
    "cohort": (["cohort", "delta", "--out"], [], True),
    "evaluate": (["signature", "evaluate", "IN", "--table", "a=IN", "--out"], [], True),
    "train": (["signature", "train", "IN", "--label", "y", "--positive", "1", "--out"], [], False),
    "bias": (["bias", "IN"], [], False),
    "extract": (["extract", "DIR", "--out"], [".csv"], False),
    "backup": (["backup", "--out"], [], False),
    "match": (["match", "DIR", "--sheet"], [], False),
}
# Commands that print data on any machine.
PRINTING = {
    "refused": ["refused", "--json"],
    "check-sr": ["check-sr", "IN", "--json"],
    "show": ["signature", "show", "--json"],
    "list": ["signature", "list", "--registry", "DIR", "--json"],
    "doctor": ["doctor", "--json"],
    "help": ["--help"],
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "in").write_text("x")
    (tmp_path / "dir").mkdir()
    return tmp_path


def axrad(place: Path, *arguments: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    words = [
        {"IN": str(place / "in"), "DIR": str(place / "dir"), "a=IN": f"a={place / 'in'}"}.get(a, a) for a in arguments
    ]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("AXRAD_")} | {"PYTHONPATH": os.getcwd()}
    return subprocess.run(
        [sys.executable, "-c", MAIN, *words],
        stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=place, env=environ, check=False,
    )  # fmt: skip


def listed(place: Path) -> list[Path]:
    return sorted(place.rglob("*"))


@pytest.mark.parametrize("command", WRITING)
def test_a_place_that_cannot_be_written_is_told_before_anything_is_calculated(place: Path, command: str) -> None:
    before, after, folder = WRITING[command]
    wrong = [f"{place / 'in'}/x", "/dev/null/x/y"]
    wrong.append(str(place / "in") if folder else str(place / "dir"))
    if not folder and not after:
        wrong.append("/dev/full")
    there = listed(place)
    for path in wrong if command not in ("run", "roi") else wrong[:2]:
        done = axrad(place, *before, path + "".join(after) if path != str(place / "dir") else path)
        assert done.returncode == 1, (path, done.stderr)
        assert done.stderr.startswith("axrad: nothing can be written there: "), done.stderr
        assert "Traceback" not in done.stderr
        if command in ("demo", "cohort", "phantom"):
            break  # each start loads much; the option is one and the same
    assert listed(place) == there


@pytest.mark.parametrize("command", PRINTING)
def test_a_full_disk_and_a_closed_pipe_behind_the_output_are_told(place: Path, command: str) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    reader, closed = os.pipe()
    os.close(reader)
    for fd, why in ((full, "No space left on device"), (closed, "Broken pipe")):
        done = axrad(place, *PRINTING[command], stdout=fd)
        os.close(fd)
        if command == "check-sr":  # it is no report: exit 1 with another sentence
            assert done.returncode == 1
            continue
        assert done.returncode == 1, done.stderr
        assert f"axrad: the output cannot be written: {why}" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr


def test_a_registry_that_is_not_there_is_an_error_and_is_not_made(place: Path) -> None:
    for command in (["list"], ["activate", "x@1"]):
        done = axrad(place, "signature", *command, "--registry", "/nosuch")
        assert done.returncode == 1
        assert done.stderr == "axrad: there is no registry at /nosuch: no such folder\n"
    assert not Path("/nosuch").exists()


@pytest.mark.parametrize(
    "command",
    [["status"], ["studies"], ["show", "x"], ["retry", "x"], ["cancel", "x"], ["prioritise", "x"], ["deliver", "x"],
     ["fetch", "x"], ["backup"], ["refused"], ["doctor"], ["match", "DIR"], ["signature", "show"]],
    ids=lambda words: words[0],
)  # fmt: skip
def test_whoever_only_looks_makes_no_folder(place: Path, command: list[str]) -> None:
    before = listed(place)
    done = axrad(place, *command)
    assert "Traceback" not in done.stderr
    assert listed(place) == before
    if command[0] not in ("fetch", "refused", "doctor", "match", "signature"):
        assert done.returncode == 1
        assert "there is no ledger at" in done.stderr
