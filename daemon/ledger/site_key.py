"""The site's key, without which digests of patients cannot be found by trying every id.

An 8-digit id has a hundred million values: whoever has a ledger with plain digests of them has the ids in a minute. The
ledger therefore keeps HMAC-SHA256(key, digest). The key is a file of 64 hexadecimal digits beside the spool, or where
`site.key_file` says, and never in the ledger, which knows the key's id alone: all machines of a site use one key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
import structlog

from config.schema import Settings
from daemon.assembly.identity import NOBODY
from daemon.ledger.engine import Ledger, note
from daemon.ledger.tables import site_key
from pipeline.errors import TryLater

log = structlog.get_logger("axrad.site_key")
NAME = "site.key"
DIGITS = re.compile(r"[0-9a-fA-F]{64}")
# A keyed digest is the first digits of its key's id, a colon, and 100 bits; 32 characters, as the columns have.
OF_ID, OF_DIGEST = 6, 25
# Of several processes that start together one makes the key.
ADVISORY_LOCK = 4217003


class SiteKeyTrouble(TryLater):
    """The key is missing, cannot be read, or is another than the ledger's. Goes away once the file is put right."""

    code = "site-key"


@dataclass(frozen=True, slots=True)
class SiteKey:
    """`id`: says which key it is and tells nothing of it."""

    secret: bytes = field(repr=False)
    id: str

    def keyed(self, digest: str) -> str:
        """What the ledger keeps of a plain digest. The digest of no id at all is nobody's, and stays."""
        if digest in ("", NOBODY) or is_keyed(digest):
            return digest
        return f"{self.id[:OF_ID]}:{hmac.new(self.secret, digest.encode(), hashlib.sha256).hexdigest()[:OF_DIGEST]}"


def is_keyed(value: str) -> bool:
    """Whether a value was made with some key; plain digests have no colon."""
    return ":" in value


def path_of(settings: Settings) -> Path:
    """Where the key is on this machine."""
    return settings.site.key_file or settings.spool.path.parent / NAME


def read(path: Path) -> SiteKey | None:
    """The key in a file; None where there is none. Raises SiteKeyTrouble."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SiteKeyTrouble(f"the site's key {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        text = ""
    if not DIGITS.fullmatch(text):
        raise SiteKeyTrouble(f"{path} is no key: 64 hexadecimal digits are needed, as `openssl rand -hex 32` makes")
    secret = bytes.fromhex(text)
    return SiteKey(secret, hashlib.sha256(b"axrad site key\0" + secret).hexdigest()[:16])


def key_for(settings: Settings, ledger: Ledger, now: float) -> SiteKey:
    """The key of this machine, which is the ledger's. The first start makes it.

    Raises SiteKeyTrouble.
    """
    path = path_of(settings)
    with ledger.read() as connection:
        known = _row(connection)
    key = read(path)
    if known is not None and key is not None and known.id == key.id:
        return key
    if known is not None and not known.may_change:
        raise SiteKeyTrouble(_refusal(path, key, known.id))
    with ledger.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
        known = _row(connection)
        if known is not None and not known.may_change:
            key = read(path)
            if key is None or key.id != known.id:
                raise SiteKeyTrouble(_refusal(path, key, known.id))
            return key
        key = key or _made(path)
        _agree(connection, key, None if known is None else known.id, now)
    return key


def key_with(settings: Settings, key_id: str) -> SiteKey:
    """The key of this machine, which must be the one with this id. Raises SiteKeyTrouble."""
    key = read(path_of(settings))
    if key is None or key.id != key_id:
        raise SiteKeyTrouble(_refusal(path_of(settings), key, key_id))
    return key


def id_in(connection: sa.Connection) -> str | None:
    """The id of the key that the ledger's digests were made with; None before the first."""
    known = _row(connection)
    return None if known is None else str(known.id)


def allow_change(connection: sa.Connection) -> None:
    """Let the next start take the key that it finds, or make one: of a restored ledger, or after the key was lost."""
    connection.execute(site_key.update().values(may_change=True))


def _row(connection: sa.Connection) -> sa.Row[tuple[int, str, float, bool]] | None:
    return connection.execute(sa.select(site_key)).one_or_none()


def _agree(connection: sa.Connection, key: SiteKey, before: str | None, now: float) -> None:
    if before is None:
        connection.execute(site_key.insert().values(slot=1, id=key.id, since=now, may_change=False))
        return
    connection.execute(site_key.update().values(id=key.id, since=now, may_change=False))
    if before != key.id:
        detail = f"{key.id} instead of {before}, which was not there: patients of before are not recognised by it"
        note(connection, now, "site-key-changed", detail)
        log.warning("site-key-changed", now=key.id, before=before)


def _made(path: Path) -> SiteKey:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32) + "\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):  # another process was faster
                os.link(temporary, path)
        finally:
            temporary.unlink()
    except OSError as error:
        raise SiteKeyTrouble(f"no key for the site can be made at {path}: {error.strerror}") from error
    key = read(path)
    if key is None:
        raise SiteKeyTrouble(f"the site's key {path} vanished")
    log.info("site-key-made", id=key.id, path=str(path))
    return key


def _refusal(path: Path, key: SiteKey | None, wanted: str) -> str:
    what = "is not there" if key is None else f"is the key {key.id}"
    return (
        f"the ledger's patients were digested with the site's key {wanted}, and {path} {what}: copy that key here from "
        f"another machine of the site or from where it was put aside; if it is lost, `axrad site-key --lost`"
    )
