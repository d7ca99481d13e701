"""script/setup in a copy of what it reads, and package indexes on loopback that make trouble."""

from __future__ import annotations

import base64
import hashlib
import http.server
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from tests.support.certificates import Certificates

ROOT = Path(__file__).resolve().parents[2]
READ = ("script/setup", "script/compat", "script/pins", "pyproject.toml", "constraints.txt", "README.md", "LICENSE")


def copy_of_project(folder: Path) -> Path:
    """What script/setup reads, without the packages' code."""
    for name in READ:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    return folder


SMALL = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "axrad"
version = "0"

[project.scripts]
axrad = "small:main"

[tool.setuptools]
py-modules = ["small"]
"""


def small_project(folder: Path) -> Path:
    """The same with an axrad of one module that needs nothing: what is set up is small, how it is done is the same.

    Nothing is pinned; `pin` says which wheels it takes.
    """
    copy_of_project(folder)
    shutil.rmtree(folder / "script" / "pins")
    (folder / "pyproject.toml").write_text(SMALL)
    (folder / "small.py").write_text("def main() -> None:\n    print('axrad is here')\n")
    return folder


def pin(project: Path, wheel: Path) -> None:
    """Let script/setup take this wheel and no other, as script/pin writes it down."""
    pins = project / "script" / "pins"
    pins.mkdir()
    for name in ("build", "run", "research", "test"):
        (pins / f"{name}.txt").write_text("# nothing\n")
    name, version = wheel.name.split("-")[:2]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (pins / "build.txt").write_text(f"{name}=={version} \\\n    --hash=sha256:{digest}\n")


def wheels(folder: Path, *names: str) -> Path:
    """A folder with wheels of these packages, packed from their installed files, and an empty wheel of PyRadiomics."""
    folder.mkdir()
    for name in names:
        distribution = metadata.distribution(name)
        kept = [f for f in distribution.files or () if ".." not in f.parts and "__pycache__" not in f.parts]
        info = next(f.parts[0] for f in kept if f.parts[0].endswith(".dist-info"))
        with zipfile.ZipFile(folder / f"{info.removesuffix('.dist-info')}-py3-none-any.whl", "w") as wheel:
            kept = [f for f in kept if f.name not in ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD")]
            for file in kept:
                wheel.write(str(file.locate()), str(file))
            wheel.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in kept) + f"{info}/RECORD,,\n")
    tag = f"cp3{sys.version_info[1]}"
    info = "pyradiomics-3.0.1.dist-info"
    with zipfile.ZipFile(folder / f"pyradiomics-3.0.1-{tag}-{tag}-linux_x86_64.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: pyradiomics\nVersion: 3.0.1\n")
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}-{tag}-linux_x86_64\n")
        wheel.writestr(f"{info}/RECORD", "".join(f"{info}/{name},,\n" for name in ("METADATA", "WHEEL", "RECORD")))
    return folder


def layout_of_index(folder: Path) -> Path:
    """What script/setup asks of an index for the small project, as `NAME/FILE`: setuptools, and empty packages."""
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    kept = wheels(folder.with_name("packed"), "setuptools")
    for name in ("numpy", "setuptools", "wheel", "versioneer", "pyradiomics"):
        (folder / name).mkdir(parents=True)
        if name == "setuptools":
            (packed,) = kept.glob("setuptools-*.whl")
            packed.rename(folder / name / packed.name)
            continue
        info = f"{name}-{pinned[name]}.dist-info"
        with zipfile.ZipFile(folder / name / f"{name}-{pinned[name]}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {pinned[name]}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    return folder


def base_python() -> str:
    """The Python that this environment was made from."""
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")


def environment(programs: Path, **settings: str) -> dict[str, str]:
    """No pip setting of this machine counts, no try is repeated, and apt-get does nothing."""
    programs.mkdir(exist_ok=True)
    (programs / "apt-get").write_text("#!/bin/sh\necho 'E: no packages here'\nexit 100\n")
    (programs / "apt-get").chmod(0o755)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "AXRAD_"))}
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        own.pop(name, None)
    return {
        **{name: value for name, value in own.items() if not name.lower().endswith("_proxy")},
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_RETRIES": "1",
        "PIP_NO_CACHE_DIR": "1",
        "PYTHON": base_python(),
        **settings,
    }


def set_up(project: Path, env: dict[str, str], *before: str) -> subprocess.CompletedProcess[str]:
    """Run script/setup there; `before` is a command that runs it, e.g. in namespaces of its own."""
    return subprocess.run(
        [*before, "sh", str(project / "script" / "setup")], env=env, capture_output=True, text=True, check=False
    )


@contextmanager
def index(folder: Path, certificates: Certificates | None = None) -> Iterator[int]:
    """An index of packages in a folder laid out as `NAME/FILE`; its port. With certificates, over TLS."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    if certificates is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server, certificates.server_key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with served(server) as port:
        yield port


@contextmanager
def proxy(target: int, user: str, password: str, asked: list[str]) -> Iterator[int]:
    """A proxy that wants a name and a password, and leads every tunnel to this port; its own port.

    `asked`: which hosts it was asked for.
    """
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Tunnel(http.server.BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            if self.headers.get("Proxy-Authorization") != expected:
                self.send_error(407)
                return
            asked.append(self.path)
            with socket.create_connection(("127.0.0.1", target)) as far:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=pump, args=(far, self.connection), daemon=True)
                back.start()
                pump(self.connection, far)
                back.join()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with served(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tunnel)) as port:
        yield port


def pump(near: socket.socket, far: socket.socket) -> None:
    """Hand on what comes, until it ends."""
    try:
        while data := near.recv(65536):
            far.sendall(data)
        far.shutdown(socket.SHUT_WR)
    except OSError:  # the other side has gone
        return


@contextmanager
def served(server: http.server.ThreadingHTTPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
