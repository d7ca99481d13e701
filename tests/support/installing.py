"""script/setup in a copy of what it reads, and package indexes on loopback that make trouble."""

from __future__ import annotations

import hashlib
import http.server
import os
import shutil
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
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
