"""Files that are replaced whole: no reader and no crash sees half of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.whole_file import replacing, write_whole


@given(st.binary(max_size=1000), st.binary(max_size=1000), st.booleans())
def test_a_file_holds_what_was_written_last(
    tmp_path_factory: pytest.TempPathFactory, first: bytes, second: bytes, synced: bool
) -> None:
    path = tmp_path_factory.mktemp("whole") / "a.json"
    write_whole(path, first, synced=synced)
    write_whole(path, second, synced=synced)
    assert path.read_bytes() == second
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_whole(path, b"old")

    def write_half() -> None:
        with replacing(path) as file:
            file.write(b"half of the n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_sees_the_old_file_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_whole(path, b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_whole(path, b"old")
    code = (
        "import os, pathlib, signal, sys\n"
        "from pipeline.whole_file import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as file:\n"
        "    file.write(b'new')\n"
        "    file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_two_writers_at_once_leave_the_whole_file_of_one_of_them(tmp_path: Path) -> None:
    path, together = tmp_path / "a.json", threading.Barrier(2)
    contents = [bytes([65 + number]) * 100_000 for number in range(2)]

    def write(content: bytes) -> None:
        with replacing(path) as file:
            together.wait()
            file.write(content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents


def test_permissions_are_those_of_the_umask_or_the_ones_asked_for(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_whole(tmp_path / "own", b"")
        write_whole(tmp_path / "readable", b"", mode=0o644)
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("own", "readable")] == [0o600, 0o644]
