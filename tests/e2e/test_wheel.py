"""axrad as a wheel: right by its checker, whole, and at work in an empty environment, away from the project's folder.

Everything is installed from what `script/wheelhouse` gathers, without asking an index; the project's folder too.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import docs
from tests.support.installing import base_python
from tests.support.postgres import free_port
from tests.support.waiting import wait_for, wait_for_end, wait_for_listener

pytestmark = pytest.mark.timeout(1800)
# A network with nothing but loopback: as root, or as who may be root in a namespace.
ALONE = ["unshare", *([] if os.getuid() == 0 else ["-r"]), "-n"]
LOOPBACK_UP = (
    "import fcntl, os, socket, struct, sys;"
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 1)); os.execvp(sys.argv[1], sys.argv[1:])"
)
PACKAGES = ("config", "daemon", "dicom_sr", "pipeline")
# What doctor has to say of an axrad that stands alone, with nobody to send its results to.
WITHOUT_A_DESTINATION = {"destinations"}


def run(*words: str | Path, cwd: Path, **environ: str) -> str:
    """What a command prints; an environment without this project's."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AXRAD_", "PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [*map(str, words)], cwd=cwd, env=clean | environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout}"
    return done.stdout


def tracked() -> set[str]:
    listed = run("git", "-c", f"safe.directory={docs.ROOT}", "ls-files", "-z", *PACKAGES, cwd=docs.ROOT)
    return {name for name in listed.split("\0") if name and (docs.ROOT / name).exists()}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that script/wheelhouse fills for this Python."""
    folder = tmp_path_factory.mktemp("wheelhouse") / "wheels"
    run(docs.ROOT / "script" / "wheelhouse", "--all", "--out", folder, cwd=docs.ROOT, PYTHON=base_python())
    return folder


@pytest.fixture(scope="module")
def environment(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment, into which the documented line was given."""
    folder = tmp_path_factory.mktemp("environment")
    run(Path(sys.base_prefix) / "bin" / "python3", "-m", "venv", folder / "env", cwd=folder)
    links = ("--find-links", wheels, "--constraint", wheels / "constraints.txt")
    run(folder / "env" / "bin" / "pip", "install", "--quiet", *links, "axrad", cwd=folder, PIP_NO_INDEX="1")
    return folder / "env"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `python -m build` makes of a clone."""
    out = tmp_path_factory.mktemp("dist")
    run(
        sys.executable, "-m", "build", "--no-isolation", "--outdir", out, cwd=clone_in(tmp_path_factory.mktemp("clone"))
    )
    return out


def clone_in(clone: Path) -> Path:
    """The tracked files as they are now."""
    listed = run("git", "-c", f"safe.directory={docs.ROOT}", "ls-files", "-z", cwd=docs.ROOT).split("\0")
    for name in listed:
        if name and (docs.ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(docs.ROOT / name, clone / name)
    return clone


def one(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


@pytest.mark.peer("git")
def test_wheel_and_source_are_right_by_twine(built: Path) -> None:
    files = (one(built, "axrad-*.whl"), one(built, "axrad-*.tar.gz"))
    said = run(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=built)
    assert said.count("PASSED") == 2


@pytest.mark.peer("git")
def test_the_wheel_holds_every_tracked_file_of_the_packages_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(one(built, "axrad-*.whl")) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == tracked()


@pytest.mark.peer("git")
def test_the_source_holds_every_tracked_file_of_the_packages(built: Path) -> None:
    with tarfile.open(one(built, "axrad-*.tar.gz")) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    assert tracked() - names == set()


@pytest.mark.peer("git")
def test_the_wheelhouse_holds_the_same_axrad_and_a_pyradiomics_of_this_python(wheels: Path, built: Path) -> None:
    with zipfile.ZipFile(one(wheels, "axrad-*.whl")) as ours, zipfile.ZipFile(one(built, "axrad-*.whl")) as theirs:
        kept = [{i.filename: i.CRC for i in z.infolist() if ".dist-info/" not in i.filename} for z in (ours, theirs)]
    assert kept[1].items() <= kept[0].items()  # a file that is not tracked yet is there as well
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    assert one(wheels, f"pyradiomics-3.0.1-{tag}-{tag}-*.whl").stat().st_size > 10_000


def test_without_the_projects_folder_a_phantom_exam_goes_the_whole_way(environment: Path, tmp_path: Path) -> None:
    origin = run(environment / "bin" / "python", "-c", "import daemon; print(daemon.__file__)", cwd=tmp_path)
    assert Path(origin.strip()).is_relative_to(environment)
    said = run(environment / "bin" / "axrad", "demo", "--out", tmp_path / "demo", cwd=tmp_path)
    assert "status: evaluated" in said, said
    assert {"sr.dcm", "page.pdf", "page.png", "result.json"} <= {p.name for p in (tmp_path / "demo").iterdir()}


@pytest.mark.peer("git")
def test_without_a_network_the_readmes_command_needs_only_the_wheelhouse(wheels: Path, tmp_path: Path) -> None:
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces are not allowed here")
    project = clone_in(tmp_path / "project")
    said = run(
        *ALONE, sys.executable, "-c", LOOPBACK_UP, project / "script" / "run", "--out", tmp_path / "demo", cwd=project,
        AXRAD_WHEELS=str(wheels), PYTHON=base_python(), PIP_CONFIG_FILE=os.devnull, PIP_FIND_LINKS="",
    )  # fmt: skip
    assert "status: evaluated" in said, said
    assert (project / ".venv" / "bin" / "axrad").is_file()


@contextmanager
def everything_up(environment: Path, folder: Path) -> Iterator[Path]:
    """`axrad up` with settings of two lines."""
    port, settings = free_port(), folder / "axrad.toml"
    settings.write_text(f'[listen]\nport = {port}\n[spool]\npath = "{folder / "data" / "spool"}"\n', encoding="utf-8")
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [environment / "bin" / "axrad", "up", "--config", settings], cwd=folder, stdout=log, stderr=log,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(folder)}, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for_listener(port, lambda: (folder / "up.log").read_text(errors="replace"))
        yield settings
        process.send_signal(signal.SIGTERM)
        assert wait_for_end(process) == 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def troubles(environment: Path, settings: Path) -> tuple[set[str], dict[str, str]]:
    """What doctor looked at, and what it finds wrong. Which fonts a machine has is not axrad's doing."""
    done = subprocess.run(
        [environment / "bin" / "axrad", "doctor", "--json", "--config", settings],
        cwd=settings.parent, env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    lines = {line["part"]: line for line in json.loads(done.stdout)["lines"]}
    return set(lines), {p: line["text"] for p, line in lines.items() if not line["ok"] and p != "fonts"}


def test_without_the_projects_folder_everything_comes_up_and_is_well(environment: Path, tmp_path: Path) -> None:
    with everything_up(environment, tmp_path) as settings:
        seen: dict[str, str] = {}

        def well() -> set[str] | None:
            looked_at, bad = troubles(environment, settings)
            seen.clear()
            seen.update(bad)
            return looked_at if set(bad) == WITHOUT_A_DESTINATION else None

        # The listener answers before beat's first tick: doctor is asked until that has come.
        looked_at = wait_for(well, "a doctor with nothing to complain of", moves=lambda: sorted(seen.items()))
    assert {"pyradiomics", "environment", "listener", "broker", "signature"} <= looked_at
