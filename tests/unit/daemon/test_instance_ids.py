"""The id of an instance is given once: revisions and proposals go on naming instances that are gone."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from config.schema import Ledger as LedgerSection
from config.schema import Settings, Spool
from daemon.ledger import Ledger, open_ledger
from daemon.ledger.dump import dump, load
from daemon.ledger.engine import backups_folder, bare_ledger
from daemon.ledger.migrations import HEAD, migrate
from daemon.ledger.tables import instances

BEFORE = "0020"


def settings_for(url: str, folder: Path) -> Settings:
    return Settings(ledger=LedgerSection(url=url), spool=Spool(path=folder / "spool"))


def row(uid: str, **columns: object) -> dict[str, Any]:
    texts = ("digest", "study_uid", "series_uid", "sop_class", "exam_uid", "patient_key", "path")
    return {
        **dict.fromkeys(texts, uid),
        "sop_uid": uid,
        "size": 7,
        "received_at": 1.5,
        "state": "stored",
        "facts": {},
    } | columns


def add(connection: sa.Connection, uid: str) -> int:
    (number,) = connection.execute(instances.insert().values(**row(uid))).inserted_primary_key or (0,)
    return int(number)


def remove_newest(connection: sa.Connection) -> None:
    newest = sa.select(sa.func.max(instances.c.id)).scalar_subquery()
    connection.execute(instances.delete().where(instances.c.id == newest))


def ledger_before(url: str, folder: Path, *, named: int = 0) -> Ledger:
    """A ledger of the version before, with three instances; its newest revision names an instance that is gone."""
    ledger = bare_ledger(settings_for(url, folder))
    with ledger.write() as connection:
        migrate(connection, folder / "backups", to=BEFORE)
        for uid in "abc":
            connection.execute(instances.insert().values(**row(uid)))
        if named:
            tables = sa.MetaData()
            tables.reflect(connection, only=["studies", "revisions"])
            times = {"first_arrival_at": 1.0, "last_arrival_at": 1.0, "changed_at": 1.0}
            connection.execute(
                tables.tables["studies"]
                .insert()
                .values(id="s", study_uid="1", state="delivered", patient_key="k", **times)
            )
            connection.execute(
                tables.tables["revisions"]
                .insert()
                .values(
                    id="r", study_id="s", number=1, input_digest="d", inputs={"context": [1, named], "selected": []},
                    state="delivered", stage="done", created_at=1.0, next_attempt_at=1.0,
                )
            )  # fmt: skip
    return ledger


def test_an_instance_after_one_that_was_removed_has_a_new_id(ledger: Ledger) -> None:
    with ledger.write() as connection:
        first, second = add(connection, "a"), add(connection, "b")
        remove_newest(connection)
        third = add(connection, "c")
    with ledger.write() as connection:
        connection.execute(instances.delete())
        assert add(connection, "d") == third + 1 == second + 2 == first + 3


def test_an_upgraded_ledger_gives_no_id_that_a_revision_names(ledger_url: str, tmp_path: Path) -> None:
    ledger_before(ledger_url, tmp_path, named=41).close()
    ledger = open_ledger(settings_for(ledger_url, tmp_path))
    with ledger.write() as connection:
        assert add(connection, "d") == 42
        remove_newest(connection)
        assert add(connection, "d") == 43
    ledger.close()


def schema(ledger: Ledger) -> dict[str, str]:
    with ledger.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_master").all()
    return {name: " ".join(sql.split()) for name, sql in rows}


def test_rows_indexes_and_triggers_are_there_after_the_upgrade(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    old = ledger_before(url, tmp_path)
    before = schema(old)
    with old.read() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM instances ORDER BY id").mappings().all()
    old.close()
    new = open_ledger(settings_for(url, tmp_path))
    after = schema(new)
    with new.write() as connection:
        now = connection.exec_driver_sql("SELECT * FROM instances ORDER BY id").mappings().all()
        assert [{name: row[name] for name in rows[0]} for row in now] == [dict(row) for row in rows]
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalars().all() == ["ok"]
        assert "AUTOINCREMENT" in after["table instances"]
        # A trigger fires, and a unique key is unique.
        connection.execute(instances.delete().where(instances.c.sop_uid == "b"))
        tallied = "SELECT sum(number) FROM tallies WHERE kind = 'instance'"
        assert connection.exec_driver_sql(tallied).scalar_one() == 2
        with pytest.raises(sa.exc.IntegrityError):
            connection.execute(instances.insert().values(**row("a")))
    new.close()
    # A later step puts the spool before the path.
    changed = {"table instances", "index ix_instances_here_by_path"}
    of_instances = {name for name in before if "instances" in name} - changed
    assert {name: after[name] for name in of_instances} == {name: before[name] for name in of_instances}
    assert len(list(backups_folder(settings_for(url, tmp_path)).iterdir())) == 1


def test_an_upgrade_that_is_killed_at_any_statement_is_done_by_the_next_start(tmp_path: Path) -> None:
    ledger_before(f"sqlite:///{tmp_path / 'before.sqlite'}", tmp_path).close()
    statement = 0
    while True:
        folder = tmp_path / str(statement)
        folder.mkdir()
        shutil.copy(tmp_path / "before.sqlite", folder / "ledger.sqlite")
        url = f"sqlite:///{folder / 'ledger.sqlite'}"
        was_killed = _killed_at(statement, url, folder)
        ledger = open_ledger(settings_for(url, folder))
        with ledger.write() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalars().all() == ["ok"]
            remove_newest(connection)
            assert add(connection, "d") == 4
        ledger.close()
        if not was_killed:
            break
        statement += 1
    assert statement > 8


def _killed_at(statement: int, url: str, folder: Path) -> bool:
    """Whether a process that upgrades got to this statement of the step, and was killed there."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    seen = -1
    ledger = bare_ledger(settings_for(url, folder))

    def count(_connection: object, _cursor: object, text: str, *_: object) -> None:
        nonlocal seen
        if seen >= 0 or "FROM sqlite_master WHERE type = 'table' AND name = 'instances'" in text:
            seen += 1
        if seen == statement + 1:
            os._exit(9)

    sa.event.listen(ledger.engine, "before_cursor_execute", count)
    try:
        with ledger.write() as connection:
            migrate(connection, folder / "backups")
    finally:
        os._exit(0)


@pytest.mark.parametrize("seed", range(2))
def test_a_restored_ledger_gives_no_id_that_the_old_one_gave(ledger_url: str, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    url, given = ledger_url, 0
    for turn in range(3):
        folder = tmp_path / str(turn)
        folder.mkdir()
        ledger = open_ledger(settings_for(url, tmp_path))
        for number in range(chance.randint(1, 8)):
            with ledger.write() as connection:
                if chance.random() < 0.6:
                    new = add(connection, f"{turn}.{number}")
                    assert new > given
                    given = new
                else:
                    remove_newest(connection)
        with ledger.read() as connection:
            dump(connection, folder / "dump.gz", HEAD)
        ledger.close()
        url = f"sqlite:///{folder / 'restored.sqlite'}" if turn % 2 == 0 else ledger_url
        ledger = bare_ledger(settings_for(url, tmp_path), may_be_made=True)
        with ledger.write() as connection:
            restored = sa.MetaData()
            restored.reflect(connection)
            restored.drop_all(connection)
            migrate(connection, tmp_path / "backups", to=HEAD)
            load(connection, folder / "dump.gz")
        ledger.close()
