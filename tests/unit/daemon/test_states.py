"""States are tables: every step is one of theirs, only the movers write them, and the page shows them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.ledger import Ledger, rows, states
from daemon.ledger.claims import LeaseLost, claim, update
from daemon.ledger.moves import KINDS, add, move, move_all

ROOT = Path(__file__).resolve().parents[3]
NOW = 1_000_000.0
TABLES = {kind: steps for kind, (_, steps) in KINDS.items()} | {"stage": states.STAGE}
PAIRS = [(kind, old, new) for kind, (_, steps) in KINDS.items() for old in steps for new in steps]
COLUMNS: dict[str, dict[str, Any]] = {
    "study": {
        "id": "s1",
        "study_uid": "1.2",
        "patient_key": "k",
        "first_arrival_at": NOW,
        "last_arrival_at": NOW,
        "changed_at": NOW,
    },
    "revision": {
        "id": "r1",
        "study_id": "s1",
        "number": 1,
        "input_digest": "d",
        "inputs": {},
        "stage": "analyse",
        "created_at": NOW,
        "next_attempt_at": NOW,
    },
    "delivery": {
        "id": "d1",
        "revision_id": "r1",
        "destination": "PACS",
        "objects": [],
        "created_at": NOW,
        "next_attempt_at": NOW,
    },
    "fetch": {
        "id": "f1",
        "study_id": "s1",
        "kind": "images",
        "subject": "",
        "wanted": [],
        "created_at": NOW,
        "next_attempt_at": NOW,
    },
    "proposal": {
        "id": "p1",
        "study_id": "s1",
        "digest": "d",
        "context": [],
        "taken_by": [],
        "created_at": NOW,
        "next_attempt_at": NOW,
    },
    "instance": {
        "id": 1,
        "sop_uid": "1.2.3",
        "digest": "d",
        "study_uid": "1.2",
        "series_uid": "1.2.1",
        "sop_class": "1.2",
        "exam_uid": "1.2",
        "patient_key": "k",
        "path": "p",
        "size": 1,
        "received_at": NOW,
        "facts": {},
    },
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A ledger with one row of each kind."""
    from config.schema import Settings
    from daemon.ledger import open_ledger

    root = tmp_path_factory.mktemp("states")
    ledger = open_ledger(Settings.model_validate({"spool": {"path": str(root / "spool")}}))
    with ledger.write() as connection:
        for kind, (table, steps) in KINDS.items():
            first = next(name for name, state in steps.items() if state.first)
            connection.execute(table.insert().values(**COLUMNS[kind], state=first))
    yield ledger
    ledger.close()


def put(connection: sa.Connection, kind: str, state: str) -> str | int:
    """The row of this kind in a state that it need not have come to."""
    table = KINDS[kind][0]  # type: ignore[index]
    connection.execute(table.update().values(state=state))
    return COLUMNS[kind]["id"]  # type: ignore[no-any-return]


def state_of(connection: sa.Connection, kind: str) -> str:
    return str(connection.execute(sa.select(KINDS[kind][0].c.state)).scalar_one())  # type: ignore[index]


# The tables


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_every_step_leads_to_a_state_of_the_table(table: states.Steps) -> None:
    assert {follower for state in table.values() for follower in state.next} <= set(table)


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_every_state_can_be_reached_from_one_in_which_rows_begin(table: states.Steps) -> None:
    reached = {name for name, state in table.items() if state.first}
    assert reached
    while more := {follower for name in reached for follower in table[name].next} - reached:
        reached |= more
    assert reached == set(table)


@pytest.mark.parametrize(
    ("table", "over"),
    [
        (states.STUDY, {"delivered", "not_evaluated"}),
        (states.REVISION, {"delivered", "not_evaluated", "superseded"}),
        (states.STAGE, {"done"}),
        (states.DELIVERY, {"delivered", "cancelled", "refused"}),
        (states.FETCH, {"done", "cancelled"}),
        (states.INSTANCE, {"stored", "ignored", "unreadable", "purged"}),
    ],
)
def test_every_state_with_work_left_has_somebody_who_moves_it_on(table: states.Steps, over: set[str]) -> None:
    assert {name for name, state in table.items() if not state.moved_on_by} == over


def groups() -> dict[str, frozenset[str]]:
    return {
        name: frozenset(value)
        for name, value in vars(states).items()
        if name.isupper() and isinstance(value, tuple | frozenset) and not name.startswith("_")
    }


def test_every_group_is_of_states_of_one_table() -> None:
    assert len(groups()) > 15
    astray = {name for name, group in groups().items() if not any(group <= set(table) for table in TABLES.values())}
    assert astray == set()


