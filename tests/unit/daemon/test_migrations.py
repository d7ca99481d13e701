"""The ledger's schema through the versions, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from config.schema import Ledger as LedgerSection
from config.schema import Settings, Spool
from daemon.ledger import Ledger, installation, migrations, open_ledger
from daemon.ledger.dump import NoLedgerDump, dump, load, version_in
from daemon.ledger.engine import backups_folder, bare_ledger
from daemon.ledger.migrations import FIRST, HEAD, LedgerTooNew, migrate, version_of
from daemon.ledger.tables import events, instances, metadata, studies
from pipeline.errors import InputRejected

OLD_STUDY = {
    "id": "s1",
    "study_uid": "1.2.3",
    "state": "delivered",
    "patient_key": "k",
    "first_arrival_at": 1.5,
    "last_arrival_at": 2.5,
    "changed_at": 3.25,
    "identity_accepted": True,
}


def settings_for(url: str, folder: Path) -> Settings:
    return Settings(ledger=LedgerSection(url=url), spool=Spool(path=folder / "spool"))


def ledger_at(url: str, folder: Path, version: str) -> Ledger:
    """A ledger as that version of axrad left it, with one study."""
    ledger = bare_ledger(settings_for(url, folder))
    with ledger.write() as connection:
        migrate(connection, folder / "backups", to=version)
        columns = {c["name"] for c in sa.inspect(connection).get_columns("studies")}
        old = sa.table("studies", *(sa.column(name) for name in columns))
        connection.execute(old.insert().values(**{k: v for k, v in OLD_STUDY.items() if k in columns}))
    return ledger


def differences(ledger: Ledger) -> list[Any]:
    with ledger.engine.connect() as connection:
        found: list[Any] = compare_metadata(
            MigrationContext.configure(connection, opts={"compare_type": True}), metadata
        )
        return found


def test_a_new_ledger_has_todays_tables_and_says_so(ledger: Ledger) -> None:
    assert differences(ledger) == []
    with ledger.read() as connection:
        assert version_of(connection) == HEAD


def test_the_steps_from_the_first_lead_to_todays_tables(ledger_url: str, tmp_path: Path) -> None:
    old = ledger_at(ledger_url, tmp_path, FIRST)
    assert differences(old) != []
    old.close()
    opened = open_ledger(settings_for(ledger_url, tmp_path))
    assert differences(opened) == []
    opened.close()


def test_the_head_that_is_named_is_the_last_step_there_is() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_an_old_ledger_is_upgraded_with_its_rows_after_a_backup(ledger_url: str, tmp_path: Path) -> None:
    ledger_at(ledger_url, tmp_path, FIRST).close()
    settings = settings_for(ledger_url, tmp_path)
    opened = open_ledger(settings)
    with opened.read() as connection:
        row = connection.execute(sa.select(studies)).one()
    opened.close()
    assert (row.study_uid, row.state, row.changed_at, row.accepted_keys) == ("1.2.3", "delivered", 3.25, None)
    (saved,) = backups_folder(settings).iterdir()
    assert version_in(saved) == FIRST


def versions() -> list[str]:
    """Every version that a ledger may have been left in, but today's; the first first."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    return [version for version in reversed(found) if version != HEAD]


def fill(connection: sa.Connection) -> dict[str, dict[str, Any]]:
    """A row in every table that there is, whatever its columns; what was written, by table."""
    found = sa.MetaData()
    found.reflect(connection)
    written: dict[str, dict[str, Any]] = {}
    for table in found.sorted_tables:
        if table.name in ("alembic_version", "tallies"):
            continue  # triggers write the rows of tallies, as those of the others are written
        # A step may have written a row of its own.
        there = connection.execute(sa.select(table)).mappings().one_or_none()
        row: dict[str, Any] = dict(there or {})
        for column in table.columns if there is None else ():
            (key,) = column.foreign_keys or (None,)
            row[column.name] = written[key.column.table.name][key.column.name] if key else value_for(column)
        if there is None:
            connection.execute(table.insert().values(**row))
        written[table.name] = row
    return written


def value_for(column: sa.Column[Any]) -> Any:
    if isinstance(column.type, sa.JSON):
        return ["ä — 汉字", 1.5]
    return {bool: True, int: 7, float: 1_700_000_000.125, bytes: b"\x00\xff"}.get(
        column.type.python_type, "ä"[: column.type.length or 1] if isinstance(column.type, sa.String) else "ä"
    )


@pytest.mark.parametrize("version", versions())
def test_from_every_version_every_row_of_every_table_comes_along(ledger_url: str, tmp_path: Path, version: str) -> None:
    settings = settings_for(ledger_url, tmp_path)
    old = bare_ledger(settings)
    with old.write() as connection:
        migrate(connection, tmp_path / "backups", to=version)
        before = fill(connection)
    old.close()
    opened = open_ledger(settings)
    assert differences(opened) == []
    found = sa.MetaData()
    with opened.read() as connection:
        found.reflect(connection)
        for name, row in before.items():
            (after,) = connection.execute(sa.select(found.tables[name])).mappings()
            assert {k: after[k] for k in row if k in after} == {k: v for k, v in row.items() if k in after}
            assert set(row) <= set(after)
    opened.close()
    (saved,) = backups_folder(settings).iterdir()
    assert version_in(saved) == version


