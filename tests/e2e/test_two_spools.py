"""Two intake hosts with a spool each and one ledger: an exam in halves is reported; without one host others go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from daemon.ledger.tables import events
from daemon.processes.demonstration import Archive
from dicom_sr.checks.content import check_report
from pipeline.phantom import PhantomExam, PhantomSpec, write_exam
from tests.support.daemon import Daemon, destination, storescu
from tests.support.machines import database, machine, redis_server
from tests.support.postgres import free_port
from tests.support.waiting import wait_for, wait_for_listener

pytestmark = [pytest.mark.peer("storescu"), pytest.mark.peer("redis-server")]


@dataclass
class Site:
    first: Daemon
    second: Daemon
    end_second: ExitStack
    archive: Archive

    def told(self, kind: str) -> list[str]:
        with self.first.ledger.read() as connection:
            return list(connection.execute(sa.select(events.c.detail).where(events.c.kind == kind)).scalars())


@pytest.fixture
def site(postgres: str, tmp_path: Path) -> Iterator[Site]:
    ports = {"main": (free_port(), free_port()), "b": (free_port(), free_port())}
    archive = Archive(tmp_path / "archive")
    with ExitStack() as stack:
        stack.callback(archive.stop)
        url = stack.enter_context(redis_server(tmp_path))
        ledger_url = database(postgres, "two_spools")

        def host(within: ExitStack, spool_id: str, other: str, names: set[str]) -> Daemon:
            (listen, share), (_, others) = ports[spool_id], ports[other]
            spool = f'id = "{spool_id}"\nshare_port = {share}\nothers = {{ {other} = "http://127.0.0.1:{others}" }}\n'
            common = (
                f"[listen]\nport = {listen}\n[broker]\nurl = '{url}'\n[ledger]\nurl = '{ledger_url}'\n"
                f"[site]\nkey_file = '{tmp_path / 'site.key'}'\n[features]\nset = 'signature'\n",
                destination(archive.port, ae_title="ARCHIVE"),
            )
            made = within.enter_context(machine(tmp_path / spool_id, names, spool, *common))
            wait_for_listener(listen)
            return made

        working = {"listen", "work-analyse", "work-deliver", "work-sweep", "beat"}
        first = host(stack, "main", "b", working)
        end_second = stack.enter_context(ExitStack())
        yield Site(first, host(end_second, "b", "main", {"listen"}), end_second, archive)


def in_halves(tmp_path: Path, seed: int) -> tuple[PhantomExam, list[Path], list[Path]]:
    """An exam, the half of it that begins with the regions, and the rest."""
    exam = write_exam(tmp_path / f"exam-{seed}", PhantomSpec(seed=seed, preset="small"))
    files = exam.paths[::-1]
    return exam, list(files[::2]), list(files[1::2])


def test_an_exam_in_two_spools_is_reported_and_others_go_on_without_one_host(site: Site, tmp_path: Path) -> None:
    exam, mine, others = in_halves(tmp_path, 7)
    storescu(site.second.port, *others)
    # The sender is led to the other host, where it begins again a little earlier.
    storescu(site.first.port, others[0], *mine)
    site.first.wait_for(exam.study_uid, "delivered")
    result = site.first.result(exam.study_uid)
    assert result.status == "evaluated"
    assert check_report((site.first.results(exam.study_uid)[-1] / "sr.dcm").read_bytes(), result) == []
    study = site.first.study(exam.study_uid)
    assert study is not None
    assert sum(study["spools"].values()) == len(exam.paths)
    assert study["spools"].keys() == {"main", "b"}

    halved, mine, others = in_halves(tmp_path, 8)
    whole = write_exam(tmp_path / "whole", PhantomSpec(seed=9, preset="small"))
    storescu(site.second.port, *others)
    site.first.wait_for_instances(len(exam.paths) + len(others))
    site.end_second.close()
    storescu(site.first.port, *mine)
    storescu(site.first.port, whole.folder)
    # What lies at the host that is away waits; others go on.
    wait_for(lambda: any("does not answer" in line for line in site.told("retry")), "the halved exam to be tried")
    site.first.wait_for(whole.study_uid, "delivered")
    study = site.first.study(halved.study_uid)
    assert study is not None
    assert study["state"] in ("ready", "running")