def test_the_page_is_drawn_from_the_tables() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "script" / "describe-states", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, "docs/states.md is out of date; run .venv/bin/python script/describe-states"
    page = (ROOT / "docs" / "states.md").read_text(encoding="utf-8")
    for table in TABLES.values():
        steps = sum(len(state.next) for state in table.values())
        assert steps > 0
        for name, state in table.items():
            assert f"| `{name}` | {state.meaning} |" in page
            assert all(f"    {name} --> {follower}\n" in page for follower in state.next)


# The records


def python_type(column: sa.Column[Any]) -> str:
    kinds = {sa.JSON: "JSON", sa.Boolean: "bool", sa.Integer: "int", sa.Float: "float", sa.String: "str"}
    kind = next(name for base, name in kinds.items() if isinstance(column.type, base))
    return f"{kind} | None" if column.nullable else kind


def declared(record: type) -> dict[str, str]:
    """Fields and their types; a JSON column's type says what stands in it."""
    simple = re.compile(r"(str|int|float|bool)( \| None)?")
    types = {field.name: str(field.type) for field in fields(record)}
    return {
        name: text if simple.fullmatch(text) else "JSON | None" if text.endswith("| None") else "JSON"
        for name, text in types.items()
    }


@pytest.mark.parametrize("record", rows.TABLES, ids=lambda record: record.__name__)
def test_a_record_has_the_columns_of_its_table_in_their_order(record: type) -> None:
    table = rows.TABLES[record]
    expected = {column.name: python_type(column) for column in table.c}
    assert list(declared(record)) == list(expected)
    assert declared(record) == expected


def test_rows_are_read_as_records(house: Ledger) -> None:
    with house.write() as connection:
        put(connection, "study", "waiting")
        study = rows.the_row(connection, rows.StudyRow, "s1", lock=True)
        assert (study.study_uid, study.state, study.first_arrival_at) == ("1.2", "waiting", NOW)
        assert rows.rows_where(connection, rows.StudyRow) == [study]
        assert rows.row_where(connection, rows.StudyRow, KINDS["study"][0].c.id == "s2") is None
        with pytest.raises(sa.exc.NoResultFound, match="no StudyRow s2"):
            rows.the_row(connection, rows.StudyRow, "s2")


# The movers


