"""What ails a ledger, in words: every error of SQLAlchemy, a driver or a socket that is not a bug of ours, translated.

    LedgerBusy              it does not answer, or takes nothing now: the same work may succeed later
    ├── LedgerRefuses       it answers, and does not let us: password, name, rights, read-only, too many connections
    └── LedgerDamaged       the file or its tables are gone or broken: a backup has to be restored

All three pass from one day to the other: who works waits, and goes on by itself when it is mended.
"""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from pipeline.errors import TryLater

BROKEN_OFF = "the connection to the ledger broke off; the work is repeated later"
RESTORE = "stop axrad and restore the backup: `axrad restore FILE --replace`"


class LedgerBusy(TryLater):
    code = "ledger-unreachable"


class LedgerRefuses(LedgerBusy):
    code = "ledger-refuses"


class LedgerDamaged(LedgerBusy):
    code = "ledger-damaged"


# Classes of SQLSTATE (PostgreSQL, appendix A) that pass: connection, rolled back, resources, locks, operator.
PASSING = frozenset({"08", "40", "53", "55", "57"})
# SQLSTATE, or its class: what it means and what to do.
REFUSED = {
    "28": "refuses our user or password; correct ledger.url",
    "3D000": "has no database of that name; create it, or correct ledger.url",
    "42501": "does not allow our user what is needed; make it the owner of the database",
    "25006": "is read-only; point ledger.url at the primary",
    "53100": "has no room left on its disk; free some",
    "53300": "has no connection left; raise its max_connections",
}
# Tables or schema that are not there, or there before they are made; pages that cannot be read. A column that is not
# there (42703) is none of these: `open_ledger` sees to the version, so it is a wrong statement of ours.
BROKEN = frozenset({"42P01", "42P07", "42701", "3F000", "XX001", "XX002"})
# SQLite's names, up to the first that begins so.
OF_SQLITE: tuple[tuple[str, type[LedgerBusy], str], ...] = (
    ("SQLITE_CORRUPT", LedgerDamaged, f"is damaged; {RESTORE}"),
    ("SQLITE_NOTADB", LedgerDamaged, f"is no database; {RESTORE}"),
    ("SQLITE_IOERR_SHORT_READ", LedgerDamaged, f"is cut short; {RESTORE}"),
    ("SQLITE_READONLY_DBMOVED", LedgerDamaged, f"was moved or deleted; {RESTORE}"),
    ("SQLITE_READONLY", LedgerRefuses, "is read-only; allow our user to write to it and its folder"),
    ("SQLITE_PERM", LedgerRefuses, "may not be opened; allow our user to write to it and its folder"),
    ("SQLITE_CANTOPEN", LedgerRefuses, "cannot be opened; is it a file, in a folder to which our user may write?"),
    ("SQLITE_FULL", LedgerBusy, "has no room left on its disk; free some"),
)
OTHER_TABLES = ("no such table", "already exists", "duplicate column")
# SQLite has one code for these; they are bugs of ours.
WRONG_STATEMENT = ("no such column", "has no column", "syntax error", "no such function", "wrong number of arguments")


@contextmanager
def translated(what_then: str) -> Iterator[None]:
    """Errors of a database that is away, busy, refuses or is damaged, as LedgerBusy; bugs of ours as they are."""
    try:
        yield
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        trouble = trouble_of(error, what_then)
        if trouble is None:
            raise
        raise trouble from error
    except (sa.exc.TimeoutError, sa.exc.PendingRollbackError) as error:
        raise LedgerBusy(f"the ledger has no connection left ({type(error).__name__}); {what_then}") from error
    except (ConnectionError, TimeoutError, socket.gaierror) as error:
        raise LedgerBusy(BROKEN_OFF) from error


def trouble_of(error: sa.exc.DBAPIError | sqlite3.Error, what_then: str) -> LedgerBusy | None:
    """None where the ledger is well and was asked for something impossible. No text of the error is passed on."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return _of_sqlite(cause, what_then)
    state = sqlstate(cause)
    if state in BROKEN:
        return LedgerDamaged(f"the ledger does not have the tables that it should ({state}); {RESTORE}")
    for known in (state, state[:2]):
        if known in REFUSED:
            return LedgerRefuses(f"the ledger {REFUSED[known]} ({state})")
    away = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)
    if away or state[:2] in PASSING or (isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated):
        return LedgerBusy(f"the ledger does not answer ({state}); {what_then}".replace(" ()", ""))
    return None


def _of_sqlite(error: sqlite3.Error, what_then: str) -> LedgerBusy | None:
    name = getattr(error, "sqlite_errorname", "") or ""
    for beginning, kind, words in OF_SQLITE:
        if name.startswith(beginning):
            return kind(f"the ledger {words} ({name})")
    if name == "SQLITE_ERROR" and any(words in str(error) for words in OTHER_TABLES):
        return LedgerDamaged(f"the ledger does not have the tables that it should ({name}); {RESTORE}")
    if name == "SQLITE_ERROR" and any(words in str(error) for words in WRONG_STATEMENT):
        return None
    if isinstance(error, sqlite3.OperationalError | sqlite3.InterfaceError):
        return LedgerBusy(f"the ledger does not answer ({name}); {what_then}".replace(" ()", ""))
    return None


def sqlstate(cause: BaseException | None) -> str:
    """PostgreSQL's own code, as pg8000 tells it."""
    fields = cause.args[0] if cause is not None and cause.args else None
    return str(fields.get("C", "")) if isinstance(fields, dict) else ""
