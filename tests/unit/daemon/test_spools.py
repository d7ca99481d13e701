"""Several spools, one ledger: each knows its own files, and a data set may lie in two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from config.schema import Retention, Settings
from daemon.health.spool_checks import SILENT_S, spools
from daemon.indexing.indexer import index_once
from daemon.indexing.pixel_comparison import compare_once
from daemon.indexing.reconcile import reconcile, verify_after_boot
from daemon.ledger import Ledger, heartbeats, open_ledger, views
from daemon.ledger import spools as ledger_spools
from daemon.ledger.spools import home_in, known_spools, own_spool, put
from daemon.ledger.tables import comparisons, copies, instances, journal_positions, revisions, studies
from daemon.ledger.tables import spools as known_folders
from daemon.main import cli
from daemon.retention import clean
from daemon.share.server import sharing
from daemon.share.spool_files import SpoolOutOfReach, files_of
from daemon.spool import Description, JournalWriter, Spool, Stored
from daemon.spool.identity import NAME, SpoolRefused, identity_of, name_of
from pipeline.errors import PeerUnreachable
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE, encoded, mr_image

NOW = 1_800_000_000.0
DAY = 86400.0
TOKEN = "a-token-that-is-long-enough"


@dataclass
class Host:
    """An intake host: its settings and its spool, as the ledger that all have in common knows it."""

    settings: Settings
    ledger: Ledger

    @property
    def spool(self) -> Spool:
        return own_spool(self.settings, self.ledger, NOW)

    def receive(self, uid: str, pixels: bytes = b"\1\2" * 16, *, journaled: bool = True) -> Stored:
        data = encoded(mr_image(uid, pixels=pixels))
        journal = JournalWriter(self.spool.journal, "SCU", "10.0.0.1") if journaled else None
        stored = self.spool.put(Description(MR_IMAGE, uid, EXPLICIT_LE, "SCU"), data, journal)
        if journal is not None:
            journal.close("released")
        return stored

    def index(self) -> None:
        index_once(self.ledger, self.spool, NOW, self.settings)

    def reconcile(self) -> tuple[int, int]:
        return reconcile(self.ledger, self.spool, NOW)

    def clean(self, now: float) -> int:
        settings = self.settings.model_copy(update={"retention": Retention(keep_days=1, at_least_days=1)})
        return clean(self.ledger, settings, now).files

    def has(self, stored: Stored) -> bool:
        return (self.settings.spool.path / stored.path).exists()


@dataclass
class Site:
    a: Host
    b: Host
    ledger: Ledger

    def rows(self) -> list[Any]:
        with self.ledger.read() as connection:
            return list(connection.execute(sa.select(instances).order_by(instances.c.id)).all())

    def of(self, column: str) -> list[str]:
        return [getattr(row, column) for row in self.rows()]

    def copies(self) -> list[tuple[int, str]]:
        with self.ledger.read() as connection:
            return [(row.instance_id, row.spool) for row in connection.execute(sa.select(copies)).all()]


def settings_of(folder: Path, spool_id: str, **spool: object) -> Settings:
    return Settings.model_validate(
        {
            "spool": {"path": folder / spool_id / "spool", "id": spool_id, **spool},
            "ledger": {"url": f"sqlite:///{folder / 'ledger.sqlite'}"},
        }
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    a, b = settings_of(tmp_path, "main"), settings_of(tmp_path, "b")
    ledger = open_ledger(a)
    made = Site(Host(a, ledger), Host(b, ledger), ledger)
    assert made.a.spool.id == "main"
    assert made.b.spool.id == "b"
    yield made
    ledger.close()


# Which folder is which spool


def test_a_folder_gets_a_name_of_its_own_once(tmp_path: Path) -> None:
    first = name_of(tmp_path, "b")
    assert name_of(tmp_path, "b") == first
    assert identity_of(tmp_path) == ("b", first)
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_a_spool_does_not_change_its_id(tmp_path: Path) -> None:
    name_of(tmp_path, "b")
    with pytest.raises(SpoolRefused, match="an id stays with its folder"):
        name_of(tmp_path, "c")


def test_a_damaged_name_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("?")
    with pytest.raises(SpoolRefused, match="is damaged"):
        name_of(tmp_path, "b")


def test_two_hosts_cannot_bring_two_folders_under_one_id(site: Site, tmp_path: Path) -> None:
    other = settings_of(tmp_path / "elsewhere", "b").model_copy(update={"ledger": site.b.settings.ledger})
    with pytest.raises(SpoolRefused, match="was never used as a spool"):
        own_spool(other, site.ledger, NOW)
    name_of(other.spool.path, "b")
    with pytest.raises(SpoolRefused, match="is another one"):
        own_spool(other, site.ledger, NOW)
    with site.ledger.read() as connection:
        (finding,) = [f for f in spools(connection, other, NOW) if f.subject == "b" and "folder" in f.text]
    assert finding.level == "fail"
    put(site.ledger, Spool(other.spool.path, "b"), NOW)
    assert own_spool(other, site.ledger, NOW).root == other.spool.path
    with pytest.raises(SpoolRefused):
        _ = site.b.spool


def test_a_spool_whose_ledger_lies_beside_it_may_be_emptied(tmp_path: Path) -> None:
    settings = Settings.model_validate({"spool": {"path": tmp_path / "spool"}})
    ledger = open_ledger(settings)
    (own_spool(settings, ledger, NOW).root / NAME).unlink()
    assert own_spool(settings, ledger, NOW).id == "main"


def test_files_of_the_only_spool_so_far_do_not_come_under_another_id(tmp_path: Path) -> None:
    ledger = open_ledger(settings_of(tmp_path, "main"))
    host = Host(settings_of(tmp_path, "main"), ledger)
    host.receive("1.2.3.1")
    host.index()
    with ledger.write() as connection:
        # As after an upgrade: no spool has introduced itself.
        connection.execute(known_folders.delete())
    with pytest.raises(SpoolRefused, match="which was the only one so far"):
        own_spool(settings_of(tmp_path, "b"), ledger, NOW)
    assert host.spool.id == "main"
    assert own_spool(settings_of(tmp_path, "b"), ledger, NOW).id == "b"


# Each its own


def test_each_indexer_holds_the_ledger_against_its_own_files_alone(site: Site) -> None:
    site.a.receive("1.2.3.1")
    second = site.b.receive("1.2.3.2")
    site.b.receive("1.2.3.3", journaled=False)
    site.a.index()
    site.b.index()
    assert site.a.reconcile() == (0, 0)
    assert site.b.reconcile() == (1, 0)
    assert site.of("spool") == ["main", "b", "b"]
    site.b.spool.remove(second.path)
    assert site.a.reconcile() == (0, 0)
    assert site.b.reconcile() == (0, 1)
    assert site.of("state") == ["stored", "lost", "stored"]


def test_an_indexer_leaves_the_positions_of_journals_of_other_spools(site: Site) -> None:
    journal = JournalWriter(site.b.spool.journal, "SCU", "10.0.0.1")
    data = encoded(mr_image("1.2.3.1"))
    site.b.spool.put(Description(MR_IMAGE, "1.2.3.1", EXPLICIT_LE, "SCU"), data, journal)
    site.b.index()
    site.a.index()
    with site.ledger.read() as connection:
        assert [row.spool for row in connection.execute(sa.select(journal_positions))] == ["b"]
    journal.close("released")
    site.b.index()
    with site.ledger.read() as connection:
        assert connection.execute(sa.select(journal_positions)).all() == []


def test_a_power_cut_at_one_host_is_no_matter_of_the_other(site: Site) -> None:
    first, second = site.a.receive("1.2.3.1"), site.b.receive("1.2.3.2")
    site.a.index()
    site.b.index()
    for host in (site.a, site.b):
        verify_after_boot(site.ledger, host.spool, NOW, "first boot")
    for host, stored in ((site.a, first), (site.b, second)):
        file = host.spool.root / stored.path
        file.write_bytes(file.read_bytes()[:-1])
    assert verify_after_boot(site.ledger, site.b.spool, NOW, "second boot") == 1
    assert site.of("state") == ["stored", "lost"]
    assert site.a.has(first)


def test_an_exam_of_two_spools_is_one_exam(site: Site) -> None:
    site.a.receive("1.2.3.1")
    site.b.receive("1.2.3.2")
    site.a.index()
    site.b.index()
    (study_uid,) = set(site.of("exam_uid"))
    with site.ledger.read() as connection:
        assert views.spools_of(connection, study_uid) == {"b": 1, "main": 1}
        assert len(connection.execute(sa.select(studies)).all()) == 1


# The same data set in two spools


def test_what_a_sender_repeats_at_another_host_is_one_instance_with_a_copy(site: Site) -> None:
    site.a.receive("1.2.3.1")
    site.b.receive("1.2.3.1")
    for host in (site.a, site.b, site.b):
        host.index()
    assert site.of("spool") == ["main"]
    assert site.copies() == [(1, "b")]
    assert site.b.reconcile() == (0, 0)


def test_a_copy_that_no_journal_names_is_taken_for_one(site: Site) -> None:
    site.a.receive("1.2.3.1")
    site.a.index()
    site.b.receive("1.2.3.1", journaled=False)
    site.b.reconcile()
    assert site.copies() == [(1, "b")]


def test_a_copy_takes_the_place_of_a_file_that_is_gone(site: Site) -> None:
    stored = site.a.receive("1.2.3.1")
    site.b.receive("1.2.3.1")
    site.a.index()
    site.b.index()
    site.a.spool.remove(stored.path)
    site.a.reconcile()
    assert (site.of("state"), site.of("spool"), site.copies()) == (["stored"], ["b"], [])
    # It comes once more, to the first host.
    site.a.receive("1.2.3.1")
    site.a.index()
    assert site.copies() == [(1, "main")]


def test_a_copy_that_vanishes_is_forgotten(site: Site) -> None:
    site.a.receive("1.2.3.1")
    stored = site.b.receive("1.2.3.1")
    site.a.index()
    site.b.index()
    site.b.spool.remove(stored.path)
    assert site.b.reconcile() == (0, 0)
    assert (site.of("state"), site.copies()) == (["stored"], [])


def test_another_data_set_under_a_uid_is_compared_wherever_it_came(site: Site, tmp_path: Path) -> None:
    site.a.receive("1.2.3.1")
    site.b.receive("1.2.3.1", pixels=b"\3\4" * 16)
    site.a.index()
    site.b.index()
    assert site.of("spool") == ["main", "b"]
    assert compare_once(site.ledger, Spool(tmp_path / "third", "third"), NOW) == 0
    # Without the other host the comparison waits.
    assert compare_once(site.ledger, site.a.spool, NOW, files_of(site.a.settings)) == 0
    with sharing(_shared(site.b)) as server:
        assert server is not None
        reading = _reading(site.a, {"b": f"http://127.0.0.1:{server.server_port}"})
        assert compare_once(site.ledger, site.a.spool, NOW, files_of(reading)) == 1
    with site.ledger.read() as connection:
        assert connection.execute(sa.select(comparisons)).all() == []


# Retention


def settle(site: Site) -> None:
    with site.ledger.write() as connection:
        connection.execute(studies.update().values(state="delivered", dirty=False))


def test_an_exam_goes_whole_and_each_spool_removes_its_own_files(site: Site) -> None:
    first, second = site.a.receive("1.2.3.1"), site.b.receive("1.2.3.2")
    site.a.index()
    site.b.index()
    settle(site)
    assert site.a.clean(NOW + 2 * DAY) == 1
    assert (site.a.has(first), site.b.has(second)) == (False, True)
    assert site.of("state") == ["purged", "purging"]
    assert site.b.clean(NOW + 2 * DAY) == 1
    assert (site.b.has(second), site.of("state")) == (False, ["purged", "purged"])


def test_copies_go_with_their_exam_and_bring_nothing_back(site: Site) -> None:
    site.a.receive("1.2.3.1")
    stored = site.b.receive("1.2.3.1")
    site.a.index()
    site.b.index()
    settle(site)
    site.a.clean(NOW + 2 * DAY)
    assert site.b.reconcile() == (0, 0)
    assert (site.of("state"), site.b.has(stored)) == (["purged"], True)
    site.b.clean(NOW + 2 * DAY)
    assert (site.copies(), site.b.has(stored)) == ([], False)


def test_a_purged_instance_that_comes_again_elsewhere_lies_there(site: Site) -> None:
    site.a.receive("1.2.3.1")
    site.a.index()
    settle(site)
    site.a.clean(NOW + 2 * DAY)
    site.b.receive("1.2.3.1")
    site.b.index()
    assert (site.of("state"), site.of("spool")) == (["stored"], ["b"])


# Reading


def _shared(host: Host) -> Any:
    return host.settings.spool.model_copy(update={"share_port": 0, "share_token": TOKEN})


def _reading(host: Host, others: dict[str, str], **more: object) -> Settings:
    spool = host.settings.spool.model_copy(update={"others": others, "share_token": TOKEN, **more})
    return host.settings.model_copy(update={"spool": spool})


def test_a_worker_reads_each_file_from_the_spool_that_has_it(site: Site) -> None:
    site.a.receive("1.2.3.1")
    stored = site.b.receive("1.2.3.2")
    site.a.index()
    site.b.index()
    first, second = site.rows()
    with sharing(_shared(site.b)) as server:
        assert server is not None
        files = files_of(_reading(site.a, {"b": f"http://127.0.0.1:{server.server_port}"}))
        assert files.bring([first, second]) == []
        assert files.place(first) == site.a.spool.root / first.path
        copy = files.place(second)
    assert copy is not None
    assert copy.read_bytes() == (site.b.spool.root / stored.path).read_bytes()


def test_a_machine_says_which_spool_it_does_not_read(site: Site) -> None:
    site.b.receive("1.2.3.2")
    site.b.index()
    (row,) = site.rows()
    with pytest.raises(SpoolOutOfReach, match="images lie in the spool b"):
        files_of(site.a.settings).bring([row])


def test_a_copy_is_read_while_the_spool_of_an_instance_is_away(site: Site) -> None:
    site.b.receive("1.2.3.1")
    site.b.index()
    site.a.receive("1.2.3.1")
    site.a.index()
    (row,) = site.rows()
    assert row.spool == "b"
    assert files_of(site.a.settings).bring([row]) == []
    assert files_of(site.a.settings).place(row) == site.a.spool.root / row.path


def test_a_spool_that_does_not_answer_is_no_missing_file(site: Site) -> None:
    site.b.receive("1.2.3.1")
    site.b.index()
    (row,) = site.rows()
    files = files_of(_reading(site.a, {"b": "http://127.0.0.1:9"}), patient=False)
    with pytest.raises(PeerUnreachable, match="does not answer"):
        files.bring([row])


def test_results_are_read_where_they_were_written(site: Site) -> None:
    site.b.receive("1.2.3.1")
    site.b.index()
    with site.ledger.write() as connection:
        study = connection.execute(sa.select(studies.c.id)).scalar_one()
        made = {"study_id": study, "number": 1, "input_digest": "", "inputs": {}, "state": "running"}
        made |= {"stage": "analyse", "created_at": NOW, "next_attempt_at": NOW}
        connection.execute(revisions.insert().values(id="of-b", spool="b", **made))
    assert files_of(site.b.settings, home_in(site.ledger)).get("of-b", "result.json") is None
    files_of(site.b.settings, home_in(site.ledger)).put("of-b", "result.json", b"{}")
    with pytest.raises(SpoolOutOfReach, match="results lie in the spool b"):
        files_of(site.a.settings, home_in(site.ledger)).get("of-b", "result.json")
    with sharing(_shared(site.b)) as server:
        assert server is not None
        reading = _reading(site.a, {"b": f"http://127.0.0.1:{server.server_port}"})
        path = files_of(reading, home_in(site.ledger)).get("of-b", "result.json")
    assert path is not None
    assert path.read_bytes() == b"{}"


# Operators


def test_the_checks_name_the_spool_whose_host_is_gone(site: Site) -> None:
    with site.ledger.write() as connection:
        heartbeats.sign(connection, "spool:main", "spool", NOW)
        heartbeats.sign(connection, "spool:b", "spool", NOW - SILENT_S - 1)
    with site.ledger.read() as connection:
        levels = {f.subject: f.level for f in spools(connection, site.a.settings, NOW)}
    assert levels == {"main": "ok", "b": "fail"}


def test_one_spool_has_no_check_of_its_own(tmp_path: Path) -> None:
    settings = Settings.model_validate({"spool": {"path": tmp_path / "spool"}})
    ledger = open_ledger(settings)
    own_spool(settings, ledger, NOW)
    with ledger.read() as connection:
        assert list(spools(connection, settings, NOW + DAY)) == []


def given_up(folder: Path) -> Result:
    config = folder / "config.toml"
    config.write_text(f'[spool]\npath = "{folder}/main/spool"\n[ledger]\nurl = "sqlite:///{folder}/ledger.sqlite"\n')
    return CliRunner().invoke(cli, ["spools", "--give-up", "b", "--config", str(config)])


def killed(*args: object) -> None:
    raise RuntimeError


def test_a_spool_that_is_gone_for_good_is_given_up_by_a_command_that_may_be_repeated(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.a.receive("1.2.3.1")
    site.b.receive("1.2.3.2")
    site.b.receive("1.2.3.3")
    site.a.receive("1.2.3.3")
    for host in (site.b, site.a):
        host.index()
    monkeypatch.setattr(ledger_spools, "give_up", killed)
    assert isinstance(given_up(tmp_path).exception, RuntimeError)
    monkeypatch.undo()
    again = given_up(tmp_path)
    assert again.exit_code == 0, again.output
    by_uid = {row.sop_uid: (row.state, row.spool) for row in site.rows()}
    assert by_uid["1.2.3.1"] == ("stored", "main")
    assert by_uid["1.2.3.2"][0] == "lost"
    assert by_uid["1.2.3.3"] == ("stored", "main")
    with site.ledger.read() as connection:
        assert [spool.id for spool in known_spools(connection)] == ["main"]
