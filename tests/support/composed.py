"""What docker/compose.yaml starts, started by hand: its commands, its environment, its settings; on loopback ports.

    with composed(folder) as house:
        house.send(exam)                     # to Orthanc, which sends it on
        house.run("axrad status")

Where compose names a host of its network, this machine stands in for it; nothing else is different.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml

from config.load import load
from config.schema import Settings
from daemon.clock import system_clock
from daemon.health import standing_checks
from daemon.ledger import Ledger, open_ledger, studies, views
from daemon.processes.supervisor import axrad_command
from tests.support import docs
from tests.support.machines import database, redis_server
from tests.support.orthanc import Orthanc, orthanc
from tests.support.postgres import free_port
from tests.support.waiting import PATIENCE, wait_for, wait_for_end, wait_for_listener

COMPOSE = docs.ROOT / "docker" / "compose.yaml"
PASSWORD = "as-in-docker-env"
UNFINISHED = ("assembling", "ready", "running", "reported")


@dataclass(frozen=True)
class Ports:
    """Where everything is reached: on a machine that has nothing else, as compose says."""

    listen: int = 11112
    metrics: int = 11180
    flower: int = 5555
    dicom: int = 4242
    http: int = 8042

    @classmethod
    def free(cls) -> Ports:
        return cls(*(free_port() for _ in range(5)))


@dataclass
class House:
    """All of it, running."""

    folder: Path
    ports: Ports
    pacs: Orthanc
    environ: dict[str, str]
    settings: Settings
    ledger: Ledger
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """Where Flower is."""
        return f"127.0.0.1:{self.ports.flower}"

    def start(self, name: str, **more: str) -> None:
        """One service of the compose file; what it says goes to a file of its name. `more`: its environment."""
        service = services()[name]
        with (self.folder / f"{name}.log").open("ab") as said:
            self.processes[name] = subprocess.Popen(
                [*axrad_command(), *map(str, service["command"])],
                cwd=self.folder, env=self.environ | environment(service, self) | more, stdout=said, stderr=said,
                start_new_session=True,
            )  # fmt: skip

    def wait_until_at_work(self) -> None:
        """Somebody listens, every queue has a worker, and the sweep ticks."""
        wait_for_listener(self.ports.listen, lambda: self.said("listen"))

        def idle() -> list[str]:
            with self.ledger.read() as connection:
                found = standing_checks.of_ledger(connection, self.settings, system_clock())
                return [f.name for f in found if not f.ok and f.code in ("sweep", "beat", "workers")]

        wait_for(lambda: not idle(), "everybody to be at work", moves=idle)

    def stop(self, name: str) -> int:
        """As `docker compose stop` does: asked to end, and waited for."""
        process = self.processes.pop(name)
        process.terminate()
        try:
            return wait_for_end(process)
        except AssertionError:
            os.killpg(process.pid, 9)
            raise AssertionError(f"{name} did not end: {self.said(name)}") from None

    def stop_all(self, names: Iterable[str] = ()) -> None:
        """These services, or all."""
        names = list(names or self.processes)
        for name in names:
            self.processes[name].terminate()
        for name in names:
            self.stop(name)

    def restart(self, **listen: str) -> None:
        """All services, with the settings as they are now, but Flower, which forgets its tasks when it ends.

        `listen`: more of the listener's environment.
        """
        names = [name for name in self.processes if name != "flower"]
        self.stop_all(names)
        self.read_settings()
        for name in names:
            self.start(name, **(listen if name == "listen" else {}))
        self.wait_until_at_work()

    def read_settings(self) -> None:
        ours = {key: value for key, value in self.environ.items() if key.startswith("AXRAD_")}
        self.settings = load(Path(self.environ["AXRAD_CONFIG"]), environ=ours)

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """As an operator would, in a shell 100 columns wide, with the settings in the environment."""
        return subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder, env=self.environ | {"COLUMNS": "100"}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def study(self, study_uid: str) -> dict[str, Any] | None:
        with self.ledger.read() as connection:
            row = studies.find(connection, study_uid)
            return None if row is None else views.timeline(connection, row)

    def states(self) -> dict[str, str]:
        """State of every study, by UID."""
        with self.ledger.read() as connection:
            return {s["study_uid"]: s["state"] for s in views.list_studies(connection)}

    def settled(self, count: int) -> dict[str, str]:
        """The states, once there are so many studies and nobody has to do anything with them."""
        wait_for(
            lambda: len(found := self.states()) >= count and not set(found.values()) & set(UNFINISHED),
            f"{count} studies to settle: {self.states()}",
            moves=self.states,
            ticks=3 * PATIENCE,
        )
        return self.states()


def services(*profiles: str) -> dict[str, dict[str, Any]]:
    """Those of the compose file that run our image, and that start without a profile or with one of these."""
    everything = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    ours = {name: service for name, service in everything.items() if service.get("image", "").startswith("axrad")}
    return {name: s for name, s in ours.items() if set(s.get("profiles", profiles)) <= set(profiles)}


def environment(service: Mapping[str, Any], house: House) -> dict[str, str]:
    """What the service is given, with this machine for the hosts of compose's network."""
    given = {}
    for key, value in service["environment"].items():
        text = re.sub(r"\$\{(\w+)[^}]*\}", lambda m: house.environ[m[1]], str(value))
        for theirs, ours in (
            ("redis:6379", house.environ["HERE_REDIS"]),
            ("postgres:5432", house.environ["HERE_POSTGRES"]),
            ("/var/run/postgresql/.s.PGSQL.5432", house.environ["HERE_POSTGRES_SOCKET"]),
            ("/var/lib/axrad", str(house.folder)),
            ("/run/secrets", str(house.folder / "secrets")),
            ("host.docker.internal", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.1"),
        ):
            text = text.replace(theirs, ours)
        given[key] = text
    return given


def _socket_of(server: str) -> str:
    """The Unix socket of a PostgreSQL."""
    engine = sa.create_engine(f"{server}/postgres")
    with engine.connect() as connection:
        folder = connection.execute(sa.text("SHOW unix_socket_directories")).scalar_one()
        port = connection.execute(sa.text("SHOW port")).scalar_one()
    engine.dispose()
    return f"{folder}/.s.PGSQL.{port}"


def _with_axrad(folder: Path) -> Path:
    """A folder with `axrad` and nothing else: other programs beside this Python have names that DCMTK's have too."""
    folder.mkdir()
    (folder / "axrad").symlink_to(Path(sys.executable).with_name("axrad"))
    return folder


@contextmanager
def composed(
    folder: Path, server: str, ports: Ports | None = None, *, kind: type[House] = House, **settings: str
) -> Iterator[House]:
    """Everything up, and ended in order. `server`: a PostgreSQL; `settings`: further ones, as in the environment.

    `kind`: how services are started.
    """
    ports = ports or Ports.free()
    database(server, "axrad")
    with ExitStack() as stack:
        broker = stack.enter_context(redis_server(folder, PASSWORD))
        options = {"LuaScripts": [str(COMPOSE.parent / "orthanc" / "axrad.lua")], "StableAge": 1}
        options |= dict.fromkeys(("DicomAlwaysAllowFind", "DicomAlwaysAllowGet", "DicomAlwaysAllowMove"), False)
        pacs = stack.enter_context(orthanc(our_port=ports.listen, ports=(ports.dicom, ports.http), **options))
        config = folder / "axrad.toml"
        text = (COMPOSE.parent / "axrad.toml").read_text(encoding="utf-8")
        text = text.replace('host = "orthanc"\nport = 4242', f'host = "127.0.0.1"\nport = {pacs.dicom_port}')
        config.write_text(text.replace('host = "0.0.0.0"', 'host = "127.0.0.1"'), encoding="utf-8")
        environ = {
            "PATH": f"{_with_axrad(folder / 'bin')}:/usr/bin:/bin",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "TCP_NODELAY": "1",  # for DCMTK's programs
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
            "AXRAD_CONFIG": str(config),
            "AXRAD_LISTEN__PORT": str(ports.listen),
            "AXRAD_METRICS__PORT": str(ports.metrics),
            "AXRAD_FLOWER__PORT": str(ports.flower),
            "REDISCLI_AUTH": PASSWORD,  # for redis-cli
            "HERE_REDIS": broker.rpartition("@")[2].removesuffix("/0"),
            "HERE_POSTGRES": server.rpartition("@")[2],
            "HERE_POSTGRES_SOCKET": _socket_of(server),
            **settings,
        }
        (folder / "secrets").mkdir(mode=0o755)
        for name in ("redis", "postgres", "flower"):
            (folder / "secrets" / name).write_text(PASSWORD + "\n")
        # What the operator's own shell has: as the containers have it.
        house = kind(folder, ports, pacs, environ, Settings(), None)  # type: ignore[arg-type]
        environ |= environment(services()["work-sweep"], house)
        house.read_settings()
        house.ledger = open_ledger(house.settings)
        stack.callback(house.ledger.close)
        stack.callback(house.stop_all)
        for name in services():
            house.start(name)
        house.wait_until_at_work()
        yield house
