"""The services of docker/compose.yaml as containers: its user, memory, rights and read-only root, by docker or podman.

Their network is the host's, where Redis, PostgreSQL and Orthanc of the test are.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.composed import House, environment, services

IMAGE = os.environ.get("IMAGE_UNDER_TEST", "")
ENGINE = shlex.split(os.environ.get("IMAGE_ENGINE", "podman"))
USER = 10001
DATA = "/var/lib/axrad"
# podman asks for more than a machine may give.
LIMITS = ("--ulimit=nofile=16384:16384", "--ulimit=nproc=16384:16384")


def engine(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ENGINE, *words], capture_output=True, text=True, check=False)


def restrictions(service: dict[str, Any]) -> Iterator[str]:
    """What compose says of a service's rights, in the words of the engine's command line."""
    if service["read_only"]:
        yield "--read-only"
    yield from (f"--cap-drop={name}" for name in service["cap_drop"])
    yield from (f"--security-opt={option.removesuffix(':true')}" for option in service["security_opt"])
    yield from (f"--tmpfs={place}" for place in service["tmpfs"])
    yield f"--user={service['user']}"
    yield f"--memory={service['mem_limit']}"
    yield f"--pids-limit={service['pids_limit']}"
    yield from LIMITS


class ContainerHouse(House):
    """Started from the image; what a container writes lies in the house's folder."""

    def container(self, name: str) -> str:
        return f"axrad-test-{os.getpid()}-{name}"

    def start(self, name: str, **more: str) -> None:
        service = services()[name]
        given = {key: value for key, value in self.environ.items() if key.startswith("AXRAD_")}
        given |= environment(service, self) | more | {"AXRAD_CONFIG": "/etc/axrad/axrad.toml"}
        socket = Path(self.environ["HERE_POSTGRES_SOCKET"]).parent
        socket.chmod(0o3777)  # as the image of PostgreSQL has it
        data = self.folder / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        os.chown(data, USER, USER)
        command = [
            *ENGINE, "run", "--rm", "--name", self.container(name), "--network=host", *restrictions(service),
            "--volume", f"{data}:{DATA}",
            "--volume", f"{self.environ['AXRAD_CONFIG']}:/etc/axrad/axrad.toml:ro",
            "--volume", f"{socket}:{socket}",
            "--volume", f"{self.folder / 'secrets'}:{DATA}/secrets:ro",
            *(f"--env={key}={value.replace(str(self.folder), DATA)}" for key, value in given.items()),
            IMAGE, *map(str, service["command"]),
        ]  # fmt: skip
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def stop(self, name: str) -> int:
        try:
            return super().stop(name)
        finally:
            engine("rm", "--force", self.container(name))

    def inside(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """A command in a container that runs."""
        return engine("exec", self.container(name), *words)
