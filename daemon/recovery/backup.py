"""Backup and restore: the ledger, the results that were rendered, the signatures; the received instances if asked for.

One tar file: `manifest.json`, `ledger.jsonl.gz` (daemon.ledger.dump, the same for SQLite and PostgreSQL), `results/…`,
`signatures/…`, `instances/…`, `console-users.json`, and a digest of it all at its end. An encrypted one holds
`site.key` as well. The ledger is read first, in one transaction, while everything runs: what it refers to is on the
disk by then, and what is written later is merely more than it knows of.
"""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

import sqlalchemy as sa

from config.places import console_users
from config.schema import Settings
from daemon.ledger import site_key, spools
from daemon.ledger.database_errors import LedgerDamaged
from daemon.ledger.dump import NOT_DUMPED, dump, load, version_in
from daemon.ledger.engine import Ledger, backups_folder, bare_ledger, require_tables
from daemon.ledger.migrations import HEAD, LedgerTooNew, migrate, version_of
from daemon.recovery.digest_trailer import Digesting, is_whole
from daemon.recovery.encryption import WrongKey, decrypt, encrypt, is_encrypted
from daemon.spool import Spool
from pipeline.errors import InputRejected
from pipeline.whole_file import replacing

FORMAT = "axrad.backup/2"
# Without a digest at its end.
BEFORE_DIGESTS = "axrad.backup/1"
MANIFEST, LEDGER, SITE_KEY, USERS = "manifest.json", "ledger.jsonl.gz", "site.key", "console-users.json"
# Written by running processes into any ledger; a ledger with nothing else in it is empty.
SIGNS = ("signs_of_life", "chores", "journal_positions", "breakers", "report_classes", "site_key", "spools")


class NoBackup(InputRejected):
    """A file that is no backup, or a damaged one."""

    code = "no-backup"


class NotEmpty(InputRejected):
    """There is a ledger with something in it."""

    code = "ledger-not-empty"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds. `ledger_version`: the step of the schema that it was made at."""

    ledger_version: str
    rows: int
    files: int
    instances: bool
    made_at: str
    format: str = FORMAT


def folders(settings: Settings, *, instances: bool) -> dict[str, Path]:
    """Names in the backup and the folders that they stand for."""
    root = settings.spool.path
    by_name = {"results": root / "results"}
    if settings.signature.registry is not None:
        by_name["signatures"] = settings.signature.registry
    if instances:
        by_name["instances"] = root / "instances"
    return by_name


def backup(
    settings: Settings,
    ledger: Ledger,
    out: Path,
    now: float,
    *,
    instances: bool = False,
    key_file: Path | None = None,
) -> Contents:
    """Write a backup to `out`. The file is whole and on the disk, or not there.

    Args:
        key_file: what it is encrypted with; then the site's key is in it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    made_at = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        dumped = Path(scratch) / LEDGER
        with ledger.read() as connection:
            version = version_of(connection) or HEAD
            rows = dump(connection, dumped, version)
        files = list(_files(settings, instances=instances))
        contents = Contents(version, rows, len(files), instances, made_at)
        part = out.with_name(out.name + ".part")
        if key_file is None:
            with replacing(out, temporary=part, mode=0o600) as raw:
                _pack(raw, contents, [(LEDGER, dumped), *files], now)
            return contents
        plain = Path(scratch) / "backup.tar"
        with replacing(plain, mode=0o600, synced=False) as raw:
            # Where a platform mounts secrets, the key's path is a link; the key itself belongs into the file.
            key = site_key.path_of(settings).resolve()
            _pack(raw, contents, [(LEDGER, dumped), (SITE_KEY, key), *files], now)
        with replacing(out, temporary=part, mode=0o600) as raw:
            encrypt(plain, raw, key_file)
    return contents


def _pack(raw: BinaryIO, contents: Contents, files: Iterable[tuple[str, Path]], now: float) -> None:
    digesting = Digesting(raw)
    with tarfile.open(fileobj=cast(BinaryIO, digesting), mode="w", format=tarfile.PAX_FORMAT) as tar:
        _add_text(tar, MANIFEST, json.dumps(asdict(contents)), now)
        for name, path in files:
            # Retention may remove a file meanwhile; the restored ledger then says that it is gone.
            with contextlib.suppress(FileNotFoundError):
                tar.add(path, name, recursive=False)
    digesting.finish()


def _files(settings: Settings, *, instances: bool) -> Iterator[tuple[str, Path]]:
    if (users := console_users(settings).resolve()).is_file():
        yield USERS, users
    for name, folder in folders(settings, instances=instances).items():
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
            yield f"{name}/{path.relative_to(folder).as_posix()}", path


def _add_text(tar: tarfile.TarFile, name: str, text: str, now: float) -> None:
    data = text.encode()
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = len(data), int(now), 0o600
    tar.addfile(info, io.BytesIO(data))


def contents_of(path: Path) -> Contents:
    """What a backup says that it holds. Raises NoBackup."""
    try:
        with tarfile.open(path) as tar:
            manifest = tar.extractfile(MANIFEST)
            stated = json.loads(manifest.read()) if manifest is not None else {}
    except (tarfile.TarError, KeyError, ValueError, OSError, EOFError) as error:
        raise NoBackup(f"{path.name} is no backup of axrad, or is damaged ({type(error).__name__})") from error
    if stated.get("format") not in (FORMAT, BEFORE_DIGESTS):
        raise NoBackup(f"{path.name} is in the format {stated.get('format')}; this axrad reads {FORMAT}")
    return Contents(**stated)


