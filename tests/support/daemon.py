"""The whole daemon for a test: every process, on free loopback ports, in a temporary folder.

with running(tmp_path, destinations=[...]) as daemon:
    storescu(daemon.port, exam.folder)
    daemon.wait_for(exam.study_uid, "delivered")
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from config.load import load
from config.schema import Settings
from daemon.ledger import Ledger, heartbeats, open_ledger, studies, views
from daemon.ledger.tables import instances, revisions
from daemon.machine.private_files import private_files
from daemon.processes.supervisor import Supervisor, axrad_command
from pipeline.result import StudyResult
from tests.support.postgres import free_port
from tests.support.waiting import PATIENCE, wait_for, wait_for_listener

# An analysis computes for a while without a word in the ledger.
SETTLES = 3 * PATIENCE
UNFINISHED = ("assembling", "ready", "running", "reported")


@dataclass
class Daemon:
    """A running daemon: its settings, its port, its ledger."""

    folder: Path
    config: Path
    settings: Settings
    ledger: Ledger
    supervisor: Supervisor

    @property
    def port(self) -> int:
        return self.settings.listen.port

    def study(self, study_uid: str) -> dict[str, Any] | None:
        """What `axrad show --json` says, or None while the study is unknown."""
        with self.ledger.read() as connection:
            row = studies.find(connection, study_uid)
            return None if row is None else views.timeline(connection, row)

    def wait_for(self, study_uid: str, *states: str, deliveries: bool = True, revision: int = 0) -> dict[str, Any]:
        """The study once it is in one of `states`, in at least `revision`, with nothing left to deliver."""
        found: dict[str, Any] | None = None

        def reached() -> bool:
            nonlocal found
            found = self.study(study_uid)
            if found is None or found["state"] not in states or found["revision"] < revision:
                return False
            return not deliveries or all(d["state"] not in ("pending", "sending") for d in found["deliveries"])

        wait_for(reached, f"a study to become {states}", moves=lambda: json.dumps(found, indent=1), ticks=SETTLES)
        assert found is not None
        return found

    def wait_for_instances(self, count: int) -> list[Any]:
        """Every row of the ledger's instances, once there are `count`."""
        rows: list[Any] = []

        def arrived() -> bool:
            nonlocal rows
            with self.ledger.read() as connection:
                rows = list(connection.execute(sa.select(instances)).all())
            return len(rows) >= count

        wait_for(arrived, f"{count} instances", moves=lambda: len(rows))
        return rows

    def wait_for_sweep(self) -> None:
        """Until a sweep is over that began when everything that has come so far had lain for the quiet time."""
        with self.ledger.read() as connection:
            newest = connection.execute(sa.select(sa.func.max(instances.c.received_at))).scalar_one() or 0.0
        after = newest + 2 * self.settings.assembly.quiet_s

        def swept() -> bool:
            with self.ledger.read() as connection:
                sign = heartbeats.last_sign(connection, "sweep")
            return sign is not None and sign.at > after

        wait_for(swept, "a sweep")

    def results(self, study_uid: str) -> list[Path]:
        """Result folders of a study, oldest revision first."""
        with self.ledger.read() as connection:
            row = studies.find(connection, study_uid)
            ids = connection.execute(
                sa.select(revisions.c.id).where(revisions.c.study_id == row.id).order_by(revisions.c.number)
            ).scalars()
            return [self.settings.spool.path / "results" / name for name in ids]

    def result(self, study_uid: str) -> StudyResult:
        """The newest result."""
        return StudyResult.from_json((self.results(study_uid)[-1] / "result.json").read_bytes())

    def axrad(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command with this daemon's configuration."""
        return subprocess.run(
            [*axrad_command(), *arguments, "--config", str(self.config)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip


def destination(port: int, name: str = "pacs", ae_title: str = "ORTHANC", **more: object) -> str:
    """A [[destination]] table on this machine."""
    lines = [f'name = "{name}"', f'ae_title = "{ae_title}"', 'host = "127.0.0.1"', f"port = {port}"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in more.items()]
    return "[[destination]]\n" + "\n".join(lines) + "\n"


@contextmanager
def running(
    folder: Path,
    tables: Sequence[str] = (),
    *,
    quiet_s: float = 1.0,
    sweep_s: float = 0.3,
    port: int | None = None,
    flower: bool = False,
    **sections: str,
) -> Iterator[Daemon]:
    """Start all processes; end them in order. `tables`: further TOML; `sections`: lines by section, e.g. `bias="…"`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {
        "spool": 'path = "spool"\nwarn_free_bytes = 1\nrefuse_free_bytes = 1\n',
        "listen": f"port = {port or free_port()}\n",
        "assembly": f"quiet_s = {quiet_s}\nsweep_s = {sweep_s}\n",
        "work": "backoff_s = 1.0\nlease_s = 30\n",
        "log": 'level = "warning"\nformat = "json"\n',
    }
    if "metrics" not in sections:
        written["metrics"] = "enabled = false\n"
    for name, lines in sections.items():
        written[name] = written.get(name, "") + lines + "\n"
    config = folder / "axrad.toml"
    config.write_text(
        "".join(f"[{name}]\n{lines}" for name, lines in written.items()) + "".join(tables), encoding="utf-8"
    )
    settings = load(config, environ={})
    supervisor = Supervisor(settings, config, flower=flower)
    stop = threading.Event()
    with private_files():  # as `axrad up` has them
        supervisor.start()
        ledger = open_ledger(settings)
    watcher = threading.Thread(target=supervisor.watch, args=(stop,))
    watcher.start()
    try:
        wait_for_listener(settings.listen.port)
        yield Daemon(folder, config, settings, ledger, supervisor)
    finally:
        stop.set()
        watcher.join()
        supervisor.stop()
        ledger.close()


def storescu(port: int, *paths: Path, ae_title: str = "AXRAD", options: Sequence[str] = ()) -> None:
    """Send files or folders with DCMTK, proposing just the classes and syntaxes of the files."""
    done = subprocess.run(
        ["storescu", "-R", "+sd", "+r", *options, "-aec", ae_title, "127.0.0.1", str(port), *map(str, paths)],
        env={**os.environ, "TCP_NODELAY": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
