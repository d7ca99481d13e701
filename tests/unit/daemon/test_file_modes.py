"""What axrad keeps is its user's alone, what a user asked for is as he has it, and doctor tells what is not."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from config.schema import Settings
from config.schema import Spool as SpoolSection
from daemon import main
from daemon.health.file_modes import file_modes
from daemon.ledger import open_ledger
from daemon.machine.private_files import private_files
from daemon.recovery.backup import backup
from daemon.spool import Spool


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(spool=SpoolSection(path=tmp_path / "spool"))


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def modes_below(folder: Path) -> set[tuple[bool, int]]:
    return {(path.is_dir(), mode(path)) for path in (folder, *folder.rglob("*"))}


def made(settings: Settings) -> None:
    with private_files():
        settings.spool.path.mkdir(exist_ok=True)
        Spool(settings.spool.path)
        open_ledger(settings).close()


def test_the_folders_of_a_spool_and_its_ledger_are_their_users_alone(settings: Settings, tmp_path: Path) -> None:
    made(settings)
    assert modes_below(settings.spool.path) == {(True, 0o700), (False, 0o600)}
    assert mode(tmp_path / "ledger.sqlite") == 0o600
    finding = file_modes(settings)
    assert finding.ok, finding.text


def test_a_backup_is_its_users_alone_wherever_it_is_put_and_whatever_the_umask(
    settings: Settings, tmp_path: Path
) -> None:
    made(settings)
    ledger = open_ledger(settings)
    backup(settings, ledger, tmp_path / "backup.tar", 0.0)
    ledger.close()
    assert mode(tmp_path / "backup.tar") == 0o600


@pytest.mark.parametrize("name", sorted(main.COMMANDS))
def test_only_commands_that_write_for_a_user_keep_his_umask(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def writes() -> None:
        (tmp_path / "file").touch()
        (tmp_path / "folder").mkdir()

    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: writes)
    assert CliRunner().invoke(main.cli, [name]).exit_code == 0
    users = name in main.FOR_THE_USER
    assert mode(tmp_path / "file") == (0o644 if users else 0o600)
    assert mode(tmp_path / "folder") == (0o755 if users else 0o700)
    assert os.umask(0o022) == 0o022, "it is as before when the command has ended"


def test_every_command_for_a_user_is_a_command() -> None:
    assert main.COMMANDS.keys() >= main.FOR_THE_USER


@pytest.mark.parametrize("what", ["spool", "spool/instances/00", "spool/journal", "ledger.sqlite", "backups"])
def test_doctor_tells_what_others_may_open_and_how_to_close_it(settings: Settings, tmp_path: Path, what: str) -> None:
    made(settings)
    if what == "backups":
        (tmp_path / what).mkdir(mode=0o700)
    (tmp_path / what).chmod(0o750 if (tmp_path / what).is_dir() else 0o604)
    finding = file_modes(settings)
    assert finding.level == "warn"
    place = tmp_path / what.split("/")[0]
    assert str(place) in finding.text
    assert finding.remedy == f"`chmod -R go= {place}`"
    subprocess.run(shlex.split(finding.remedy.strip("`")), check=True)
    assert file_modes(settings).ok


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_doctor_tells_of_files_of_another_user(settings: Settings) -> None:
    made(settings)
    os.chown(settings.spool.path / "journal", 65534, -1)
    finding = file_modes(settings)
    assert finding.level == "warn"
    assert "another user" in finding.text
    assert finding.remedy == f"`chown -R {os.geteuid()} {settings.spool.path}`"


def test_doctor_finds_nothing_where_there_is_no_spool_yet(settings: Settings) -> None:
    assert file_modes(settings).ok


def test_a_site_key_that_others_may_read_is_told(settings: Settings) -> None:
    made(settings)
    key = settings.spool.path.parent / "site.key"
    key.write_text("ab" * 32)
    finding = file_modes(settings)
    assert (finding.level, "site.key" in finding.text) == ("warn", True)
    key.chmod(0o600)
    assert file_modes(settings).ok


def test_the_consoles_users_that_others_may_read_are_told_of(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir(mode=0o700)
    users = tmp_path / "console-users.json"
    users.write_text("{}", encoding="utf-8")
    users.chmod(0o644)
    finding = file_modes(Settings(spool=SpoolSection(path=tmp_path / "spool")))
    assert finding.level == "warn"
    assert str(users) in finding.text
