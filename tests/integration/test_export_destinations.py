"""Several destinations: one that is dead, one over TLS, one by STOW-RS, and a real Orthanc."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daemon.export.transports import TRANSPORTS
from daemon.indexing.indexer import index_once
from daemon.ledger import operator_requests
from daemon.ledger.deliveries import dead_letters, failing
from daemon.ledger.tables import revisions
from daemon.spool import Spool
from tests.support.archives import archive
from tests.support.certificates import make_certificates
from tests.support.delivering import data_set_bytes
from tests.support.listening import listening
from tests.support.orthanc import Orthanc, orthanc
from tests.support.postgres import free_port
from tests.support.waiting import wait_for

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


# The circuit breaker


def test_a_dead_destination_is_probed_with_one_result_and_holds_nobody_else(make_desk: Any) -> None:
    with archive() as there:
        at = make_desk(
            {"name": "dead", "port": free_port(), "breaker_failures": 2, "breaker_pause_s": 600},
            {"name": "a", "port": there.port},
        )
        revisions = [at.result(study=str(n)) for n in range(1, 8)]
        assert len([d for d in at.due() if d.endswith("-dead")]) == 2, "as many as at_once allows"
        for revision in revisions[:2]:
            at.deliver(f"{revision}-dead")
        assert not [d for d in at.due() if d.endswith("-dead")], "nobody is sent to a destination that does not answer"
        assert at.deliver(f"{revisions[2]}-dead") == ""
        assert at.row(f"{revisions[2]}-dead").attempts == 0, "nor may anybody go there"
        for revision in revisions:
            assert at.deliver(f"{revision}-a") == ""
        assert len(there.received) == 14
        with at.ledger.read() as connection:
            (breaker,) = failing(connection)
        assert (breaker["destination"], breaker["failures"]) == ("dead", 2)
        at.now = breaker["open_until"] + 1
        assert len([d for d in at.due() if d.endswith("-dead")]) == 1


def test_a_destination_that_is_back_gets_everything_at_once(make_desk: Any) -> None:
    port = free_port()
    at = make_desk({"name": "a", "port": port, "breaker_failures": 1, "breaker_pause_s": 60, "at_once": 3})
    revisions = [at.result(study=str(n)) for n in range(1, 6)]
    for _ in range(4):
        at.deliver(f"{revisions[0]}-a")
        at.now += 4000
    with archive(port=port) as there:
        assert len(at.due()) == 1
        at.announced.clear()
        assert at.deliver(at.due()[0]) == ""
        assert len(at.announced) == 3, "a worker that is done announces what there is room for"
        for revision in revisions:
            at.deliver(f"{revision}-a")
        assert len(there.received) == 10
    with at.ledger.read() as connection:
        assert failing(connection) == []


def test_an_answer_that_refuses_an_object_does_not_open_the_breaker(make_desk: Any) -> None:
    with archive(answer=lambda uid: 0xC001) as there:
        at = make_desk({"name": "a", "port": there.port, "breaker_failures": 1})
        at.deliver(f"{at.result()}-a")
    with at.ledger.read() as connection:
        assert failing(connection) == []


def test_a_result_that_cannot_be_fetched_does_not_open_the_breaker_of_its_archive(make_desk: Any) -> None:
    with archive() as there:
        at = make_desk({"name": "a", "port": there.port, "breaker_failures": 1})
        revision = at.result()
        with at.ledger.write() as connection:
            connection.execute(revisions.update().values(spool="north"))
        assert at.deliver(f"{revision}-a") == "spool-out-of-reach"
        with at.ledger.write() as connection:
            assert failing(connection) == []
            connection.execute(revisions.update().values(spool="main"))
        at.wait_until_due(f"{revision}-a")
        assert at.deliver(f"{revision}-a") == ""


def test_an_archive_out_of_resources_is_left_alone_for_a_while(make_desk: Any) -> None:
    with archive(answer=lambda uid: 0xA700) as there:
        at = make_desk({"name": "a", "port": there.port, "breaker_failures": 1})
        revision = at.result()
        assert at.deliver(f"{revision}-a") == "destination-congested"
    assert at.row(f"{revision}-a").state == "pending"
    with at.ledger.read() as connection:
        assert "out of resources" in failing(connection)[0]["reason"]


def test_after_so_many_attempts_a_delivery_is_set_aside_until_an_operator_sends_it_again(make_desk: Any) -> None:
    port = free_port()
    at = make_desk({"name": "a", "port": port, "give_up_attempts": 2})
    revision = at.result()
    for _ in range(2):
        at.wait_until_due(f"{revision}-a")
        at.deliver(f"{revision}-a")
    assert at.due() == []
    with at.ledger.write() as connection:
        (letter,) = dead_letters(connection)
        assert (letter["study"], letter["attempts"]) == ("s1", 2)
        assert operator_requests.deliver_dead_letters(connection, at.now, "other") == []
        assert operator_requests.deliver_dead_letters(connection, at.now, None) == [f"{revision}-a"]
    with archive(port=port):
        assert at.deliver(f"{revision}-a") == ""
    assert at.state_of() == "delivered"


# Read-back


def test_an_archive_that_does_not_list_what_it_took_is_sent_it_again_in_the_end(make_desk: Any) -> None:
    with archive(keeps=lambda uid: False) as there:
        at = make_desk({"name": "a", "port": there.port, "proof": "readback"})
        revision = at.result()
        for _ in range(4):
            at.wait_until_due(f"{revision}-a")
            assert at.deliver(f"{revision}-a") == "not-read-back"
        assert len(there.received) == 2, "looked for, not sent again"
        assert at.row(f"{revision}-a").state == "pending"
        there.keeps = lambda uid: True
        at.wait_until_due(f"{revision}-a")
        assert at.deliver(f"{revision}-a") == ""
        assert len(there.received) == 4
    assert at.row(f"{revision}-a").proof == "read back"


# TLS


def pacs(port: int, **more: Any) -> dict[str, Any]:
    return {"name": "main", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": port, **more}


def test_a_pacs_over_tls_sees_our_certificate_and_we_check_its_own(make_desk: Any, tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.server, made.server_key)
    server.load_verify_locations(made.authority)
    server.verify_mode = ssl.CERT_REQUIRED
    with archive(tls=server) as there:
        at = make_desk(
            {"name": "a", "pacs": "main"},
            pacs=[pacs(there.port, tls=True, tls_ca=made.authority)],
            listen={"tls_certificate": made.client, "tls_key": made.client_key},
        )
        revision = at.result()
        assert at.deliver(f"{revision}-a") == ""
        assert len(there.received) == 2


def test_a_pacs_whose_certificate_is_a_strangers_gets_nothing(make_desk: Any, tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.stranger, made.stranger_key)
    with archive(tls=server) as there:
        at = make_desk({"name": "a", "pacs": "main"}, pacs=[pacs(there.port, tls=True, tls_ca=made.authority)])
        revision = at.result()
        assert at.deliver(f"{revision}-a") == "peer-unreachable"
        assert "over TLS" in at.row(f"{revision}-a").reason
        assert there.received == []


# Orthanc


@pytest.fixture(scope="module")
def real() -> Iterator[tuple[Orthanc, int]]:
    """An Orthanc, and the port at which it thinks that we listen."""
    port = free_port()
    with orthanc(our_port=port) as there:
        yield there, port


def orthanc_pacs(there: Orthanc) -> list[dict[str, Any]]:
    return [pacs(there.dicom_port, ae_title=there.ae_title, dicomweb_url=there.dicomweb_url)]


@pytest.mark.peer("orthanc")
@pytest.mark.parametrize("via", ["cstore", "stow"])
def test_orthanc_keeps_the_bytes_and_lists_them(make_desk: Any, real: tuple[Orthanc, int], via: str) -> None:
    there, _ = real
    at = make_desk({"name": "a", "pacs": "main", "via": via, "proof": "readback"}, pacs=orthanc_pacs(there))
    revision = at.result(study=f"10{len(via)}")
    assert at.deliver(f"{revision}-a") == ""
    assert at.row(f"{revision}-a").proof == "read back"
    for kind, told in at.objects(f"{revision}-a").items():
        kept = at.context.results / "kept.dcm"
        kept.write_bytes(there.file(told.sop_instance_uid))
        assert data_set_bytes(kept) == data_set_bytes(at.file(revision, kind))
        assert told.status == 0


@pytest.mark.peer("orthanc")
def test_every_kind_of_object_of_a_corrected_result_arrives_with_its_rejection_note(
    make_desk: Any, real: tuple[Orthanc, int]
) -> None:
    from config.schema import Report, Settings
    from dicom_sr import render
    from tests.support.reports import case

    there, _ = real
    what = ("sr", "page", "pdf", "key_slices")
    example = case("revision_2")
    rendering = Settings(report=Report(what=what, reject_superseded=True))
    objects = render(example.result, example.source, example.panels, rendering).objects
    assert set(objects) == {*what, "rejection"}
    at = make_desk(
        {"name": "a", "pacs": "main", "what": list(what), "proof": "readback", "reject_superseded": True},
        pacs=orthanc_pacs(there),
    )
    revision = at.result(objects=objects)
    assert at.deliver(f"{revision}-a") == ""
    told = at.objects(f"{revision}-a")
    assert set(told) == set(objects)
    for kind, data in objects.items():
        kept = at.context.results / "kept.dcm"
        kept.write_bytes(there.file(told[kind].sop_instance_uid))
        assert data_set_bytes(kept) == data_set_bytes(at.file(revision, kind)), kind
        assert at.file(revision, kind).read_bytes() == data


@pytest.mark.peer("orthanc")
def test_orthanc_commits_to_what_it_has_and_what_it_lost_is_sent_again(
    make_desk: Any, real: tuple[Orthanc, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, port = real
    at = make_desk({"name": "a", "pacs": "main", "proof": "commit"}, pacs=orthanc_pacs(there))
    revision = at.result(study="200")
    lost = "1.2.200.1.2"
    by_c_store = TRANSPORTS["cstore"]

    def send_and_lose(*arguments: Any) -> Any:
        sent = by_c_store.send(*arguments)
        there.delete(lost)
        return sent

    with listening(tmp_path / "listener", listen={"port": port}) as ours:

        def state_after_report(state: str) -> bool:
            index_once(at.ledger, Spool(ours.root), at.now)
            return bool(at.row(f"{revision}-a").state == state)

        monkeypatch.setitem(TRANSPORTS, "cstore", replace(by_c_store, send=send_and_lose))
        assert at.deliver(f"{revision}-a") == ""
        wait_for(lambda: state_after_report("pending"), "Orthanc to say that it does not have everything")
        assert "did not commit to page" in at.row(f"{revision}-a").reason
        monkeypatch.setitem(TRANSPORTS, "cstore", by_c_store)
        at.wait_until_due(f"{revision}-a")
        assert at.deliver(f"{revision}-a") == ""
        wait_for(lambda: state_after_report("delivered"), "Orthanc to commit")
    assert there.instances().count(lost) == 1
    assert at.row(f"{revision}-a").proof == "storage commitment"


@pytest.mark.peer("orthanc")
def test_orthanc_being_down_is_survived_by_stow_too(make_desk: Any) -> None:
    with orthanc() as there:
        at = make_desk({"name": "a", "pacs": "main", "via": "stow", "proof": "readback"}, pacs=orthanc_pacs(there))
        revision = at.result()
        there.stop()
        assert at.deliver(f"{revision}-a") == "peer-unreachable"
        there.start()
        at.wait_until_due(f"{revision}-a")
        assert at.deliver(f"{revision}-a") == ""
        assert len(there.instances()) == 2
        assert at.state_of() == "delivered"
