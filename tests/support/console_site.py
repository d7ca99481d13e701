"""A running daemon with a console, exams of every kind that the console shows, and people at browsers."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from starlette.routing import compile_path

from config.places import console_users
from daemon.console import passwords
from daemon.console.application import Address
from daemon.console.rights import ROLES
from daemon.console.user_file import UserFile
from daemon.machine.private_files import private_files
from daemon.processes.supervisor import axrad_command, wait_for_port
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from pipeline.phantom.measurements import write_measurements
from tests.support import viewer
from tests.support.archives import COMPREHENSIVE_SR, SECONDARY_CAPTURE
from tests.support.archives import archive as running_archive
from tests.support.browsing import PASSWORD
from tests.support.daemon import Daemon, destination, running
from tests.support.postgres import free_port
from tests.support.waiting import wait_for, wait_for_end

WIDTHS = (1280, 390)
# Of every exam: a name in Chinese, and markup in what the scanner calls its series.
NAME, HOSTILE = "Wang^XiaoMei=王^小美", "<script>alert('x')</script>"
# As long as DICOM allows, without a place to break.
LONG_NAME = "Li^Na=" + "李" * 64
SECTIONS = {
    "proposal": "enabled = true\nquiet_s = 1",
    "features": 'set = "signature"',
    "bias": "sequences = []",
    "signature": 'allow_origins = ["measured"]\nmax_outside = 1.0\nmax_distance = 1e9',
}


def unvisited(
    addresses: Collection[Address], visited: Collection[tuple[str, str, int]], widths: Sequence[int] = WIDTHS
) -> list[str]:
    """Cells of the table of pages and orders by width that nobody was at."""

    def was_visited(one: Address, width: int) -> bool:
        pattern = compile_path(one.path)[0]
        return any(w == width and method == one.method and pattern.match(path) for method, path, w in visited)

    cells = ((one, width) for one in addresses for width in widths)
    return [f"{one.method} {one.path} at {width}" for one, width in cells if not was_visited(one, width)]


@dataclass
class Place:
    """A running daemon with a console, and who may use it. `waiting`: held too, and never analysed. `out`: where
    pictures of what is looked at go, if anywhere.
    """

    daemon: Daemon
    base: str
    users: UserFile
    browser: viewer.Browser
    out: Path | None
    reported: PhantomExam
    measured: PhantomExam
    rejected: PhantomExam
    held: PhantomExam
    waiting: PhantomExam
    signed_in: set[str] = field(default_factory=set)

    def study(self, exam: PhantomExam) -> str:
        study = self.daemon.study(exam.study_uid)
        assert study is not None
        return str(study["id"])

    def signing_in(self, role: str) -> list[dict[str, Any]]:
        """Steps by which a user of this role signs in. Codes open once, so that some may have to be waited for."""

        def usable() -> int | None:
            user = self.users.get(role)
            assert user is not None
            now = int(time.time() // passwords.STEP_S)
            step = max(now, user.last_step + 1)
            return step if step <= now + 1 else None

        wait_for(lambda: usable() is not None, "a code that was not used", moves=lambda: str(time.time()))
        step, user = usable(), self.users.get(role)
        assert step is not None
        assert user is not None
        fields = {"user": role, "password": PASSWORD, "code": passwords.code_at(user.totp, step)}
        return [{"visit": "/sign-in"}, {"fill": fields}, {"press": "Sign in"}]

    def browse(self, role: str, steps: Sequence[dict[str, Any]], **how: Any) -> list[dict[str, Any]]:
        """What somebody of this role sees, who signs in the first time and is still signed in the next."""
        name = f"{how.pop('folder', role)}-{how.get('width', WIDTHS[0])}"
        folder = None if self.out is None else self.out / name
        before = [] if role in self.signed_in else self.signing_in(role)
        self.signed_in.add(role)
        return self.browser.browse(self.base, [*before, *steps], folder, who=role, **how)

    def orders(self, *actions: str) -> list[dict[str, Any]]:
        """Lines of the audit trail about orders that were given through the console."""
        lines = self.daemon.settings.spool.path.with_name("audit.jsonl").read_text(encoding="utf-8").splitlines()
        messages = [m for m in map(json.loads, lines) if m.get("axrad", {}).get("action") in actions]
        return [m for m in messages if "through the console" in str(m["ActiveParticipant"][0])]

    def proposed(self, exam: PhantomExam) -> None:
        """Wait until regions were proposed for an exam."""
        wait_for(
            lambda: "waits for confirmation" in str((self.daemon.study(exam.study_uid) or {}).get("reason")),
            "a proposal", moves=lambda: str(self.daemon.study(exam.study_uid)),
        )  # fmt: skip


def rewritten(paths: Sequence[Path], **values: str) -> None:
    """Other values in these headers; `{}` stands for what was there."""
    for path in paths:
        ds = pydicom.dcmread(path)
        ds.SpecificCharacterSet = "ISO_IR 192"
        for keyword, value in values.items():
            setattr(ds, keyword, value.format(str(ds.get(keyword, ""))))
        ds.save_as(path, enforce_file_format=True)


def _exam(folder: Path, seed: int, **spec: Any) -> PhantomExam:
    exam = write_exam(folder, PhantomSpec(seed=seed, preset="small", laterality="L", **spec))
    rewritten(exam.paths, PatientName=NAME, SeriesDescription="{} " + HOSTILE)
    return exam


@contextmanager
def console_site(folder: Path) -> Iterator[Place]:
    reported, held = _exam(folder / "a", 31), _exam(folder / "d", 40)
    measured, rejected, waiting = (
        _exam(folder / name, seed, with_seg=False) for name, seed in zip("bce", (23, 24, 41), strict=True)
    )
    for exam in (held, waiting):
        rewritten(exam.paths[::2], PatientID="ANOTHER")
    measurements = [write_measurements(exam) for exam in (measured, rejected)]
    rewritten([*rejected.paths, measurements[1]], PatientName=LONG_NAME, PatientID="9" * 64)
    port = free_port()
    section = {"console": f"port = {port}\nidle_s = 3600", **SECTIONS}
    with running_archive(classes=(COMPREHENSIVE_SR, SECONDARY_CAPTURE)) as archive:
        table = destination(archive.port, ae_title="ARCHIVE", what=["sr", "page"], allow_demonstration=True)
        with running(folder / "axrad", [table], **section) as daemon, _console(daemon, port) as users:
            done = daemon.axrad("ingest", *(str(folder / name) for name in "abcde"), *map(str, measurements))
            assert done.returncode == 0, done.stderr
            daemon.wait_for(reported.study_uid, "delivered", "not_evaluated")
            for exam in (held, waiting):
                daemon.wait_for(exam.study_uid, "held")
            # Pictures cost more than looks.
            out = Path(os.environ["AXRAD_CONSOLE_PICTURES"]) if "AXRAD_CONSOLE_PICTURES" in os.environ else None
            with viewer.Browser() as browser:
                base = f"http://127.0.0.1:{port}"
                place = Place(
                    daemon, base, users, browser, out, reported, measured, rejected, held, waiting
                )  # fmt: skip
                for exam in (measured, rejected):
                    place.proposed(exam)
                yield place


@contextmanager
def _console(daemon: Daemon, port: int) -> Iterator[UserFile]:
    """`axrad console` as a process of its own, with a user of each role."""
    users = UserFile(console_users(daemon.settings))
    with private_files():
        for role in ROLES:
            users.add(role, role, PASSWORD)
    process = subprocess.Popen([*axrad_command(), "console", "--config", str(daemon.config)])
    try:
        assert wait_for_port("127.0.0.1", port, 60)
        yield users
    finally:
        process.terminate()
        wait_for_end(process)