def test_a_ledger_from_before_there_were_versions_counts_as_the_first(ledger_url: str, tmp_path: Path) -> None:
    old = ledger_at(ledger_url, tmp_path, FIRST)
    with old.write() as connection:
        connection.execute(sa.text("DROP TABLE alembic_version"))
    old.close()
    opened = open_ledger(settings_for(ledger_url, tmp_path))
    assert differences(opened) == []
    opened.close()


def test_opening_an_up_to_date_ledger_writes_no_backup(ledger: Ledger, ledger_url: str, tmp_path: Path) -> None:
    settings = settings_for(ledger_url, tmp_path)
    open_ledger(settings).close()
    assert not backups_folder(settings).exists()


def test_a_ledger_of_a_newer_axrad_is_refused_with_the_reason(ledger: Ledger, ledger_url: str, tmp_path: Path) -> None:
    with ledger.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerTooNew, match="made by a newer axrad") as raised:
        open_ledger(settings_for(ledger_url, tmp_path))
    assert isinstance(raised.value, InputRejected)


def test_of_processes_that_start_together_one_upgrades(ledger_url: str, tmp_path: Path) -> None:
    ledger_at(ledger_url, tmp_path, FIRST).close()
    settings = settings_for(ledger_url, tmp_path)
    with ThreadPoolExecutor(3) as pool:
        for opened in pool.map(lambda _: open_ledger(settings), range(3)):
            opened.close()
    assert len(list(backups_folder(settings).iterdir())) == 1


