"""Backups that are damaged, encrypted, or without the site's key."""

from __future__ import annotations

import json
import stat
import tarfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from config.places import console_users
from config.schema import Console, Settings, Spool
from daemon.console.user_file import UserFile
from daemon.ledger import open_ledger, site_key
from daemon.ledger.site_key import SiteKey, SiteKeyTrouble, key_for, path_of
from daemon.main import cli
from daemon.recovery import encryption
from daemon.recovery.backup import BEFORE_DIGESTS, MANIFEST, NoBackup, backup, contents_of, missing_key, restore
from daemon.recovery.digest_trailer import LENGTH, is_whole
from daemon.recovery.encryption import WrongKey

NOW = 1_800_000_000.0


def site(folder: Path) -> Settings:
    return Settings(spool=Spool(path=folder / "spool"))


@pytest.fixture
def keyed(tmp_path: Path) -> tuple[Settings, SiteKey]:
    """A site with a key, and a result."""
    settings = site(tmp_path / "a")
    ledger = open_ledger(settings)
    key = key_for(settings, ledger, NOW)
    ledger.close()
    result = settings.spool.path / "results" / "r1" / "sr.dcm"
    result.parent.mkdir(parents=True)
    result.write_bytes(b"report " * 100_000)
    return settings, key


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text("correct horse battery staple\n")
    return path


def made(settings: Settings, out: Path, key_file: Path | None = None) -> Path:
    ledger = open_ledger(settings)
    backup(settings, ledger, out, NOW, key_file=key_file)
    ledger.close()
    return out


