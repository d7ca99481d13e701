"""Another user of the machine can read nothing of a running daemon, and may read what its user asked for."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from daemon.processes.supervisor import axrad_command
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from tests.support.daemon import storescu
from tests.support.postgres import free_port
from tests.support.waiting import PATIENCE, wait_for, wait_for_end, wait_for_listener

pytestmark = [
    pytest.mark.peer("storescu"),
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, to be another user"),
]
NOBODY = "65534"
SETTINGS = """
[spool]
path = "data/spool"
warn_free_bytes = 1
refuse_free_bytes = 1
[listen]
port = {port}
[assembly]
quiet_s = 1
sweep_s = 0.3
[features]
set = "signature"
[metrics]
enabled = false
"""


@dataclass
class Site:
    """A folder that everybody may enter, and a daemon that was started with the umask of most machines."""

    folder: Path
    port: int
    exam: PhantomExam

    def axrad(self, *arguments: str) -> subprocess.Popen[bytes]:
        config = [] if arguments[0] == "run" else ["--config", str(self.folder / "axrad.toml")]
        environ = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(self.folder / "tmp")}
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*axrad_command(), *arguments, *config],
                env=environ, stdout=log, stderr=log, umask=0o022, start_new_session=True, cwd=self.folder,
            )  # fmt: skip

    def done(self, *arguments: str) -> None:
        process = self.axrad(*arguments)
        assert wait_for_end(process) == 0, (self.folder / "log").read_text(errors="replace")[-3000:]


def readable_by_nobody(folder: Path) -> set[Path]:
    """Files that another user can read, and folders that he can list or enter, by his own trying."""
    asked = ["find", str(folder), "(", "-readable", "-o", "-type", "d", "-executable", ")", "-print"]
    done = subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *asked],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return {Path(line) for line in done.stdout.splitlines()} - {folder}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """An exam was sent, analysed and reported; a backup was made, the state looked at, and an exam run by hand."""
    with tempfile.TemporaryDirectory(prefix="axrad-site-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "tmp").mkdir()
        (folder / "tmp").chmod(0o1777)
        port = free_port()
        (folder / "axrad.toml").write_text(SETTINGS.format(port=port), encoding="utf-8")
        here = Site(folder, port, write_exam(folder / "exam", PhantomSpec(seed=71, preset="small")))
        up = here.axrad("up")
        try:
            wait_for_listener(port, lambda: (folder / "log").read_text(errors="replace")[-3000:])
            storescu(port, here.exam.folder)
            made = lambda: list((folder / "data" / "spool" / "results").glob("*/sr.dcm"))  # noqa: E731
            wait_for(made, "a report", ticks=3 * PATIENCE, pause_s=0.5)
            here.done("status")
            here.done("backup")
            here.done("backup", "--out", str(folder / "asked" / "backup.tar"))
            here.done("run", str(here.exam.folder), "--out", str(folder / "for-others"))
            yield here
        finally:
            up.terminate()
            wait_for_end(up)


def test_another_user_can_read_nothing_that_the_daemon_wrote(site: Site) -> None:
    found = readable_by_nobody(site.folder)
    theirs = {"axrad.toml", "log", "exam", "tmp", "for-others", "asked"}
    assert {path for path in found if path.relative_to(site.folder).parts[0] not in theirs} == set()
    assert {path for path in found if path.is_relative_to(site.folder / "asked")} - {site.folder / "asked"} == set()


def test_temporary_files_are_the_daemons_alone(site: Site) -> None:
    assert readable_by_nobody(site.folder / "tmp") == set()


def test_every_file_and_folder_of_the_daemon_is_private_by_its_own_mode(site: Site) -> None:
    data = site.folder / "data"
    modes = {(p.is_dir(), stat.S_IMODE(p.lstat().st_mode)) for p in (data, *data.rglob("*")) if not p.is_symlink()}
    assert modes == {(True, 0o700), (False, 0o600)}
    names = {path.name for path in data.rglob("*")}
    assert {"ledger.sqlite", "audit.jsonl", "sr.dcm", "result.json"} <= names, "these were looked at"


def test_what_a_user_asked_for_has_his_umask(site: Site) -> None:
    asked_for = site.folder / "for-others" / "result.json"
    assert asked_for in readable_by_nobody(site.folder)
    assert stat.S_IMODE(asked_for.stat().st_mode) == 0o644
