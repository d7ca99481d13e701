"""Listener and indexer die at every step in turn: what was answered is accounted for, and nothing comes twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from config.schema import Listen, Settings
from daemon.indexing.indexer import index_once
from daemon.indexing.reconcile import reconcile
from daemon.ledger import Ledger
from daemon.ledger.tables import instances, journal_positions, open_associations, studies
from daemon.listener.command import StoreRequest
from daemon.listener.storing import AssociationStore, NegotiatedContext
from daemon.spool import Description, JournalWriter, Spool, Syncer
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE, encoded, mr_image

NOW = 1_800_000_000.0
# What the receiving of an instance asks of the operating system.
STEPS = ("open", "mkdir", "writev", "write", "link", "replace", "fsync", "close", "unlink", "rename")


class Killed(BaseException):
    """Stands for SIGKILL: nobody catches it, nothing is done after it."""


@contextmanager
def killed_at(step: int, patch: pytest.MonkeyPatch, *, after: bool) -> Iterator[list[str]]:
    """The process ends at the n-th call to the operating system, before or after it took effect."""
    calls: list[str] = []

    def counting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if len(calls) >= step:
                raise Killed
            if "incoming" not in str(arguments[0]) and name == "open" and "spool" not in str(arguments[0]):
                return real(*arguments, **more)
            calls.append(name)
            if len(calls) == step and not after:
                raise Killed
            result = real(*arguments, **more)
            if len(calls) == step:
                raise Killed
            return result

        return call

    with patch.context() as patched:
        for name in STEPS:
            patched.setattr(os, name, counting(name, getattr(os, name)))
        yield calls


def store_one(spool: Spool, uid: str, durability: str) -> int:
    """What happens in an association that brings one instance; its status."""
    settings = Settings(listen=Listen.model_validate({"durability": durability}))
    store = AssociationStore(spool, settings, lambda: False, Syncer(spool.root), "SCU", "10.0.0.1")
    store.begin(StoreRequest(1, MR_IMAGE, uid, 0, True, ""), NegotiatedContext(MR_IMAGE, EXPLICIT_LE, may_store=True))
    store.data(memoryview(encoded(mr_image(uid))))
    status, _ = store.end()
    return status


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("durability", ["instance", "none"])
def test_a_listener_that_dies_at_any_step_leaves_whole_instances_and_takes_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: str, after: bool
) -> None:
    steps = 0
    for step in range(1, 60):
        root = tmp_path / str(step) / "spool"
        spool = Spool(root)
        answered = None
        with killed_at(step, monkeypatch, after=after) as calls, suppress(Killed):
            answered = store_one(spool, "1.2.3", durability)
        again = Spool(root)
        assert all(again.verify(path) for path in again.walk())
        if answered == 0:
            assert len(list(again.walk())) == 1
        assert store_one(again, "1.2.3", durability) == 0
        assert len(list(again.walk())) == 1
        steps = len(calls)
        if answered is not None and len(calls) < step:
            break
    assert steps > 5
    assert answered == 0


@contextmanager
def dying_at(ledger: Ledger, step: int) -> Iterator[list[bool]]:
    """The process ends instead of the n-th statement."""
    statements = 0

    def count(*_: Any) -> None:
        nonlocal statements
        statements += 1
        if statements == step:
            raise Killed

    sa.event.listen(ledger.engine, "before_cursor_execute", count)
    try:
        with suppress(Killed):
            yield []
    finally:
        sa.event.remove(ledger.engine, "before_cursor_execute", count)


def test_an_indexer_that_dies_at_any_statement_and_starts_again_has_every_row_once(
    ledger: Ledger, tmp_path: Path
) -> None:
    def exam(root: Path) -> Spool:
        spool = Spool(root)
        for journal_number in range(2):
            journal = JournalWriter(spool.journal, "SCU", "10.0.0.1")
            uid = f"1.2.3.{journal_number}"
            spool.put(Description(MR_IMAGE, uid, EXPLICIT_LE, "SCU"), encoded(mr_image(uid)), journal)
            # The second writer is killed as well: its journal ends without a word.
            if journal_number == 0:
                journal.close("released")
            else:
                assert journal._fd is not None
                os.close(journal._fd)
        return spool

    def empty() -> None:
        with ledger.write() as connection:
            for table in (instances, studies, journal_positions, open_associations):
                connection.execute(table.delete())

    died = 0
    for step in range(1, 200):
        spool = exam(tmp_path / str(step))
        with dying_at(ledger, step) as finished:
            index_once(ledger, spool, NOW)
            finished.append(True)
        index_once(ledger, spool, NOW)
        with ledger.read() as connection:
            rows = connection.execute(sa.select(instances.c.sop_uid, instances.c.state, instances.c.calling_ae)).all()
            left = connection.execute(sa.select(journal_positions)).all()
            still_open = connection.execute(sa.select(open_associations)).all()
        assert sorted(row.sop_uid for row in rows) == ["1.2.3.0", "1.2.3.1"]
        assert {(row.state, row.calling_ae) for row in rows} == {("stored", "SCU")}
        assert (left, still_open, list(spool.journal.iterdir())) == ([], [], [])
        assert reconcile(ledger, spool, NOW) == (0, 0)
        empty()
        if finished:
            break
        died += 1
    assert died > 10