def restore(
    settings: Settings, path: Path, now: float, *, replace: bool = False, key_file: Path | None = None
) -> Contents:
    """Bring back files and ledger, of this version of axrad or an older one, into SQLite or PostgreSQL.

    Args:
        replace: a ledger that is not empty is written to `backups` and replaced.
        key_file: what the backup was encrypted with.

    Raises NoBackup, WrongKey, NotEmpty, LedgerTooNew. The ledger is as it was if anything fails.
    """
    if not is_encrypted(path):
        return _restore(settings, path, now, replace=replace)
    if key_file is None:
        raise WrongKey(f"{path.name} is encrypted: `axrad restore --key-file FILE`, with the file it was made with")
    with tempfile.TemporaryDirectory(dir=_made(backups_folder(settings))) as scratch:
        plain = Path(scratch) / path.name
        with replacing(plain, mode=0o600, synced=False) as file:
            decrypt(path, file, key_file)
        return _restore(settings, plain, now, replace=replace)


def _restore(settings: Settings, path: Path, now: float, *, replace: bool) -> Contents:
    contents = contents_of(path)
    if contents.ledger_version > HEAD:
        raise LedgerTooNew(
            f"{path.name} holds a ledger of version {contents.ledger_version}, made by a newer axrad; this one knows "
            f"up to {HEAD}"
        )
    if contents.format == FORMAT and not is_whole(path):
        raise NoBackup(f"{path.name} is damaged or cut off: it is not what was written. Take another backup")
    ledger = _opened(settings, now, replace=replace)
    try:
        with tempfile.TemporaryDirectory(dir=_made(backups_folder(settings))) as scratch, ledger.write() as connection:
            dumped = _unpack(settings, path, Path(scratch))
            if _has_rows(connection):
                if not replace:
                    raise NotEmpty("the ledger is not empty; stop axrad, then `axrad restore --replace`")
                saved = backups_folder(settings) / f"ledger-before-restore-{int(now)}.jsonl.gz"
                dump(connection, saved, _version(connection))
            _drop_all(connection)
            migrate(connection, backups_folder(settings), to=version_in(dumped))
            load(connection, dumped)
            migrate(connection, backups_folder(settings))
            if missing_key(connection, settings) is not None:
                site_key.allow_change(connection)
        if not settings.spool.remote:
            # The folder may be another one than the backup was made of, on another machine.
            spools.put(ledger, Spool(settings.spool.path, settings.spool.id), now)
        if ledger.file is not None:
            ledger.file.remember()
    finally:
        ledger.close()
    return contents


def missing_key(connection: sa.Connection, settings: Settings) -> str | None:
    """The id of the site's key that the ledger needs, where this machine has another or none."""
    needed = site_key.id_in(connection)
    try:
        here = site_key.read(site_key.path_of(settings))
    except site_key.SiteKeyTrouble:
        here = None
    return None if needed is None or (here is not None and here.id == needed) else needed


def _opened(settings: Settings, now: float, *, replace: bool) -> Ledger:
    """The ledger as it is. One that is gone is made; one that cannot be read is set aside, where it may be replaced."""
    ledger = bare_ledger(settings, may_be_made=True)
    if ledger.file is None:
        return ledger
    try:
        with ledger.read() as connection:
            if version_of(connection) == HEAD:
                require_tables(connection)
            _has_rows(connection)
    except LedgerDamaged:
        ledger.close()
        if not replace:
            raise
        ledger.file.set_aside(backups_folder(settings), now)
    return ledger


def _unpack(settings: Settings, path: Path, scratch: Path) -> Path:
    """Put the files where they belong; the ledger's dump, in `scratch`."""
    places = folders(settings, instances=True)
    secret = {SITE_KEY: site_key.path_of(settings), USERS: console_users(settings)}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                top, _, rest = member.name.partition("/")
                if member.name == LEDGER:
                    tar.extract(member, scratch, filter="data")
                elif member.name in secret and member.isfile():
                    # What is here stays: an older key is another one, and users of before may have been removed since.
                    if not (place := secret[member.name]).exists():
                        member.name, member.mode = place.name, 0o600
                        tar.extract(member, _made(place.parent), filter="data")
                elif rest and top in places and member.isfile():
                    member.name = rest
                    tar.extract(member, _made(places[top]), filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise NoBackup(f"{path.name} cannot be unpacked: {type(error).__name__}") from error
    if not (scratch / LEDGER).exists():
        raise NoBackup(f"{path.name} holds no ledger")
    return scratch / LEDGER


def _version(connection: sa.Connection) -> str:
    """The step that the ledger is at; of one that lost its own word for it, today's."""
    try:
        return version_of(connection) or HEAD
    except LedgerDamaged:
        return HEAD


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _tables(connection: sa.Connection) -> list[sa.Table]:
    schema = sa.MetaData()
    schema.reflect(connection)
    return schema.sorted_tables


def _has_rows(connection: sa.Connection) -> bool:
    return any(
        connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None
        for table in _tables(connection)
        if table.name not in (*SIGNS, *NOT_DUMPED)
    )


def _drop_all(connection: sa.Connection) -> None:
    for table in reversed(_tables(connection)):
        table.drop(connection)
