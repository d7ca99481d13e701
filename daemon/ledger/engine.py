"""Opening the ledger: SQLite (WAL) on one machine, PostgreSQL for many. Same statements on both."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from config.schema import Settings
from daemon.ledger.database_errors import RESTORE, LedgerBusy, LedgerDamaged, LedgerRefuses, translated
from daemon.ledger.migrations import HEAD, migrate, missing_tables, version_of
from daemon.ledger.sqlite_file import LedgerFile
from daemon.ledger.tables import events
from pipeline.errors import InputRejected

__all__ = ["Ledger", "LedgerBusy", "LedgerDamaged", "bare_ledger", "note", "open_ledger"]

# A database that is cut off without a word would be waited for as long as TCP does: hours.
ANSWER_TIMEOUT_S = 60
BUSY_MS = 30_000


def new_id() -> str:
    """An opaque id: 16 hex digits, random."""
    return secrets.token_hex(8)


class Ledger:
    """A connection pool and the one way to open a transaction."""

    def __init__(self, engine: sa.Engine, file: LedgerFile | None = None) -> None:
        self.engine = engine
        self.file = file

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that commits at the end. On SQLite it takes the write lock at once, so that reading
        and then writing inside it is safe; on PostgreSQL callers lock the rows they compare."""
        self._look()
        with translated("the work is repeated later"), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent view that never waits for a writer on SQLite (WAL) nor on PostgreSQL."""
        self._look()
        with (
            translated("try again"),
            self.engine.connect().execution_options(axrad_read=True) as connection,
            connection.begin(),
        ):
            yield connection

    def _look(self) -> None:
        """A file that was replaced is opened anew; what is open still leads to the old one."""
        if self.file is not None and self.file.look():
            self.engine.dispose()

    def shred(self) -> None:
        """What was forgotten goes from SQLite's write-ahead log too, unless somebody is reading just now: then the next
        time. PostgreSQL's own log is the database's matter."""
        if self.engine.dialect.name == "sqlite":
            with translated("the next round does it"), self.engine.connect() as connection:
                driver = connection.connection.driver_connection
                assert driver is not None
                driver.execute("PRAGMA busy_timeout=100").close()
                driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
                driver.execute(f"PRAGMA busy_timeout={BUSY_MS}").close()

    def close(self) -> None:
        self.engine.dispose()


@dataclass(frozen=True, slots=True)
class Note:
    """A line of the timeline that is still to be written."""

    at: float
    kind: str
    detail: str = ""
    study_id: str | None = None


def note(
    connection: sa.Connection,
    now: float,
    kind: str,
    detail: str = "",
    study_id: str | None = None,
    revision_id: str | None = None,
) -> None:
    """One line in the timeline that `axrad show` prints."""
    connection.execute(
        events.insert().values(at=now, kind=kind, detail=detail, study_id=study_id, revision_id=revision_id)
    )


def note_all(connection: sa.Connection, notes: Sequence[Note]) -> None:
    """Several at once, in their order."""
    rows = [{"at": n.at, "kind": n.kind, "detail": n.detail, "study_id": n.study_id} for n in notes]
    if rows:
        connection.execute(events.insert(), rows)


def ledger_url(settings: Settings) -> str:
    """The configured URL, or SQLite beside the spool."""
    if settings.ledger.url:
        return settings.ledger.url
    return f"sqlite:///{(settings.spool.path.parent / 'ledger.sqlite').absolute()}"


def sqlite_path(settings: Settings) -> Path | None:
    """The ledger's file; None where it is no file."""
    url = sa.make_url(ledger_url(settings))
    named = url.database if url.get_backend_name() == "sqlite" else None
    return None if not named or named == ":memory:" or named.startswith("file:") else Path(named).absolute()


def backups_folder(settings: Settings) -> Path:
    """Where backups of the ledger are put unasked: beside the spool."""
    return settings.spool.path.parent / "backups"


def existing_ledger(settings: Settings) -> Ledger:
    """The ledger of an installation that has run, for commands that only read or nudge it: no folder is made.

    Raises InputRejected, and what `open_ledger` does.
    """
    url = make_url(ledger_url(settings))
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).parent.is_dir():
        raise InputRejected(
            f"there is no ledger at {url.database}: nothing has run with these settings; `axrad up` makes it",
            code="no-ledger",
        )
    return open_ledger(settings)


def open_ledger(settings: Settings) -> Ledger:
    """Open the ledger; create it on first use, bring an older one up to date (with a backup first).

    Raises LedgerBusy, LedgerDamaged, LedgerTooNew.
    """
    ledger = bare_ledger(settings)
    try:
        with ledger.read() as connection:
            version = version_of(connection)
            if version == HEAD or (version is None and ledger.file is not None and ledger.file.is_known):
                require_tables(connection)
        if version != HEAD:
            with ledger.write() as connection:
                if connection.dialect.name == "postgresql":
                    # Of several processes that start together one creates or upgrades.
                    connection.execute(sa.text("SELECT pg_advisory_xact_lock(4217001)"))
                migrate(connection, backups_folder(settings))
        if ledger.file is not None:
            ledger.file.remember()
    except BaseException:
        ledger.close()
        raise
    return ledger


def require_tables(connection: sa.Connection) -> None:
    """Raises LedgerDamaged unless every table of this version is there."""
    lacking = missing_tables(connection) or ([] if version_of(connection) else ["alembic_version"])
    if lacking:
        listed = f"{len(lacking)} of them" if len(lacking) > 3 else ", ".join(lacking)
        raise LedgerDamaged(f"the ledger does not have the tables that it should ({listed}); {RESTORE}")


def bare_ledger(settings: Settings, *, may_be_made: bool = False) -> Ledger:
    """The ledger as it is, whatever its version. `hide_parameters`: values never reach a log.

    `may_be_made`: a file that was deleted may be made anew, to be filled from a backup.
    """
    url = make_url(ledger_url(settings))
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+pg8000")
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, settings, may_be_made)
    engine = sa.create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args={"timeout": ANSWER_TIMEOUT_S})
    # Of many rows one INSERT with all their values: pg8000 asks twice for each row of an executemany.
    engine.dialect.use_insertmanyvalues_wo_returning = True
    sa.event.listen(engine, "handle_error", _socket_errors)
    return Ledger(engine)


def _sqlite(url: sa.URL, settings: Settings, may_be_made: bool) -> Ledger:
    file = None
    if url.database and url.database != ":memory:" and not url.database.startswith("file:"):
        path = Path(url.database).absolute()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerRefuses(f"no ledger can be made in {path.parent}: {error.strerror}") from error
        file = LedgerFile(path, settings.spool.path, may_be_made=may_be_made)
    engine = sa.create_engine(url, hide_parameters=True, connect_args={"timeout": 30, "check_same_thread": False})
    _sqlite_transactions(engine)
    return Ledger(engine, file)


def _socket_errors(context: sa.engine.ExceptionContext) -> None:
    """pg8000 lets errors of its socket through as they are: such a connection is not used again."""
    if isinstance(context.original_exception, ConnectionError | TimeoutError):
        context.is_disconnect = True


def _sqlite_transactions(engine: sa.Engine) -> None:
    """WAL, and BEGIN IMMEDIATE instead of the driver's own deferred transactions."""

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: object, _record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        # What was there before does not stay in free space of the file.
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        reading = connection.get_execution_options().get("axrad_read", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
