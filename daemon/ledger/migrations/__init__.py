"""The ledger's schema through the versions: what is older is brought up, with a backup first; what is newer is refused.

`HEAD` is the newest step in `versions`. A ledger without a version that has tables was made before there were steps,
and has those of the first one.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog

from daemon.ledger.database_errors import RESTORE, LedgerDamaged
from daemon.ledger.dump import dump
from daemon.ledger.tables import metadata
from daemon.ledger.tally_triggers import make_packed_trigger, make_triggers
from pipeline.errors import InputRejected

log = structlog.get_logger("axrad.ledger")
HEAD = "0023"
FIRST = "0001"
KEPT_BACKUPS = 10
COPY = "ledger-before-upgrade-"
# From this step on the ledger's digests of patients' ids come under the site's key.
FIRST_UNDER_A_KEY = "0014"
_version = sa.table("alembic_version", sa.column("version_num", sa.String))


class LedgerTooNew(InputRejected):
    """A newer axrad has upgraded this ledger; this version cannot read it."""

    code = "ledger-too-new"


def version_of(connection: sa.Connection) -> str | None:
    """The step that the ledger is at; None for an empty database."""
    tables = sa.inspect(connection).get_table_names()
    if "alembic_version" in tables:
        version = connection.execute(sa.select(_version.c.version_num)).scalar_one_or_none()
        if version is not None:
            return str(version)
    if "studies" in tables and "breakers" in tables:
        raise LedgerDamaged(f"the ledger does not have the tables that it should (alembic_version); {RESTORE}")
    return FIRST if "studies" in tables else None


def missing_tables(connection: sa.Connection) -> list[str]:
    """Tables of HEAD that are not there."""
    return sorted(metadata.tables.keys() - set(sa.inspect(connection).get_table_names()))


def migrate(connection: sa.Connection, backups: Path, to: str = HEAD) -> str | None:
    """Bring the ledger to `to`, inside the caller's transaction; the step it was at.

    A ledger with anything in it is first written to a file in `backups`. Raises LedgerTooNew.
    """
    before = version_of(connection)
    if before is None:
        _create(connection, to)
    elif before > to:
        raise LedgerTooNew(
            f"the ledger is at version {before}, made by a newer axrad; this one knows up to {to}. Run the newer one, "
            f"or `axrad restore` the backup that was taken before the upgrade"
        )
    elif before < to:
        saved = _backup(connection, backups, before)
        _run(connection, "stamp", before)
        _run(connection, "upgrade", to)
        log.info("ledger-upgraded", before=before, now=to, backup=saved.name)
    return before


def _create(connection: sa.Connection, to: str) -> None:
    """An empty database gets today's tables at once; a test holds that the steps lead to the same."""
    if to == HEAD:
        metadata.create_all(connection)
        make_triggers(connection)
        make_packed_trigger(connection)
        _run(connection, "stamp", HEAD)
    else:
        _run(connection, "upgrade", to)


def _backup(connection: sa.Connection, folder: Path, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{COPY}{version}-{time.time_ns() // 1_000_000}.jsonl.gz"
    dump(connection, path, version)
    for old in sorted(folder.glob(f"{COPY}*"))[:-KEPT_BACKUPS]:
        old.unlink()
    return path


@dataclass(frozen=True, slots=True)
class Copy:
    """A ledger as it was before an upgrade. `version`: the step it was at; `made_at`: seconds since 1970."""

    path: Path
    version: str
    made_at: float

    @property
    def has_plain_digests(self) -> bool:
        """Whether patients' ids can be found from it by trying all of them."""
        return self.version < FIRST_UNDER_A_KEY


def copies_before_upgrades(folder: Path) -> list[Copy]:
    """Those that lie in the folder of backups, the oldest version first."""
    named = re.compile(rf"{COPY}(\d{{4}})-(\d+)\.jsonl\.gz")
    matches = [(path, match) for path in sorted(folder.glob(f"{COPY}*")) if (match := named.fullmatch(path.name))]
    return [Copy(path, match[1], int(match[2]) / 1000) for path, match in matches]


def _run(connection: sa.Connection, command: str, revision: str) -> None:
    from alembic import command as commands
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    # Any: Alembic's commands have no common type.
    step: Any = getattr(commands, command)
    step(config, revision)
