"""Several machines in one: each with a folder, a configuration and, where the kernel allows it, a name of its own."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from config.load import load
from config.schema import Settings
from daemon.broker.redis_client import usable
from daemon.ledger import open_ledger
from daemon.processes.supervisor import Supervisor, axrad_command
from pipeline.errors import PeerUnreachable
from tests.support.daemon import Daemon
from tests.support.postgres import free_port
from tests.support.waiting import wait_for, wait_for_end

TOKEN = "a-token-that-nobody-guesses"


@contextmanager
def redis_server(folder: Path, password: str = "not-the-token") -> Iterator[str]:
    """A Redis with a password on a loopback port; its URL."""
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--requirepass", password, "--save", "", "--dir"]
    process = subprocess.Popen(["redis-server", *options, str(folder)], stdout=subprocess.DEVNULL)
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    try:
        wait_until_it_answers(url)
        yield url
    finally:
        process.terminate()
        process.wait()


def wait_until_it_answers(url: str) -> None:
    def answers() -> bool:
        try:
            usable(url)
        except PeerUnreachable:
            return False
        return True

    wait_for(answers, "Redis to come up")


def database(server: str, name: str) -> str:
    """The URL of a new database on a server that is up."""
    engine = sa.create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"{server}/{name}"


def configure(folder: Path, spool: str, *tables: str, lease_s: float = 30) -> tuple[Path, Settings]:
    """Write a machine's configuration."""
    folder.mkdir()
    config = folder / "axrad.toml"
    config.write_text(
        f'[spool]\npath = "spool"\nwarn_free_bytes = 1\nrefuse_free_bytes = 1\n{spool}'
        f"[assembly]\nquiet_s = 1\nsweep_s = 0.3\n[work]\nbackoff_s = 1.0\nlease_s = {lease_s}\n"
        '[log]\nlevel = "warning"\nformat = "json"\n[metrics]\nenabled = false\n' + "".join(tables),
        encoding="utf-8",
    )
    return config, load(config, environ={"AXRAD_SPOOL__SHARE_TOKEN": TOKEN})


@contextmanager
def machine(folder: Path, names: set[str], spool: str, *tables: str, lease_s: float = 30) -> Iterator[Daemon]:
    """Those processes of `axrad up`, under this machine's name."""
    config, settings = configure(folder, spool, *tables, lease_s=lease_s)
    supervisor = Supervisor(settings, config, flower=False, environ={"AXRAD_SPOOL__SHARE_TOKEN": TOKEN})
    supervisor.children[:] = [child for child in supervisor.children if child.name in names]
    assert len(supervisor.children) == len(names)
    stop = threading.Event()
    ledger = open_ledger(settings)
    supervisor.start()
    watcher = threading.Thread(target=supervisor.watch, args=(stop,))
    watcher.start()
    try:
        yield Daemon(folder, config, settings, ledger, supervisor)
    finally:
        stop.set()
        watcher.join()
        supervisor.stop()
        ledger.close()


@functools.cache
def naming() -> Sequence[str]:
    """What gives a command a host name of its own; empty where that is not allowed."""
    for command in (["unshare", "--uts"], ["unshare", "--map-root-user", "--uts"]):
        try:
            if subprocess.run([*command, "hostname", "try"], capture_output=True, check=False).returncode == 0:
                return command
        except FileNotFoundError:
            break
    return ()


@dataclass
class WorkerMachine:
    """A worker under a name of its own; `cut` is its power plug."""

    name: str
    settings: Settings
    process: subprocess.Popen[bytes]

    @property
    def copies(self) -> list[Path]:
        """Instances that it read from the intake host."""
        return list((self.settings.spool.path / "copies").glob("instances/*/*/*.dcm"))

    def cut(self) -> None:
        """Every process of it, at once and without a word."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def worker_machine(folder: Path, name: str, spool: str, *tables: str, lease_s: float = 30) -> Iterator[WorkerMachine]:
    config, settings = configure(folder, spool, *tables, lease_s=lease_s)
    command = [*axrad_command(), "work", "--role", "analyse", "--config", str(config)]
    if naming():
        command = [*naming(), "sh", "-c", f'hostname {name} && exec "$@"', "sh", *command]
    process = subprocess.Popen(
        command, env={**os.environ, "AXRAD_SPOOL__SHARE_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"}, start_new_session=True
    )
    worker = WorkerMachine(name, settings, process)
    try:
        yield worker
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                wait_for_end(process, f"{name} to end in order")
            finally:
                worker.cut()
