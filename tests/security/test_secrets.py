"""No secret of the settings is in anything that axrad prints, logs or hands to a child."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from daemon.processes.supervisor import axrad_command
from tests.support.postgres import free_port
from tests.support.waiting import wait_for_end, wait_for_listener

MARK = "Geheim-Zx81"
SETTINGS = """
[spool]
path = "spool"
share_token_file = "secrets/share"
warn_free_bytes = 1
refuse_free_bytes = 1
[ledger]
url = "postgresql://axrad@127.0.0.1:9/axrad"
password_file = "secrets/ledger"
[broker]
url = "redis://127.0.0.1:9/0"
password_file = "secrets/broker"
[flower]
password_file = "secrets/flower"
[clinical]
fhir_url = "http://127.0.0.1:9/fhir"
fhir_token_file = "secrets/fhir"
[notify]
webhook_url_file = "secrets/webhook"
[notify.email]
host = "127.0.0.1"
port = 9
sender = "axrad@example.org"
to = ["people@example.org"]
user = "axrad"
password_file = "secrets/email"
[[pacs]]
name = "archive"
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = 9
dicomweb_url = "http://127.0.0.1:9/dicom-web"
dicomweb_token_file = "secrets/dicomweb"
can = []
[[destination]]
name = "archive"
pacs = "archive"
via = "stow"
what = ["sr"]
"""
NAMES = ("share", "ledger", "broker", "flower", "fhir", "email", "dicomweb")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Settings all of whose secrets are files; nothing that they lead to answers."""
    (tmp_path / "secrets").mkdir(mode=0o700)
    for name in NAMES:
        (tmp_path / "secrets" / name).write_text(f"{MARK}-{name}-0123456789\n")
    (tmp_path / "secrets" / "webhook").write_text(f"http://127.0.0.1:9/{MARK}-webhook\n")
    (tmp_path / "axrad.toml").write_text(SETTINGS)
    return tmp_path


def command(site: Path, *words: str) -> list[str]:
    return [*axrad_command(), *words, "--config", str(site / "axrad.toml")]


@pytest.mark.parametrize("words", [("doctor",), ("doctor", "--json"), ("status",), ("site-key",), ("backup",)])
def test_no_command_shows_a_secret(site: Path, words: tuple[str, ...]) -> None:
    done = subprocess.run(command(site, *words), capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout + done.stderr
    assert MARK not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ledger", ""),
        ("share", f"{MARK}\t"),
        ("webhook", f"ftp://{MARK}"),
        ("webhook", f"http://{MARK} x"),
        ("fhir", ""),
    ],
)
def test_no_fault_in_a_secret_repeats_it(site: Path, name: str, content: str) -> None:
    (site / "secrets" / name).write_text(content)
    done = subprocess.run(command(site, "status"), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert name.replace("webhook", "webhook_url") in done.stderr.replace("share_token", "share")
    assert MARK not in done.stderr


def test_neither_command_lines_nor_environments_nor_files_of_processes_hold_a_secret(site: Path) -> None:
    port = free_port()
    environ = {**os.environ, "HOME": str(site), "AXRAD_LISTEN__PORT": str(port)}
    with (site / "log").open("wb") as log:
        process = subprocess.Popen(command(site, "listen"), stdout=log, stderr=log, cwd=site, env=environ)
    try:
        wait_for_listener(port, lambda: (site / "log").read_text(errors="replace")[-3000:])
        for part in ("cmdline", "environ"):
            assert MARK.encode() not in Path(f"/proc/{process.pid}/{part}").read_bytes()
    finally:
        process.terminate()
        wait_for_end(process)
    written = [path for path in site.rglob("*") if path.is_file() and path.parent.name != "secrets"]
    assert len(written) > 3
    assert [path for path in written if MARK.encode() in path.read_bytes()] == []
