"""Opening the ledger: SQLite (WAL) on one machine, PostgreSQL for many. Same statements on both."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from config.schema import Settings
from daemon.ledger.migrations import HEAD, migrate, version_of
from daemon.ledger.tables import events
from pipeline.errors import TryLater

# Classes of SQLSTATE (PostgreSQL, appendix A) that pass: connection, rolled back, resources, locks, operator.
PASSING = frozenset({"08", "40", "53", "55", "57"})

BROKEN_OFF = "the connection to the ledger broke off; the work is repeated later"
# A database that is cut off without a word would be waited for as long as TCP does: hours.
ANSWER_TIMEOUT_S = 60


class LedgerBusy(TryLater):
    code = "ledger-unreachable"


def new_id() -> str:
    """An opaque id: 16 hex digits, random."""
    return secrets.token_hex(8)


class Ledger:
    """A connection pool and the one way to open a transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that commits at the end. On SQLite it takes the write lock at once, so that reading
        and then writing inside it is safe; on PostgreSQL callers lock the rows they compare."""
        with _busy_where_away("the work is repeated later"), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent view that never waits for a writer on SQLite (WAL) nor on PostgreSQL."""
        with (
            _busy_where_away("try again"),
            self.engine.connect().execution_options(axrad_read=True) as connection,
            connection.begin(),
        ):
            yield connection

    def close(self) -> None:
        self.engine.dispose()


@contextmanager
def _busy_where_away(what_then: str) -> Iterator[None]:
    """Errors of a database that is away or busy, as LedgerBusy; all others as they are."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        if not _is_passing(error):
            raise
        raise LedgerBusy(f"the ledger {_trouble(error)}; {what_then}") from error
    except (ConnectionError, TimeoutError) as error:
        raise LedgerBusy(BROKEN_OFF) from error


def _is_passing(error: sa.exc.DBAPIError) -> bool:
    """Whether the database is away or busy, rather than asked for something impossible.

    pg8000 tells both as a programming error; PostgreSQL's own code tells them apart.
    """
    away = (sa.exc.OperationalError, sa.exc.InterfaceError)
    return isinstance(error, away) or error.connection_invalidated or _sqlstate(error)[:2] in PASSING


def _sqlstate(error: sa.exc.DBAPIError) -> str:
    told = error.orig.args[0] if error.orig is not None and error.orig.args else None
    return str(told.get("C", "")) if isinstance(told, dict) else ""


def _trouble(error: sa.exc.DBAPIError) -> str:
    """What ails it. The name of the error (SQLITE_BUSY, SQLITE_FULL, 57P01, ...) holds no value of a row."""
    name = getattr(error.orig, "sqlite_errorname", "") or _sqlstate(error)
    return f"does not answer ({name})" if name else "does not answer"


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


def ledger_url(settings: Settings) -> str:
    """The configured URL, or SQLite beside the spool."""
    if settings.ledger.url:
        return settings.ledger.url
    return f"sqlite:///{(settings.spool.path.parent / 'ledger.sqlite').absolute()}"


def backups_folder(settings: Settings) -> Path:
    """Where backups of the ledger are put unasked: beside the spool."""
    return settings.spool.path.parent / "backups"


def open_ledger(settings: Settings) -> Ledger:
    """Open the ledger; create it on first use, bring an older one up to date (with a backup first).

    Raises LedgerBusy, LedgerTooNew.
    """
    ledger = bare_ledger(settings)
    try:
        with ledger.read() as connection:
            ready = version_of(connection) == HEAD
        if not ready:
            with ledger.write() as connection:
                if connection.dialect.name == "postgresql":
                    # Of several processes that start together one creates or upgrades.
                    connection.execute(sa.text("SELECT pg_advisory_xact_lock(4217001)"))
                migrate(connection, backups_folder(settings))
    except BaseException:
        ledger.close()
        raise
    return ledger


def bare_ledger(settings: Settings) -> Ledger:
    """The ledger as it is, whatever its version. `hide_parameters`: values never reach a log."""
    url = make_url(ledger_url(settings))
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+pg8000")
    if url.get_backend_name() == "sqlite":
        if url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = sa.create_engine(url, hide_parameters=True, connect_args={"timeout": 30, "check_same_thread": False})
        _sqlite_transactions(engine)
    else:
        engine = sa.create_engine(
            url, hide_parameters=True, pool_pre_ping=True, connect_args={"timeout": ANSWER_TIMEOUT_S}
        )
        sa.event.listen(engine, "handle_error", _socket_errors)
    return Ledger(engine)


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
        cursor.execute("PRAGMA busy_timeout=30000")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        reading = connection.get_execution_options().get("axrad_read", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
