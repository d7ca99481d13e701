"""script/setup where the network, the disk or the folder makes trouble: the cause is shown, and a repeat mends it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.support.certificates import make_certificates
from tests.support.installing import (
    base_python,
    copy_of_project,
    environment,
    index,
    layout_of_index,
    pin,
    proxy,
    set_up,
    small_project,
    wheels,
)
from tests.support.waiting import wait_for, wait_for_end

# Mounts and networks of one's own: as root, or as who may be root in a namespace.
OWN = ["unshare", *([] if os.getuid() == 0 else ["-r"])]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_of_project(tmp_path / "project")


@pytest.fixture
def own_mounts() -> list[str]:
    """A command under which mounts are seen by nobody else; a skip where that is not allowed."""
    if subprocess.run([*OWN, "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces are not allowed here")
    return [*OWN, "-m", "sh", "-euc"]


def lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.strip() for line in done.stderr.splitlines()]


def test_an_untrusted_certificate_is_called_so_and_trusted_when_named(project: Path, tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    (tmp_path / "simple").mkdir()
    with index(tmp_path / "simple", certificates) as port:
        env = environment(tmp_path / "bin", PIP_INDEX_URL=f"https://127.0.0.1:{port}/")
        untrusted = set_up(project, env)
        trusted = set_up(project, {**env, "PIP_CERT": str(certificates.authority)})
    assert untrusted.returncode == trusted.returncode == 1
    assert "CERTIFICATE_VERIFY_FAILED" in untrusted.stderr
    assert lines(untrusted)[-1] == "axrad: PIP_CERT=/path/to/authority.pem script/setup"
    assert len(lines(untrusted)) < 12, untrusted.stderr
    assert "certificate" not in trusted.stderr
    assert "axrad: the package index has no such version for this Python" in trusted.stderr


def test_a_proxy_that_cannot_be_reached_is_called_so_without_its_password(project: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound and never listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        proxy = f"http://somebody:secret@127.0.0.1:{taken.getsockname()[1]}"
        done = set_up(
            project, environment(tmp_path / "bin", HTTPS_PROXY=proxy, PIP_INDEX_URL="https://127.0.0.2/simple")
        )
    assert done.returncode == 1
    assert "Cannot connect to proxy" in done.stderr
    assert lines(done)[-1].startswith("axrad: the proxy does not let pip through")
    assert "secret" not in done.stderr


def test_an_index_of_ones_own_is_enough(tmp_path: Path) -> None:
    project, certificates = small_project(tmp_path / "project"), make_certificates(tmp_path)
    with index(layout_of_index(tmp_path / "simple"), certificates) as port:
        env = environment(tmp_path / "bin", PIP_INDEX_URL=f"https://127.0.0.1:{port}/")
        done = set_up(project, {**env, "PIP_CERT": str(certificates.authority)})
    assert done.returncode == 0, done.stderr
    assert subprocess.check_output([project / ".venv" / "bin" / "axrad"], text=True) == "axrad is here\n"


def test_behind_a_proxy_all_is_fetched_through_it(tmp_path: Path) -> None:
    """The index has a port on which nobody listens: only the proxy knows where it is."""
    project, certificates, asked = small_project(tmp_path / "project"), make_certificates(tmp_path), list[str]()
    with (
        index(layout_of_index(tmp_path / "simple"), certificates) as port,
        proxy(port, "somebody", "secret", asked) as through,
    ):
        env = environment(
            tmp_path / "bin",
            PIP_INDEX_URL="https://localhost:1/",
            PIP_CERT=str(certificates.authority),
            HTTPS_PROXY=f"http://somebody:secret@127.0.0.1:{through}",
        )
        done = set_up(project, env)
        refused = set_up(project, {**env, "AXRAD_VENV": "other", "HTTPS_PROXY": f"http://127.0.0.1:{through}"})
    assert done.returncode == 0, done.stderr
    assert set(asked) == {"localhost:1"}
    assert subprocess.check_output([project / ".venv" / "bin" / "axrad"], text=True) == "axrad is here\n"
    assert refused.returncode == 1
    assert lines(refused)[-1].startswith("axrad: the proxy does not let pip through"), refused.stderr


def test_an_index_that_cannot_be_reached_names_the_three_ways_around(project: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        done = set_up(
            project, environment(tmp_path / "bin", PIP_INDEX_URL=f"http://127.0.0.1:{taken.getsockname()[1]}/")
        )
    assert done.returncode == 1
    assert all(name in lines(done)[-1] for name in ("HTTPS_PROXY=", "PIP_INDEX_URL=", "AXRAD_WHEELS="))


def test_a_full_disk_is_called_so(project: Path, tmp_path: Path, own_mounts: list[str]) -> None:
    """A file system of 6 MB holds the project, and no environment."""
    kept = shutil.copytree(project, tmp_path / "kept")
    full = f'mount -t tmpfs -o size=6m tmpfs {project}; cp -R {kept}/. {project}; "$@"'
    done = set_up(project, environment(tmp_path / "bin"), *own_mounts, full, "-")
    assert done.returncode == 1
    assert lines(done)[-1].startswith("axrad: the disk is full")
    assert len(lines(done)) < 16, done.stderr


def test_a_folder_that_cannot_be_written_is_named(project: Path, tmp_path: Path, own_mounts: list[str]) -> None:
    done = set_up(
        project,
        environment(tmp_path / "bin"),
        *own_mounts,
        f'mount --bind {project} {project}; mount -o remount,ro,bind {project}; "$@"',
        "-",
    )
    assert (done.returncode, lines(done)[-1]) == (1, f"axrad: this folder cannot be written: {project}")


def test_a_folder_of_wheels_is_enough_where_there_is_no_network(tmp_path: Path) -> None:
    """Nor does the name of the folder matter, a home that cannot be written, or files for their owner alone."""
    if subprocess.run([*OWN, "-n", "true"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces are not allowed here")
    folder = tmp_path / "Dr. Müller's 胸部 (1) & %s #2"
    folder.mkdir()
    project = small_project(folder / "axrad – Projekt")
    env = environment(tmp_path / "bin", AXRAD_WHEELS=str(wheels(folder / "Räder 3", "setuptools")), HOME="/proc")
    done = set_up(project, env, *OWN, "-n", "sh", "-c", 'umask 077; exec "$@"', "-")
    assert done.returncode == 0, done.stderr
    assert subprocess.check_output([project / ".venv" / "bin" / "axrad"], text=True) == "axrad is here\n"
    again = set_up(project, env, *OWN, "-n")
    assert (again.returncode, again.stderr) == (0, ""), "there is nothing left to do"


def test_a_folder_that_lacks_a_wheel_says_how_to_make_it(tmp_path: Path, project: Path) -> None:
    env = environment(tmp_path / "bin", AXRAD_WHEELS=str(wheels(tmp_path / "wheels")))
    done = set_up(project, env)
    assert done.returncode == 1
    assert "make it with script/wheelhouse" in lines(done)[-1]


def test_wheels_are_taken_by_their_hashes_and_a_tampered_one_is_refused(tmp_path: Path) -> None:
    project = small_project(tmp_path / "project")
    env = environment(tmp_path / "bin", AXRAD_WHEELS=str(wheels(tmp_path / "wheels", "setuptools")))
    (wheel,) = (tmp_path / "wheels").glob("setuptools-*.whl")
    pin(project, wheel)
    with zipfile.ZipFile(wheel, "a") as tampered:
        tampered.writestr("setuptools/more.py", "print('somebody was here')")
    refused = set_up(project, env)
    assert refused.returncode == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in refused.stderr
    assert any(line.startswith("Expected sha256") for line in lines(refused)), "pip's own words"
    assert lines(refused)[-1].startswith("axrad: a package is not the one that axrad was tested with (script/pins)")
    assert not (project / ".venv" / "bin" / "axrad").exists()

    shutil.rmtree(project / "script" / "pins")
    pin(project, wheel)
    taken = set_up(project, env)
    assert (taken.returncode, "by their versions" in taken.stderr) == (0, False), taken.stderr


def test_without_the_file_of_hashes_it_is_said_that_versions_alone_are_compared(tmp_path: Path) -> None:
    project = small_project(tmp_path / "project")
    env = environment(tmp_path / "bin", AXRAD_WHEELS=str(wheels(tmp_path / "wheels", "setuptools")))
    assert "by their versions, not by their hashes" in set_up(project, env).stderr


@pytest.mark.parametrize(
    "reached",
    [".axrad-unfinished", "bin/python", "lib/python3*/site-packages/pip", "lib/python3*/site-packages/setuptools"],
)
def test_an_interrupted_set_up_is_repeated_from_the_start(tmp_path: Path, reached: str) -> None:
    """Killed as soon as this file is there."""
    project = small_project(tmp_path / "project")
    env = environment(tmp_path / "bin", AXRAD_WHEELS=str(wheels(tmp_path / "wheels", "setuptools")))
    process = subprocess.Popen(["sh", "script/setup"], cwd=project, env=env, start_new_session=True)
    wait_for(lambda: list((project / ".venv").glob(reached)), "the environment to be half made", pause_s=0.001)
    os.killpg(process.pid, signal.SIGKILL)
    assert wait_for_end(process) == -signal.SIGKILL
    assert (project / ".venv" / ".axrad-unfinished").exists()
    done = set_up(project, env)
    assert done.returncode == 0, done.stderr
    assert subprocess.check_output([project / ".venv" / "bin" / "axrad"], text=True) == "axrad is here\n"
    assert not (project / ".venv" / ".axrad-unfinished").exists()


def test_another_python_than_the_environments_makes_a_new_environment(tmp_path: Path) -> None:
    """The environment of a Python that is gone after an upgrade; then of another than the named one."""
    project = small_project(tmp_path / "project")
    env = environment(tmp_path / "bin", AXRAD_WHEELS=str(wheels(tmp_path / "wheels", "setuptools")))
    assert set_up(project, env).returncode == 0
    for link in (project / ".venv" / "bin").glob("python*"):
        link.unlink()
        link.symlink_to("/nowhere/python3")
    shutil.rmtree(project / ".venv" / "lib64", ignore_errors=True)
    assert set_up(project, env).returncode == 0
    assert (project / ".venv" / "bin" / "axrad").exists()

    other = tmp_path / "python-of-another-version"
    other.write_text(f"""#!/bin/sh\ncase "$2" in *'"%d.%d"'*) echo 3.99 ;; *) exec {base_python()} "$@" ;; esac\n""")
    other.chmod(0o755)
    (project / ".venv" / "of the other").touch()
    set_up(project, {**env, "PYTHON": str(other)})
    assert not (project / ".venv" / "of the other").exists()


def test_a_named_python_that_cannot_be_used_is_told_and_no_other_taken(project: Path, tmp_path: Path) -> None:
    done = set_up(project, environment(tmp_path / "bin", PYTHON="/no/such python"))
    assert (done.returncode, lines(done)[-1].partition(" that ")[0]) == (
        1,
        "axrad: PYTHON names no Python 3.11, 3.12 or 3.13",
    )
    assert not (project / ".venv").exists()


@pytest.mark.parametrize("mark", list('":$`\\'))
def test_a_folder_in_which_no_environment_works_is_named(tmp_path: Path, mark: str) -> None:
    """The first line of each program in an environment holds its path, in quotes for a shell."""
    done = set_up(copy_of_project(tmp_path / f"a{mark}b"), environment(tmp_path / "bin"))
    assert (done.returncode, len(lines(done))) == (1, 1)
    assert lines(done)[0].endswith(f"a{mark}b")