@pytest.mark.parametrize(("kind", "old", "new"), PAIRS)
def test_a_row_moves_along_the_table_and_not_otherwise(house: Ledger, kind: Any, old: str, new: str) -> None:
    legal = old == new or new in TABLES[kind][old].next
    with house.write() as connection:
        row_id = put(connection, kind, old)
        if legal:
            move(connection, kind, row_id, new)
        else:
            with pytest.raises(AssertionError, match=f"{old} → {new}"):
                move(connection, kind, row_id, new)
        assert state_of(connection, kind) == (new if legal else old)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_many_rows_move_only_from_states_that_all_may(house: Ledger, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    steps = KINDS[kind][1]
    start = data.draw(st.lists(st.sampled_from(sorted(steps)), unique=True))
    now, new = data.draw(st.sampled_from(sorted(steps))), data.draw(st.sampled_from(sorted(steps)))
    legal = all(old == new or new in steps[old].next for old in start)
    with house.write() as connection:
        put(connection, kind, now)
        if not legal:
            with pytest.raises(AssertionError):
                move_all(connection, kind, sa.true(), start, new)
            assert state_of(connection, kind) == now
        else:
            assert move_all(connection, kind, sa.true(), start, new) == (now in start)
            assert state_of(connection, kind) == (new if now in start else now)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_row_begins_in_a_state_that_another_must_lead_to(house: Ledger, kind: Any) -> None:
    for name, state in TABLES[kind].items():
        if not state.first:
            with pytest.raises(AssertionError, match=f"begins as {name}"), house.write() as connection:
                add(connection, kind, name, COLUMNS[kind])


def test_a_row_that_is_not_there_cannot_move(house: Ledger) -> None:
    with pytest.raises(AssertionError, match="there is no revision"), house.write() as connection:
        move(connection, "revision", "nobody", "running")


def test_a_stage_moves_along_its_table(house: Ledger) -> None:
    from daemon.ledger.tables import revisions

    with house.write() as connection:
        put(connection, "revision", "running")
        for old, new in pairwise(("analyse", "report", "done", "analyse")):
            connection.execute(revisions.update().values(stage=old))
            move(connection, "revision", "r1", "running", stage=new)
        connection.execute(revisions.update().values(stage="done"))
        with pytest.raises(AssertionError):
            move(connection, "revision", "r1", "running", stage="report")


def test_voiding_a_lease_takes_the_row_from_its_worker(house: Ledger) -> None:
    with house.write() as connection:
        put(connection, "delivery", "pending")
        held = claim(connection, "delivery", "d1", "w", NOW, 60, 3)
        assert held is not None
        move(connection, "delivery", "d1", "cancelled", void_lease=True)
        with pytest.raises(LeaseLost):
            update(connection, held, state="delivered")
        row = connection.execute(sa.select(KINDS["delivery"][0])).one()
        assert (row.owner, row.lease_until, row.state) == (None, None, "cancelled")


def test_a_worker_cannot_take_a_step_that_is_not_in_the_table(house: Ledger) -> None:
    with house.write() as connection:
        put(connection, "fetch", "pending")
        held = claim(connection, "fetch", "f1", "w", NOW, 60, 3)
        assert held is not None
        with pytest.raises(AssertionError, match="pending → done"):
            update(connection, held, state="done")
        with pytest.raises(AssertionError, match="written as a column"):
            update(connection, held, {"state": "fetching"})


# Nobody else writes them

WRITERS = {"daemon/ledger/moves.py"}
RAW_SQL = re.compile(r"\b(set|into)\b.*\b(state|stage)\b", re.IGNORECASE | re.DOTALL)
NAMES = {"state", "stage"}


def reads(value: ast.expr, key: str) -> bool:
    """`{"state": row.state}`: shown to people."""
    return isinstance(value, ast.Attribute) and value.attr == key


def raw_state_writes(tree: ast.Module) -> Iterator[int]:
    """Lines that write a state or stage to a table without asking what may follow what."""
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    at_the_ledger = bool(modules & {"daemon.ledger.tables", "daemon.ledger.claims", "daemon.ledger.moves"})
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="values")) if any(k.arg in NAMES for k in node.keywords):
                yield node.lineno
            case ast.Call(func=ast.Name(id="dict")) if at_the_ledger and any(k.arg in NAMES for k in node.keywords):
                yield node.lineno
            case ast.Dict() if at_the_ledger:
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value in NAMES and not reads(value, str(key.value)):
                        yield node.lineno
                    if isinstance(key, ast.Attribute) and key.attr in NAMES:
                        yield node.lineno
            case ast.Subscript(ctx=ast.Store(), slice=ast.Constant(value=key)) if at_the_ledger and key in NAMES:
                yield node.lineno
            case ast.Call(func=ast.Attribute(attr="text"), args=[ast.Constant(value=str(sql)), *_]) if RAW_SQL.search(
                sql
            ):
                yield node.lineno


def grouped_states(tree: ast.Module) -> Iterator[int]:
    """Lines with two states or more of one table in a row: a group without a name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple | ast.Set | ast.List):
            names = [e.value for e in node.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)]
            if len(names) > 1 and any(set(names) <= set(table) for table in TABLES.values()):
                yield node.lineno


def daemon_modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / "daemon").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name not in WRITERS and "/migrations/" not in name:
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def test_only_the_movers_write_states() -> None:
    assert [f"{name}:{line}" for name, tree in daemon_modules() for line in raw_state_writes(tree)] == []


@pytest.mark.parametrize(
    "line",
    [
        'connection.execute(studies.update().values(state="ready"))',
        'connection.execute(revisions.insert().values(id="r", stage="analyse"))',
        'connection.execute(studies.update().values({"state": "ready"}))',
        "connection.execute(studies.update().values({studies.c.state: new}))",
        'values |= {"state": "ready", "reason": ""}',
        'values["stage"] = "done"',
        'release(connection, held, {"state": "failed"})',
        'columns = dict(state="failed")',
        'connection.execute(sa.text("UPDATE revisions SET state = 1"))',
    ],
)
def test_a_raw_write_would_be_noticed(line: str) -> None:
    tree = ast.parse(f"from daemon.ledger.tables import studies, revisions\n{line}\n")
    assert list(raw_state_writes(tree)) == [2]


def test_groups_of_states_are_defined_once() -> None:
    found = [
        f"{name}:{line}"
        for name, tree in daemon_modules()
        if name != "daemon/ledger/states.py"
        for line in grouped_states(tree)
    ]
    assert found == []


def test_a_second_group_would_be_noticed() -> None:
    assert list(grouped_states(ast.parse('x\ny = row.state in ("reported", "delivered")\n'))) == [2]
