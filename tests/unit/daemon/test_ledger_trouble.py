"""A ledger that is damaged, gone, or does not let us in: one sentence that says what to do, and no traceback."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from config.schema import Ledger as LedgerSection
from config.schema import Metrics, Settings, Spool
from daemon import main
from daemon.ledger import Ledger, open_ledger
from daemon.ledger.database_errors import LedgerBusy, LedgerDamaged, LedgerRefuses
from daemon.ledger.engine import bare_ledger
from daemon.ledger.tables import events, studies
from daemon.observer.observing import pages
from daemon.recovery.backup import backup, restore
from tests.support.queued import NOW, add_study

Damage = Callable[[Path], object]


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def foreign(path: Path) -> None:
    path.write_bytes(b"%PDF-1.7 this is something else\n" * 4000)


def scribbled(path: Path) -> None:
    """The first page is whole, the rest is not."""
    raw = path.read_bytes()
    path.write_bytes(raw[:4096] + b"\xa5" * (len(raw) - 4096))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def without_a_table(name: str) -> Damage:
    def drop(path: Path) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute(f"DROP TABLE {name}")
        connection.close()

    return drop


DAMAGES: dict[str, Damage] = {
    "cut short": cut,
    "zero bytes": emptied,
    "deleted": Path.unlink,
    "another format": foreign,
    "scribbled over": scribbled,
    "a folder": folder,
    "no instances": without_a_table("instances"),
    "no version": without_a_table("alembic_version"),
}


@pytest.fixture
def house(tmp_path: Path) -> Settings:
    (tmp_path / "spool").mkdir()
    settings = Settings(
        spool=Spool(path=tmp_path / "spool", warn_free_bytes=0, refuse_free_bytes=0),
        metrics=Metrics(port=0),
    )
    ledger = open_ledger(settings)
    for n in range(300):
        add_study(ledger, f"s{n}", reason="x" * 300)
    ledger.close()
    (tmp_path / "axrad.toml").write_text('[spool]\npath = "spool"\n', encoding="utf-8")
    return settings


def file_of(settings: Settings) -> Path:
    return settings.spool.path.parent / "ledger.sqlite"


def damaged(settings: Settings, damage: Damage) -> None:
    """As a stopped daemon leaves it: no journal beside it."""
    damage(file_of(settings))
    for suffix in ("-wal", "-shm"):
        Path(f"{file_of(settings)}{suffix}").unlink(missing_ok=True)


def axrad(
    settings: Settings, *arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """As a person types it: exit code, and everything that was printed."""
    config = settings.spool.path.parent / "axrad.toml"
    monkeypatch.setattr("sys.argv", ["axrad", *arguments, "--config", str(config)])
    with pytest.raises(SystemExit) as ended:
        main.main()
    said = capsys.readouterr()
    return int(str(ended.value.code)), said.out + said.err


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("command", ["status", "studies", "doctor"])
def test_a_damaged_ledger_is_told_in_one_sentence(
    house: Settings, damage: Damage, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged(house, damage)
    code, said = axrad(house, command, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 3
    assert "Traceback" not in said
    assert "axrad restore" in " ".join(said.split())
    assert command == "doctor" or said.count("\n") == 1


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_health_says_that_the_ledger_is_damaged(house: Settings, damage: Damage) -> None:
    damaged(house, damage)
    with pages(house, bare_ledger(house)) as server:
        status, _, body = server.answer("/health/ready/ledger")
        assert (status, b"axrad restore" in body) == (503, True), body
        figures = server.answer("/metrics")[2].decode()
        server.health._ledger.close()
    assert "axrad_ledger_up 0.0" in figures
    assert 'axrad_check{check="ledger",subject=""} 2.0' in figures


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_ledger_is_damaged_while_it_is_open_and_goes_on_when_the_backup_is_back(
    house: Settings, damage: Damage, tmp_path: Path
) -> None:
    ledger = open_ledger(house)
    backup(house, ledger, tmp_path / "b.tar", NOW)
    ledger.engine.dispose()
    damaged(house, damage)
    with pytest.raises(LedgerDamaged):
        whole(ledger)
    restore(house, tmp_path / "b.tar", NOW, replace=True)
    assert whole(ledger) == 300
    ledger.close()


def whole(ledger: Ledger) -> int:
    """Read what there is, as all of them together do."""
    with ledger.read() as connection:
        connection.execute(sa.text("SELECT count(*), max(path) FROM instances")).all()
        connection.execute(sa.text("SELECT version_num FROM alembic_version")).one()
        return len(connection.execute(sa.select(studies)).all())


def test_a_ledger_that_is_deleted_under_the_daemon_is_not_written_to_any_more(house: Settings) -> None:
    ledger = open_ledger(house)
    file_of(house).unlink()
    for attempt in (ledger.read, ledger.write):
        with pytest.raises(LedgerDamaged, match="is gone"), attempt():
            pass
    assert not file_of(house).exists(), "nothing makes a new one"
    ledger.close()


def test_a_ledger_that_was_put_back_by_hand_is_opened_anew(house: Settings) -> None:
    ledger = open_ledger(house)
    with ledger.write() as connection:
        connection.execute(studies.delete())
    ledger.engine.dispose()
    shutil.copy(file_of(house), copied := file_of(house).with_suffix(".copy"))
    with ledger.write() as connection:
        connection.execute(events.insert().values(at=1.0, kind="x", detail=""))
    ledger.engine.dispose()
    copied.replace(file_of(house))
    with ledger.read() as connection:
        assert connection.execute(sa.select(events)).all() == []
    ledger.close()


def test_a_first_start_makes_a_ledger_and_one_that_is_to_begin_anew_as_well(tmp_path: Path, house: Settings) -> None:
    fresh = Settings(spool=Spool(path=tmp_path / "other" / "spool"))
    open_ledger(fresh).close()
    file_of(house).unlink()
    with pytest.raises(LedgerDamaged, match=r"remove .*ledger\.known"):
        open_ledger(house)
    (house.spool.path / "ledger.known").unlink()
    open_ledger(house).close()


def test_restore_sets_a_damaged_ledger_aside_and_only_if_told_to(house: Settings, tmp_path: Path) -> None:
    ledger = open_ledger(house)
    backup(house, ledger, tmp_path / "b.tar", NOW)
    ledger.close()
    damaged(house, foreign)
    with pytest.raises(LedgerDamaged):
        restore(house, tmp_path / "b.tar", NOW)
    restore(house, tmp_path / "b.tar", NOW, replace=True)
    (aside,) = (tmp_path / "backups").glob("ledger-damaged-*.sqlite")
    assert aside.read_bytes().startswith(b"%PDF")
    open_ledger(house).close()


def test_a_ledger_that_only_reads_says_so(house: Settings) -> None:
    ledger = open_ledger(house)
    with ledger.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
    with pytest.raises(LedgerRefuses, match="read-only"), ledger.write() as connection:
        connection.execute(studies.delete())
    ledger.close()


def test_a_folder_in_which_nothing_can_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = Settings(
        spool=Spool(path=tmp_path / "spool"), ledger=LedgerSection(url=f"sqlite:///{tmp_path}/file/l.db")
    )
    with pytest.raises(LedgerRefuses, match="no ledger can be made"):
        open_ledger(settings)


# PostgreSQL


def on_server(postgres: str, *statements: str) -> None:
    engine = sa.create_engine(f"{postgres}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    engine.dispose()


def used(settings: Settings) -> None:
    with closing(open_ledger(settings)) as ledger, ledger.write() as connection:
        connection.execute(studies.delete())


DATABASE = "troubled"
# What is done to the database, the user who asks, the error and what it says.
TROUBLES: dict[str, tuple[tuple[str, ...], str, type[LedgerBusy], str]] = {
    "read-only": (
        (f"ALTER DATABASE {DATABASE} SET default_transaction_read_only = on",), "axrad", LedgerRefuses, "primary",
    ),
    "no rights": (("CREATE ROLE stranger LOGIN",), "stranger", LedgerRefuses, "42501"),
    "no connections": (("CREATE ROLE full LOGIN CONNECTION LIMIT 0",), "full", LedgerRefuses, "max_connections"),
    "unknown user": ((), "nobody", LedgerRefuses, "refuses our user"),
    "no database": ((f"DROP DATABASE {DATABASE}",), "axrad", LedgerRefuses, "no database of that name"),
}  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_postgresql_refuses_is_told_with_what_to_do(postgres: str, tmp_path: Path, trouble: str) -> None:
    statements, user, kind, said = TROUBLES[trouble]
    on_server(postgres, f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}")
    settings = postgres_settings(postgres, tmp_path)
    open_ledger(settings).close()
    on_server(postgres, *statements)
    try:
        with pytest.raises(kind, match=said):
            used(postgres_settings(postgres, tmp_path, user))
    finally:
        on_server(
            postgres,
            f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)",
            "DROP ROLE IF EXISTS stranger",
            "DROP ROLE IF EXISTS full",
        )


def postgres_settings(postgres: str, tmp_path: Path, user: str = "axrad") -> Settings:
    url = f"{postgres}/{DATABASE}".replace("//axrad@", f"//{user}@")
    return Settings(spool=Spool(path=tmp_path / "spool"), ledger=LedgerSection(url=url))


def test_a_table_that_is_missing_in_postgresql_is_a_damaged_ledger(postgres: str, tmp_path: Path) -> None:
    on_server(postgres, f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}")
    settings = postgres_settings(postgres, tmp_path)
    ledger = open_ledger(settings)
    with ledger.write() as connection:
        connection.execute(sa.text("DROP TABLE instances CASCADE"))
    with pytest.raises(LedgerDamaged), ledger.read() as connection:
        connection.execute(sa.text("SELECT * FROM instances"))
    ledger.close()
    with pytest.raises(LedgerDamaged, match="instances"):
        open_ledger(settings)


def test_a_version_that_is_missing_in_postgresql_is_a_damaged_ledger(postgres: str, tmp_path: Path) -> None:
    on_server(postgres, f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}")
    settings = postgres_settings(postgres, tmp_path)
    with closing(open_ledger(settings)) as ledger, ledger.write() as connection:
        connection.execute(sa.text("DROP TABLE alembic_version"))
    with pytest.raises(LedgerDamaged):
        open_ledger(settings)


WRONG = ("SELECT nonsense FROM studies", "SELEKT 1", "INSERT INTO studies (nonsense) VALUES (1)", "SELECT nonsense(1)")


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_statement_is_a_bug_on_either_ledger(
    house: Settings, postgres: str, tmp_path: Path, wrong: str
) -> None:
    on_server(postgres, f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}")
    for settings in (house, postgres_settings(postgres, tmp_path)):
        with (
            closing(open_ledger(settings)) as ledger,
            pytest.raises(sa.exc.DBAPIError),
            ledger.read() as connection,
        ):
            connection.execute(sa.text(wrong))


def test_a_host_that_has_no_address_is_a_ledger_that_is_away(tmp_path: Path) -> None:
    url = "postgresql://axrad@no-such-host.invalid/axrad"
    with pytest.raises(LedgerBusy):
        open_ledger(Settings(spool=Spool(path=tmp_path / "spool"), ledger=LedgerSection(url=url)))


def test_a_bug_of_ours_is_none_of_the_ledgers(house: Settings) -> None:
    ledger = open_ledger(house)
    with pytest.raises(sa.exc.IntegrityError), ledger.write() as connection:
        connection.execute(
            studies.insert(),
            [
                {
                    "id": "s1",
                    "study_uid": "1",
                    "state": "ready",
                    "patient_key": "k",
                    "first_arrival_at": 1.0,
                    "last_arrival_at": 1.0,
                    "changed_at": 1.0,
                }
            ],
        )
    ledger.close()