def test_a_byte_that_changed_anywhere_is_found_before_anything_is_written(
    keyed: tuple[Settings, SiteKey], tmp_path: Path
) -> None:
    path = made(keyed[0], tmp_path / "b.tar")
    assert is_whole(path)
    content = path.read_bytes()
    for place in (20_000, len(content) // 2, len(content) - LENGTH - 1, len(content) - 5):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(NoBackup):
            restore(site(tmp_path / "b"), path, NOW)
    for length in (len(content) - 1, len(content) - LENGTH, len(content) // 2):
        path.write_bytes(content[:length])
        with pytest.raises(NoBackup):
            restore(site(tmp_path / "b"), path, NOW)
    assert not (tmp_path / "b" / "spool" / "results").exists()


def test_the_digest_is_of_what_tar_reads(keyed: tuple[Settings, SiteKey], tmp_path: Path) -> None:
    path = made(keyed[0], tmp_path / "b.tar")
    with tarfile.open(path) as tar:
        assert tar.getnames() == [MANIFEST, "ledger.jsonl.gz", "results/r1/sr.dcm"]


def without_digest(path: Path, out: Path) -> Path:
    """A backup as axrad 0.1.0 made it."""
    with tarfile.open(path) as tar:
        tar.extractall(out.parent / "x", filter="data")
    manifest = out.parent / "x" / MANIFEST
    manifest.write_text(json.dumps(asdict(replace(contents_of(path), format=BEFORE_DIGESTS))))
    with tarfile.open(out, "w") as tar:
        for name in (MANIFEST, "ledger.jsonl.gz", "results"):
            tar.add(out.parent / "x" / name, name)
    return out


def settings_file(folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "axrad.toml").write_text('[spool]\npath = "spool"\n')
    return str(folder / "axrad.toml")


def test_a_backup_of_before_digests_comes_back_with_a_note(keyed: tuple[Settings, SiteKey], tmp_path: Path) -> None:
    old = without_digest(made(keyed[0], tmp_path / "b.tar"), tmp_path / "old.tar")
    done = CliRunner().invoke(cli, ["restore", str(old), "--config", settings_file(tmp_path / "c")])
    assert done.exit_code == 0, done.output
    assert "made before backups had a digest" in done.stderr
    assert (tmp_path / "c" / "spool" / "results" / "r1" / "sr.dcm").exists()


def test_restoring_without_the_key_says_so_and_the_next_start_makes_another(
    keyed: tuple[Settings, SiteKey], tmp_path: Path
) -> None:
    settings, key = keyed
    path = made(settings, tmp_path / "b.tar")
    done = CliRunner().invoke(cli, ["restore", str(path), "--config", settings_file(tmp_path / "c")])
    assert f"the site's key {key.id} is not in the backup" in done.stderr
    assert str(tmp_path / "c" / "site.key") in done.stderr
    ledger = open_ledger(site(tmp_path / "c"))
    assert key_for(site(tmp_path / "c"), ledger, NOW).id != key.id
    ledger.close()


def test_the_key_that_is_put_there_before_the_start_goes_on(keyed: tuple[Settings, SiteKey], tmp_path: Path) -> None:
    settings, key = keyed
    other = site(tmp_path / "c")
    restore(other, made(settings, tmp_path / "b.tar"), NOW)
    path_of(other).write_bytes(path_of(settings).read_bytes())
    ledger = open_ledger(other)
    assert key_for(other, ledger, NOW) == key
    with ledger.read() as connection:
        assert missing_key(connection, other) is None
    ledger.close()


def test_restoring_where_the_key_is_changes_nothing_about_it(keyed: tuple[Settings, SiteKey], tmp_path: Path) -> None:
    settings, _ = keyed
    restore(settings, made(settings, tmp_path / "b.tar"), NOW, replace=True)
    path_of(settings).unlink()
    ledger = open_ledger(settings)
    with pytest.raises(SiteKeyTrouble):
        key_for(settings, ledger, NOW)
    ledger.close()


def test_an_encrypted_backup_brings_the_key_along_and_shows_nothing(
    keyed: tuple[Settings, SiteKey], tmp_path: Path, passphrase: Path
) -> None:
    settings, key = keyed
    path = made(settings, tmp_path / "b.axrad", passphrase)
    content = path.read_bytes()
    for shown in (b"manifest", b"report report", b"studies", path_of(settings).read_bytes().strip()):
        assert shown not in content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = site(tmp_path / "c")
    restore(other, path, NOW, key_file=passphrase)
    assert site_key.read(path_of(other)) == key
    assert stat.S_IMODE(path_of(other).stat().st_mode) == 0o600
    result = other.spool.path / "results" / "r1" / "sr.dcm"
    assert result.read_bytes() == (settings.spool.path / "results" / "r1" / "sr.dcm").read_bytes()
    assert not list((tmp_path / "c" / "backups").iterdir()), "nothing stays decrypted"


def test_a_key_that_is_here_is_not_replaced_by_one_from_a_backup(
    keyed: tuple[Settings, SiteKey], tmp_path: Path, passphrase: Path
) -> None:
    other = site(tmp_path / "c")
    other.spool.path.mkdir(parents=True)
    path_of(other).write_text("ab" * 32)
    restore(other, made(keyed[0], tmp_path / "b.axrad", passphrase), NOW, key_file=passphrase)
    assert path_of(other).read_text() == "ab" * 32


@pytest.fixture
def signed_up(keyed: tuple[Settings, SiteKey]) -> Settings:
    """A site whose console has a user."""
    settings, _ = keyed
    UserFile(console_users(settings)).add("li.na", "radiologist", "a long enough password")
    return settings


@pytest.mark.parametrize("encrypted", [False, True])
def test_the_consoles_users_come_back_with_their_secrets_for_their_own_eyes(
    signed_up: Settings, tmp_path: Path, passphrase: Path, encrypted: bool
) -> None:
    key_file = passphrase if encrypted else None
    path = made(signed_up, tmp_path / "b", key_file)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (b"argon2id" in path.read_bytes()) is not encrypted
    other = Settings(
        spool=Spool(path=tmp_path / "c" / "spool"), console=Console(users=tmp_path / "elsewhere" / "people.json")
    )
    restore(other, path, NOW, key_file=key_file)
    assert UserFile(console_users(other)).all() == UserFile(console_users(signed_up)).all()
    assert stat.S_IMODE(console_users(other).stat().st_mode) == 0o600


def test_a_user_who_was_removed_since_does_not_come_back(signed_up: Settings, tmp_path: Path) -> None:
    path, users = made(signed_up, tmp_path / "b.tar"), UserFile(console_users(signed_up))
    users.add("root", "admin", "another long password")
    users.remove("li.na")
    config = settings_file(tmp_path / "a")
    done = CliRunner().invoke(cli, ["restore", "--replace", str(path), "--config", config])
    assert done.exit_code == 0, done.output
    assert "the console's users stay" in done.stderr
    assert list(users.all()) == ["root"]


def test_a_backup_of_before_it_held_users_leaves_none(keyed: tuple[Settings, SiteKey], tmp_path: Path) -> None:
    other = site(tmp_path / "c")
    restore(other, made(keyed[0], tmp_path / "b.tar"), NOW)
    assert not console_users(other).exists()


def test_secrets_that_are_mounted_as_links_are_in_the_backup_themselves(
    signed_up: Settings, tmp_path: Path, passphrase: Path
) -> None:
    for path in (path_of(signed_up), console_users(signed_up)):
        path.rename(path.with_name("mounted-" + path.name))
        path.symlink_to("mounted-" + path.name)
    other = site(tmp_path / "c")
    restore(other, made(signed_up, tmp_path / "b.axrad", passphrase), NOW, key_file=passphrase)
    assert site_key.read(path_of(other)) == site_key.read(path_of(signed_up))
    assert list(UserFile(console_users(other)).all()) == ["li.na"]


def test_without_the_right_key_file_an_encrypted_backup_is_refused(
    keyed: tuple[Settings, SiteKey], tmp_path: Path, passphrase: Path
) -> None:
    path = made(keyed[0], tmp_path / "b.axrad", passphrase)
    (tmp_path / "wrong").write_text("another long passphrase")
    (tmp_path / "short").write_text("secret")
    other = site(tmp_path / "c")
    with pytest.raises(WrongKey, match="--key-file FILE"):
        restore(other, path, NOW)
    with pytest.raises(WrongKey, match="not opened by wrong"):
        restore(other, path, NOW, key_file=tmp_path / "wrong")
    with pytest.raises(WrongKey, match="at least 16 characters"):
        made(keyed[0], tmp_path / "c.axrad", tmp_path / "short")
    assert not (tmp_path / "c.axrad").exists()


def blocks(content: bytes) -> list[bytes]:
    """The blocks of an encrypted file, each with its length, after mark and salt."""
    place, found = len(encryption.MARK) + encryption.SALT_BYTES, []
    found.append(content[:place])
    while place < len(content):
        end = place + 4 + int.from_bytes(content[place : place + 4], "big")
        found.append(content[place:end])
        place = end
    return found


@pytest.mark.parametrize("harm", ["changed", "swapped", "repeated", "dropped", "last dropped", "half a block", "more"])
def test_blocks_of_an_encrypted_file_cannot_be_tampered_with(
    tmp_path: Path, passphrase: Path, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encryption, "BLOCK", 1000)
    source, sealed, out = tmp_path / "plain", tmp_path / "sealed", tmp_path / "out"
    source.write_bytes(bytes(range(256)) * 12)
    with sealed.open("wb") as file:
        encryption.encrypt(source, file, passphrase)
    with out.open("wb") as file:
        encryption.decrypt(sealed, file, passphrase)
    assert out.read_bytes() == source.read_bytes()
    head, a, b, *rest, last = blocks(sealed.read_bytes())
    parts = {
        "changed": [head, a[:-9] + bytes([a[-9] ^ 1]) + a[-8:], b, *rest, last],
        "swapped": [head, b, a, *rest, last],
        "repeated": [head, a, a, b, *rest, last],
        "dropped": [head, a, *rest, last],
        "last dropped": [head, a, b, *rest],
        "half a block": [head, a, b, *rest, last[: len(last) // 2]],
        "more": [head, a, b, *rest, last, a],
    }[harm]
    sealed.write_bytes(b"".join(parts))
    with pytest.raises(WrongKey), out.open("wb") as file:
        encryption.decrypt(sealed, file, passphrase)
