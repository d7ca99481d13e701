"""Backup and restore: all of it comes back, of older versions too, into either database; nothing goes unasked."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from config.schema import Ledger as LedgerSection
from config.schema import Settings, SignatureSettings, Spool
from daemon.ledger import Ledger, heartbeats, open_ledger
from daemon.ledger.dump import version_in
from daemon.ledger.engine import backups_folder, bare_ledger
from daemon.ledger.instances import Arrival, record
from daemon.ledger.migrations import FIRST, HEAD, LedgerTooNew, migrate
from daemon.ledger.tables import events, instances, studies
from daemon.main import cli
from daemon.recovery.backup import MANIFEST, NoBackup, NotEmpty, backup, contents_of, restore
from tests.support.facts import image, seg

NOW = 1_800_000_000.0


def settings_in(folder: Path, url: str | None = None) -> Settings:
    return Settings(
        ledger=LedgerSection(url=url or f"sqlite:///{folder / 'ledger.sqlite'}"),
        spool=Spool(path=folder / "spool"),
        signature=SignatureSettings(registry=folder / "signatures"),
    )


def filled(settings: Settings) -> Settings:
    """One study with three images and a SEG, one result, one signature, one received file."""
    ledger = open_ledger(settings)
    slices = [image("1.2.3.1", n) for n in range(3)]
    with ledger.write() as connection:
        for item in (*slices, seg(slices)):
            uid = item.ref.sop_instance_uid
            record(connection, Arrival(uid, "d", f"instances/aa/{uid}.dcm", 10, NOW, facts=item))
    ledger.close()
    for path, data in (
        (settings.spool.path / "results" / "r1" / "sr.dcm", b"report"),
        (settings.spool.path / "instances" / "aa" / "x" / "d.dcm", b"image"),
        (settings.spool.path / "incoming" / "half", b"never"),
        (settings.signature.registry / "one.axsig", b"signature"),  # type: ignore[operator]
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return settings


def made(settings: Settings, out: Path, *, instances: bool = False) -> Path:
    ledger = open_ledger(settings)
    backup(settings, ledger, out, NOW, instances=instances)
    ledger.close()
    return out


def rows(settings: Settings, table: sa.Table) -> list[tuple[object, ...]]:
    ledger = open_ledger(settings)
    with ledger.read() as connection:
        found = [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns)).all()]
    ledger.close()
    return found


def test_everything_comes_back(tmp_path: Path, ledger_url: str) -> None:
    before = filled(settings_in(tmp_path / "a"))
    path = made(before, tmp_path / "b.tar", instances=True)
    after = settings_in(tmp_path / "c", ledger_url)
    restore(after, path, NOW)
    for table in (instances, studies, events):
        assert rows(after, table) == rows(before, table)
    assert (after.spool.path / "results" / "r1" / "sr.dcm").read_bytes() == b"report"
    assert (after.spool.path / "instances" / "aa" / "x" / "d.dcm").read_bytes() == b"image"
    assert (after.signature.registry / "one.axsig").read_bytes() == b"signature"  # type: ignore[operator]
    assert not (after.spool.path / "incoming" / "half").exists()


def test_a_restored_ledger_goes_on_where_it_was(tmp_path: Path, ledger_url: str) -> None:
    path = made(filled(settings_in(tmp_path / "a")), tmp_path / "b.tar")
    after = settings_in(tmp_path / "c", ledger_url)
    restore(after, path, NOW)
    ledger = open_ledger(after)
    with ledger.write() as connection:
        new = image("1.2.3.1", 9)
        record(connection, Arrival(new.ref.sop_instance_uid, "d", "instances/aa/9.dcm", 10, NOW, facts=new))
        ids = connection.execute(sa.select(instances.c.id).order_by(instances.c.id)).scalars().all()
    ledger.close()
    assert list(ids) == [1, 2, 3, 4, 5]


def test_images_are_in_a_backup_only_where_they_are_asked_for(tmp_path: Path) -> None:
    settings = filled(settings_in(tmp_path / "a"))
    with tarfile.open(made(settings, tmp_path / "b.tar")) as tar:
        assert sorted(tar.getnames()) == ["ledger.jsonl.gz", MANIFEST, "results/r1/sr.dcm", "signatures/one.axsig"]


def test_a_ledger_with_something_in_it_is_not_overwritten_unasked(tmp_path: Path) -> None:
    path = made(filled(settings_in(tmp_path / "a")), tmp_path / "b.tar")
    other = filled(settings_in(tmp_path / "c"))
    with pytest.raises(NotEmpty, match="--replace"):
        restore(other, path, NOW)
    assert rows(other, studies) != rows(settings_in(tmp_path / "a"), studies)
    restore(other, path, NOW, replace=True)
    assert rows(other, studies) == rows(settings_in(tmp_path / "a"), studies)
    (saved,) = backups_folder(other).glob("ledger-before-restore-*")
    assert version_in(saved) == HEAD


def test_a_ledger_in_which_only_processes_have_signed_counts_as_empty(tmp_path: Path, ledger_url: str) -> None:
    path = made(filled(settings_in(tmp_path / "a")), tmp_path / "b.tar")
    other = settings_in(tmp_path / "c", ledger_url)
    ledger = open_ledger(other)
    with ledger.write() as connection:
        heartbeats.sign(connection, "sweep", "sweep", NOW)
    ledger.close()
    assert restore(other, path, NOW).rows > 4


def test_a_backup_of_an_older_version_is_brought_up_to_date(tmp_path: Path, ledger_url: str) -> None:
    old = settings_in(tmp_path / "a")
    (tmp_path / "a").mkdir()
    ledger = bare_ledger(old)
    with ledger.write() as connection:
        migrate(connection, tmp_path / "backups", to=FIRST)
        connection.execute(sa.text("INSERT INTO events (at, kind, detail) VALUES (1.5, 'old', '')"))
    assert backup(old, ledger, tmp_path / "b.tar", NOW).ledger_version == FIRST
    ledger.close()
    after = settings_in(tmp_path / "c", ledger_url)
    restore(after, tmp_path / "b.tar", NOW)
    assert rows(after, events)[0][1:5] == (1.5, None, None, "old")


def test_a_backup_of_a_newer_version_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = made(filled(settings_in(tmp_path / "a")), tmp_path / "b.tar")
    with tarfile.open(path) as tar:
        tar.extractall(tmp_path / "x", filter="data")
    manifest = tmp_path / "x" / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"ledger_version": "9999"}))
    with tarfile.open(tmp_path / "newer.tar", "w") as tar:
        tar.add(manifest, MANIFEST)
    with pytest.raises(LedgerTooNew, match="made by a newer axrad"):
        restore(settings_in(tmp_path / "c"), tmp_path / "newer.tar", NOW)


def test_what_is_no_backup_or_is_cut_off_is_refused_and_the_ledger_stays_as_it_was(tmp_path: Path) -> None:
    settings = filled(settings_in(tmp_path / "a"))
    path = made(settings, tmp_path / "b.tar", instances=True)
    (tmp_path / "text").write_text("no tar")
    (tmp_path / "cut.tar").write_bytes(path.read_bytes()[:3000])
    for wrong in ("text", "cut.tar"):
        with pytest.raises(NoBackup):
            restore(settings, tmp_path / wrong, NOW, replace=True)
    assert len(rows(settings, instances)) == 4


def test_a_backup_cannot_write_outside_of_its_folders(tmp_path: Path) -> None:
    path = made(filled(settings_in(tmp_path / "a")), tmp_path / "b.tar")
    (tmp_path / "evil").write_bytes(b"evil")
    with tarfile.open(path, "a") as tar:
        tar.add(tmp_path / "evil", "results/../../../stolen")
    with pytest.raises(NoBackup):
        restore(settings_in(tmp_path / "c"), path, NOW)
    assert not list(tmp_path.rglob("stolen"))


def test_the_commands_say_what_they_did(tmp_path: Path) -> None:
    config = tmp_path / "axrad.toml"
    config.write_text('[spool]\npath = "spool"\n')
    filled(Settings(spool=Spool(path=tmp_path / "spool"), signature=SignatureSettings(registry=tmp_path / "s")))
    run = CliRunner()
    said = run.invoke(cli, ["backup", "--config", str(config), "--json"])
    assert said.exit_code == 0, said.output
    document = json.loads(said.stdout)
    assert (document["ledger_version"], document["files"]) == (HEAD, 1)
    path = Path(document["file"])
    assert path.parent == tmp_path / "backups"
    assert contents_of(path).rows == document["rows"]
    again = run.invoke(cli, ["restore", "--config", str(config), str(path)])
    assert isinstance(again.exception, NotEmpty)
    replaced = run.invoke(cli, ["restore", "--config", str(config), "--replace", str(path)])
    assert replaced.output.endswith("are back\n")


def test_a_backup_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("daemon.recovery.backup._add_text", full)
    with pytest.raises(OSError, match="No space"):
        backup(settings_in(tmp_path / "a"), ledger, tmp_path / "out" / "b.tar", NOW)
    assert list((tmp_path / "out").iterdir()) == []