def test_an_upgrade_that_fails_leaves_the_ledger_as_it_was(
    ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger_at(ledger_url, tmp_path, FIRST).close()
    real = migrations._run

    def breaks_at_the_end(connection: sa.Connection, command: str, revision: str) -> None:
        real(connection, command, revision)
        if command == "upgrade":
            raise RuntimeError("the machine is switched off")

    monkeypatch.setattr(migrations, "_run", breaks_at_the_end)
    with pytest.raises(RuntimeError, match="switched off"):
        open_ledger(settings_for(ledger_url, tmp_path))
    monkeypatch.undo()
    bare = bare_ledger(settings_for(ledger_url, tmp_path))
    with bare.read() as connection:
        assert version_of(connection) == FIRST
        assert "fetches" not in sa.inspect(connection).get_table_names()
    bare.close()


def test_a_dump_fills_an_empty_ledger_of_its_version_and_new_rows_get_new_numbers(
    ledger_url: str, tmp_path: Path
) -> None:
    old = ledger_at(f"sqlite:///{tmp_path / 'old.sqlite'}", tmp_path, FIRST)
    with old.write() as connection:
        for kind in ("ä — 汉字", "two"):
            connection.execute(sa.text("INSERT INTO events (at, kind, detail) VALUES (1.1, :kind, '')"), {"kind": kind})
        assert dump(connection, tmp_path / "dump.gz", FIRST) == 3
    old.close()
    new = bare_ledger(settings_for(ledger_url, tmp_path))
    with new.write() as connection:
        migrate(connection, tmp_path / "backups", to=version_in(tmp_path / "dump.gz"))
        assert load(connection, tmp_path / "dump.gz") == 3
        connection.execute(sa.text("INSERT INTO events (at, kind, detail) VALUES (2.2, 'three', '')"))
        rows = connection.execute(sa.text("SELECT id, at, kind FROM events ORDER BY id")).all()
    new.close()
    assert [tuple(r) for r in rows] == [(1, 1.1, "ä — 汉字"), (2, 1.1, "two"), (3, 2.2, "three")]


def test_a_dump_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.sqlite'}"
    ledger = ledger_at(url, tmp_path, HEAD)
    with ledger.read() as connection:
        dump(connection, tmp_path / "whole.gz", HEAD)
    ledger.close()
    whole = (tmp_path / "whole.gz").read_bytes()
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    empty = open_ledger(settings_for(f"sqlite:///{tmp_path / 'b.sqlite'}", tmp_path))
    with pytest.raises(NoLedgerDump), empty.write() as connection:
        load(connection, tmp_path / "cut.gz")
    empty.close()


OLD_REASONS = {
    "waits for the exam has no series that could be T1+C; the tumour ROI": "a T1+C series; the tumour ROI",
    "waits for 6 of the 10 images that the ROIs refer to": "6 of the 10 images that the ROIs refer to",
    "the objects of this study name 2 different patients; check them, then `axrad retry 1.2 --accept-identity` or "
    "remove the wrong ones": "the objects of this study name 2 different patients",
    "nothing came for 14 days": "nothing came for 14 days",
}


@pytest.mark.parametrize(("before", "after"), OLD_REASONS.items())
def test_reasons_of_older_versions_become_noun_phrases(
    ledger_url: str, tmp_path: Path, before: str, after: str
) -> None:
    old = ledger_at(ledger_url, tmp_path, "0004")
    flagged = f"newer data are incomplete: {before}" if before.startswith("waits") else ""
    with old.write() as connection:
        connection.execute(sa.text("UPDATE studies SET reason = :r, flagged = :f"), {"r": before, "f": flagged})
        connection.execute(
            sa.text("INSERT INTO events (id, at, study_id, kind, detail) VALUES (1, 1.0, 's1', 'waiting', :r)"),
            {"r": before},
        )
    old.close()
    new = open_ledger(settings_for(ledger_url, tmp_path))
    with new.read() as connection:
        study = connection.execute(sa.select(studies)).one()
        detail = connection.execute(sa.select(events.c.detail)).scalar_one()
    new.close()
    assert (study.reason, detail) == (after, after)
    assert study.flagged == (f"newer data are incomplete, missing: {after}" if flagged else "")


def test_what_notes_of_older_versions_said_of_instances_becomes_a_column(ledger_url: str, tmp_path: Path) -> None:
    said = {
        "1": ("ignored", "a result of axrad", "result"),
        "2": ("purged", "a result of axrad", "result"),
        "3": ("ignored", "not used by axrad", "others"),
        "4": ("ignored", "read for feedback", "feedback"),
        "5": ("unreadable", "set aside: its readers died of it", "set-aside"),
        "6": ("unreadable", "its header ends too early", ""),
        "7": ("stored", "", ""),
    }
    old = ledger_at(ledger_url, tmp_path, "0012")
    texts = ("sop_uid", "digest", "study_uid", "series_uid", "sop_class", "exam_uid", "patient_key", "path", "state")
    columns = [*(sa.column(name) for name in (*texts, "note")), sa.column("size"), sa.column("received_at")]
    table = sa.table("instances", *columns, sa.column("facts", sa.JSON))
    with old.write() as connection:
        for uid, (state, words, _) in said.items():
            row: dict[str, Any] = dict.fromkeys(texts, uid) | {"state": state, "note": words, "size": 1}
            connection.execute(table.insert().values(**row, received_at=1.0, facts={}))
    old.close()
    opened = open_ledger(settings_for(ledger_url, tmp_path))
    with opened.read() as connection:
        counted = connection.execute(sa.select(instances.c.sop_uid, instances.c.counts_as)).all()
    opened.close()
    assert dict(tuple(row) for row in counted) == {uid: counts_as for uid, (_, _, counts_as) in said.items()}


def test_names_that_people_wrote_into_headers_go_where_the_files_are_gone(ledger_url: str, tmp_path: Path) -> None:
    old = ledger_at(ledger_url, tmp_path, "0013")
    names = ("sop_uid", "digest", "study_uid", "series_uid", "sop_class", "exam_uid", "patient_key", "path", "state")
    columns = [*(sa.column(name) for name in names), sa.column("size"), sa.column("received_at")]
    table = sa.table("instances", *columns, sa.column("facts", sa.JSON))
    tags = {"StudyDescription": "DOE", "StationName": "DOE", "SeriesDescription": "t1", "Rows": 4}
    facts = {"tags": tags, "segments": [{"number": 1, "label": "DOE"}]}
    with old.write() as connection:
        for uid, state in (("1", "stored"), ("2", "purged")):
            row: dict[str, Any] = dict.fromkeys(names, uid) | {"state": state, "size": 1, "received_at": 1.0}
            connection.execute(table.insert().values(**row, facts=facts))
    old.close()
    opened = open_ledger(settings_for(ledger_url, tmp_path))
    with opened.read() as connection:
        rows = connection.execute(sa.select(instances.c.facts).order_by(instances.c.sop_uid)).scalars().all()
    opened.close()
    assert rows[0] == {**facts, "tags": {k: v for k, v in tags.items() if k != "StationName"}}
    assert rows[1] == {"tags": {"SeriesDescription": "t1", "Rows": 4}, "segments": [{"number": 1, "label": ""}]}


def test_a_ledger_has_one_id_for_ever_that_goes_with_its_dump(ledger_url: str, tmp_path: Path) -> None:
    ledger = open_ledger(settings_for(ledger_url, tmp_path))
    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(lambda _: installation.id_of(ledger), range(4)))
    with ledger.read() as connection:
        dump(connection, tmp_path / "dump.gz", HEAD)
    ledger.close()
    assert len(ids) == 1
    copy = ledger_at(f"sqlite:///{tmp_path / 'copy.sqlite'}", tmp_path, HEAD)
    with copy.write() as connection:
        connection.execute(studies.delete())
        load(connection, tmp_path / "dump.gz")
    assert {installation.id_of(copy)} == ids
    copy.close()
