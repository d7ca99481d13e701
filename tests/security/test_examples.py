"""The settings that are shipped for TLS, with the certificates that the documented step makes, against a listener."""

from __future__ import annotations

import re
import shutil
import ssl
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from config.load import load
from tests.support import docs
from tests.support.browsing import console_of
from tests.support.composed import services
from tests.support.listening import Listening, listening
from tests.support.waiting import wait_for_listener
from tests.unit.test_kubernetes import containers

DOCKER = docs.ROOT / "docker"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """docker/tls as docker/certificates makes it."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    folder = tmp_path_factory.mktemp("docker")
    shutil.copy(DOCKER / "certificates", folder)
    for names in ((), ("mr1.hospital.example",), ("localhost",)):
        subprocess.run(["sh", str(folder / "certificates"), *names], check=True, capture_output=True)
    return folder / "tls"


def settings(made: Path | None = None) -> dict[str, Any]:
    text = (DOCKER / "axrad.tls.toml").read_text(encoding="utf-8")
    return tomllib.loads(text if made is None else text.replace("/etc/axrad-tls", str(made / "axrad")))


@pytest.fixture(scope="module")
def listener(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    chosen = settings(made)
    listen = {k: v for k, v in chosen["listen"].items() if k.startswith("tls_")}
    with listening(tmp_path_factory.mktemp("site") / "spool", peer=chosen["peer"], listen=listen) as found:
        wait_for_listener(found.port)
        yield found


def gets_in(listener: Listening, made: Path, title: str, name: str) -> bool:
    context = ssl.create_default_context(cafile=str(made / "authority.pem"))
    context.load_cert_chain(made / name / f"{name}.pem", made / name / f"{name}.key")
    association = listener.associate(ae_title=title, tls_args=(context, "localhost"))
    if association.is_established:
        association.release()
        return True
    return False


@pytest.mark.parametrize(
    ("title", "name", "admitted"),
    [
        ("ORTHANC", "orthanc", True),
        ("ORTHANC", "axrad", False),
        ("ORTHANC", "mr1.hospital.example", False),
    ],
)
def test_each_title_of_the_example_is_bound_to_its_certificate(
    listener: Listening, made: Path, title: str, name: str, admitted: bool
) -> None:
    assert gets_in(listener, made, title, name) == admitted


def test_only_the_owner_gets_to_the_keys(made: Path) -> None:
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert stat.S_IMODE((made / "authority.key").stat().st_mode) == 0o600
    assert not (made / "axrad" / "authority.key").exists(), "no container is shown what signs"


def test_over_tls_the_example_is_otherwise_that_of_the_simple_start() -> None:
    plain, over_tls = tomllib.loads((DOCKER / "axrad.toml").read_text(encoding="utf-8")), settings()
    # Under the title of the health check nothing can be stored but its own object, whoever comes.
    assert all("certificates" in peer for peer in over_tls["peer"] if peer["ae_title"] != "AXRADHEALTH")
    assert all(pacs.pop("tls") for pacs in over_tls["pacs"])
    over_tls["listen"] = {k: v for k, v in over_tls["listen"].items() if not k.startswith("tls_")}
    over_tls["peer"] = [{k: v for k, v in peer.items() if k != "certificates"} for peer in over_tls["peer"]]
    assert over_tls == plain


def test_every_container_of_ours_gets_these_settings_and_certificates() -> None:
    plain, over_tls = (
        yaml.safe_load((DOCKER / name).read_text(encoding="utf-8"))["services"]
        for name in ("compose.yaml", "compose.tls.yaml")
    )
    ours = {name for name, service in plain.items() if service["image"].startswith("axrad")}
    assert set(over_tls) == ours | {"orthanc"}
    for name in ours:
        assert over_tls[name]["volumes"] == [
            "./axrad.tls.toml:/etc/axrad/axrad.toml:ro", "./tls/axrad:/etc/axrad-tls:ro"
        ]  # fmt: skip


@pytest.mark.parametrize("kind", ["compose", "kubernetes"])
def test_the_console_of_the_example_speaks_tls_alone_and_for_its_own_name(
    kind: str, made: Path, tmp_path: Path
) -> None:
    """With the environment that its container is given, and the certificate of the documented step."""
    own, certificate = made / "localhost", made / "localhost" / "localhost"
    if kind == "compose":
        given = {
            key: re.sub(r"\$\{CONSOLE_NAME:-(\w+)\}", r"\1", v)
            for key, v in services("console")["console"]["environment"].items()
        }
        places, name = {"/etc/axrad-console": str(own)}, "localhost"
    else:
        container = next(c for where, c in containers() if where.endswith("/console"))
        given = {e["name"]: e["value"] for e in container["env"]}
        places = {
            "/etc/axrad-console/tls.crt": f"{certificate}.pem",
            "/etc/axrad-console/tls.key": f"{certificate}.key",
        }
        name = "axrad.example.org"
    environ = {key: places_in(value, places) for key, value in given.items() if key.startswith("AXRAD_CONSOLE__")}
    settings = load(environ=environ | {"AXRAD_CONSOLE__PORT": "0", "AXRAD_SPOOL__PATH": str(tmp_path / "spool")})
    assert settings.console.host == "0.0.0.0"
    with console_of(settings) as console:
        person = console.visitor()
        person.http.verify = str(made / "authority.pem")
        base = person.base = console.base.replace("127.0.0.1", "localhost")
        port = base.rpartition(":")[2]
        answer = person.get("/sign-in", headers={"Host": f"{name}:{port}"})
        assert (answer.status_code, "__Host-axrad-sign-in" in answer.headers["Set-Cookie"]) == (200, True)
        for other in ("127.0.0.1", "evil.example", "console", "axrad"):
            assert person.get("/sign-in", headers={"Host": other}).status_code == 421
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(base.replace("https", "http"))


def places_in(text: str, places: dict[str, str]) -> str:
    for theirs, ours in places.items():
        text = text.replace(theirs, ours)
    return text
