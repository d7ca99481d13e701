"""The audit trail: PS3.15's events and codes, one line each, to a file and to syslog, and nobody's name."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from config.schema import Settings
from daemon import audit
from daemon.audit_trail.verification import verify
from daemon.indexing.indexer import index_once
from daemon.ledger import Ledger, open_ledger
from daemon.ledger.tables import studies
from daemon.listener import own_probe
from daemon.network.health_title import HEALTH_AE_TITLE
from daemon.processes.settings_change import tell_of_changed_settings
from daemon.spool import JournalWriter, Spool
from daemon.spool.incoming import Description
from tests.support.certificates import make_certificates
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE, encoded, mr_image

STUDY = audit.Study("1.2.4", {MR_IMAGE: 3}, "0123456789abcdef", "r1", "a1")
WHO = ("SCANNER", "10.1.1.7")


def settings(tmp_path: Path, **more: Any) -> Settings:
    return Settings.model_validate({"spool": {"path": tmp_path / "spool"}, "audit": more})


def lines(tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "audit.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def record_all(given: Settings) -> None:
    audit.received(given, STUDY, *WHO, new=True)
    audit.refused_instances(given, "a1", *WHO, {"too-large": 2})
    audit.refused_association(given, *WHO, "unknown-peer")
    audit.used(given, STUDY)
    audit.created(given, STUDY)
    audit.sent(given, STUDY, "PACS", "pacs.example", "")
    audit.sent(given, STUDY, "PACS", "pacs.example", "peer-unreachable")
    audit.activity(given, started=True)


def test_every_code_is_one_of_dicoms_with_its_meaning() -> None:
    pairs = [value for name, value in vars(audit).items() if name.isupper() and isinstance(value, tuple)]
    entries = (getattr(codes.DCM, keyword) for keyword in dir(codes.DCM))
    known = {entry.value: entry.meaning for entry in entries if isinstance(entry, Code)}
    assert len(pairs) >= 10
    assert {value: known.get(value) for value, _ in pairs} == dict(pairs)


def test_each_event_is_one_line_with_the_parts_the_schema_wants(tmp_path: Path) -> None:
    record_all(settings(tmp_path))
    found = lines(tmp_path)
    assert len(found) == 8
    for line in found:
        what = line["EventIdentification"]
        assert {"EventID", "EventActionCode", "EventDateTime", "EventOutcomeIndicator"} <= set(what)
        assert what["EventID"]["codeSystemName"] == "DCM"
        assert line["AuditSourceIdentification"]["AuditSourceID"].startswith("AXRAD@")
        assert all({"UserID", "UserIsRequestor"} <= set(p) for p in line["ActiveParticipant"])


def test_who_sent_and_who_received_is_said(tmp_path: Path) -> None:
    audit.received(settings(tmp_path), STUDY, *WHO, new=True)
    (line,) = lines(tmp_path)
    roles = {p["RoleIDCode"]["csd-code"]: p for p in line["ActiveParticipant"]}
    source, destination = roles[audit.SOURCE[0]], roles[audit.DESTINATION[0]]
    assert (source["AlternativeUserID"], source["NetworkAccessPointID"]) == ("AETITLES=SCANNER", "10.1.1.7")
    assert source["UserIsRequestor"]
    assert destination["AlternativeUserID"] == "AETITLES=AXRAD"
    (what,) = line["ParticipantObjectIdentification"]
    assert what["ParticipantObjectID"] == "1.2.4"
    assert what["ParticipantObjectDescription"]["SOPClass"] == [{"UID": MR_IMAGE, "NumberOfInstances": 3}]
    assert line["axrad"] == {"study": STUDY.study, "revision": "r1", "association": "a1"}


def test_what_was_not_sent_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    audit.sent(settings(tmp_path), STUDY, "PACS", "10.1.1.9", "peer-unreachable")
    (line,) = lines(tmp_path)
    assert line["EventIdentification"]["EventOutcomeIndicator"] == audit.SERIOUS
    assert line["EventIdentification"]["EventOutcomeDescription"] == "peer-unreachable"


def test_nothing_is_written_where_the_trail_is_off(tmp_path: Path) -> None:
    record_all(settings(tmp_path, enabled=False))
    assert lines(tmp_path) == []


def test_a_file_that_is_rotated_away_is_begun_anew(tmp_path: Path) -> None:
    given = settings(tmp_path)
    audit.used(given, STUDY)
    (tmp_path / "audit.jsonl").rename(tmp_path / "audit.jsonl.1")
    audit.used(given, STUDY)
    assert len(lines(tmp_path)) == 1


def test_writers_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    given = settings(tmp_path)
    threads = [threading.Thread(target=lambda: [audit.used(given, STUDY) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(tmp_path)) == 200


def test_a_trail_that_cannot_be_written_stops_no_work(tmp_path: Path) -> None:
    audit.used(settings(tmp_path, path=tmp_path), STUDY)  # a folder is no file


@pytest.mark.parametrize("kind", ["unix", "udp", "tcp"])
def test_syslog_gets_rfc_5424_with_the_line_as_its_text(tmp_path: Path, kind: str) -> None:
    stream = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    server = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET, stream)
    with server:
        where = str(tmp_path / "log")
        server.bind(where if kind == "unix" else ("127.0.0.1", 0))
        if kind != "unix":
            where = f"{kind}://127.0.0.1:{server.getsockname()[1]}"
        if kind == "tcp":
            server.listen(1)
        audit.sent(settings(tmp_path, syslog=where), STUDY, "PACS", "10.1.1.9", "peer-unreachable")
        message = _tcp(server) if kind == "tcp" else server.recv(65536)
    head, _, text = message.partition(b"\xef\xbb\xbf")
    assert head.startswith(b"<84>1 2")
    assert head.endswith(f" axrad {os.getpid()} AUDIT - ".encode())
    assert json.loads(text) == lines(tmp_path)[0]


def _tcp(server: socket.socket) -> bytes:
    connection, _ = server.accept()
    with connection:
        data = b"".join(iter(lambda: connection.recv(65536), b""))
    length, _, message = data.partition(b" ")
    assert int(length) == len(message)
    return message


@pytest.mark.parametrize("wrong", ["log", "http://host:1", "udp://host"])
def test_a_syslog_address_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="syslog"):
        Settings.model_validate({"audit": {"syslog": wrong}})


# From journal to trail


@pytest.fixture
def local(tmp_path: Path) -> Ledger:
    return open_ledger(settings(tmp_path))


def arrive(tmp_path: Path, calling_ae: str = "SCANNER", refused: int = 0) -> str:
    """One association that brought two images of a named patient."""
    spool = Spool(tmp_path / "spool")
    journal = JournalWriter(spool.journal, calling_ae, "10.1.1.7")
    for uid in ("1.2.3.1", "1.2.3.2"):
        spool.put(Description(MR_IMAGE, uid, EXPLICIT_LE, calling_ae), encoded(mr_image(uid)), journal)
    for _ in range(refused):
        journal.append("refused", status=0xA702, reason="too-large")
    journal.close("released")
    return journal.association


def test_an_association_is_in_the_trail_once_the_ledger_has_all_of_it(tmp_path: Path, local: Ledger) -> None:
    association = arrive(tmp_path, refused=3)
    for _ in range(3):
        index_once(local, Spool(tmp_path / "spool"), 0.0, settings(tmp_path))
    received, refused = lines(tmp_path)
    with local.read() as connection:
        study = connection.execute(studies.select()).one()
    assert received["axrad"] == {"study": study.id, "association": association}
    assert received["ParticipantObjectIdentification"][0]["ParticipantObjectID"] == "1.2.4"
    assert received["EventIdentification"]["EventActionCode"] == "C"
    assert refused["axrad"]["refused"] == {"too-large": 3}
    local.close()


def test_what_was_here_already_is_received_as_such(tmp_path: Path, local: Ledger) -> None:
    for _ in range(2):
        arrive(tmp_path)
        index_once(local, Spool(tmp_path / "spool"), 0.0, settings(tmp_path))
    assert [line["EventIdentification"]["EventActionCode"] for line in lines(tmp_path)] == ["C", "R"]
    local.close()


def test_the_trail_names_no_patient(tmp_path: Path, local: Ledger) -> None:
    arrive(tmp_path, refused=1)
    index_once(local, Spool(tmp_path / "spool"), 0.0, settings(tmp_path))
    text = (tmp_path / "audit.jsonl").read_text()
    assert "Secret" not in text
    assert "SECRET" not in text
    local.close()


def test_the_patient_is_a_participant_where_the_site_asks_for_it(tmp_path: Path, local: Ledger) -> None:
    arrive(tmp_path)
    chosen = settings(tmp_path)
    chosen = chosen.model_copy(update={"audit": chosen.audit.model_copy(update={"patients": True})})
    index_once(local, Spool(tmp_path / "spool"), 0.0, chosen)
    study, patient = lines(tmp_path)[0]["ParticipantObjectIdentification"]
    assert (study["ParticipantObjectTypeCode"], study["ParticipantObjectTypeCodeRole"]) == (2, 3)
    assert (patient["ParticipantObjectTypeCode"], patient["ParticipantObjectTypeCodeRole"]) == (1, 1)
    assert patient["ParticipantObjectID"] == "SECRET-ID"
    assert patient["ParticipantObjectIDTypeCode"]["originalText"] == "Patient Number"
    local.close()


def test_our_own_probing_is_not_in_the_trail_and_what_has_only_its_title_is(tmp_path: Path, local: Ledger) -> None:
    spool = Spool(tmp_path / "spool")
    report = own_probe.data_set(own_probe.new_uid(own_probe.key_of(spool.root)))
    description = Description(own_probe.BASIC_TEXT_SR, str(report.SOPInstanceUID), EXPLICIT_LE, HEALTH_AE_TITLE)
    journal = JournalWriter(spool.journal, HEALTH_AE_TITLE, "127.0.0.1")
    spool.put(description, encoded(report), journal)
    journal.close("released")
    index_once(local, spool, 0.0, settings(tmp_path))
    assert lines(tmp_path) == []
    arrive(tmp_path, HEALTH_AE_TITLE)
    index_once(local, spool, 0.0, settings(tmp_path))
    assert len(lines(tmp_path)) == 1
    local.close()


# The chain, operators, TLS


def test_each_line_names_the_digest_of_the_one_before(tmp_path: Path) -> None:
    record_all(settings(tmp_path))
    raw = (tmp_path / "audit.jsonl").read_bytes().splitlines()
    chains = [json.loads(line)["chain"] for line in raw]
    assert [c["number"] for c in chains] == list(range(1, 9))
    assert [c["previous"] for c in chains[1:]] == [hashlib.sha256(line).hexdigest() for line in raw[:-1]]


def test_a_line_written_just_before_a_crash_is_continued(tmp_path: Path) -> None:
    given = settings(tmp_path)
    state = tmp_path / "audit.jsonl.chain"
    audit.used(given, STUDY)
    before = state.read_bytes()
    audit.used(given, STUDY)
    state.write_bytes(before)
    audit.used(given, STUDY)
    assert [line["chain"]["number"] for line in lines(tmp_path)] == [1, 2, 3]
    assert verify([tmp_path / "audit.jsonl"], []).faults == []


def test_a_name_that_is_no_utf_8_stops_no_line(tmp_path: Path) -> None:
    audit.operator_action(settings(tmp_path), "backup", detail=os.fsdecode(b"away-\xff.tar"))
    audit.used(settings(tmp_path), STUDY)
    assert lines(tmp_path)[0]["EventIdentification"]["EventOutcomeDescription"] == "away-\udcff.tar"
    assert verify([tmp_path / "audit.jsonl"], []).faults == []


def test_lines_of_an_older_version_are_before_the_chain(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").write_text('{"EventIdentification":{}}\n')
    audit.used(settings(tmp_path), STUDY)
    verdict = verify([tmp_path / "audit.jsonl"], [])
    assert (verdict.lines, verdict.unchained, verdict.faults) == (2, 1, [])


@pytest.mark.parametrize("action", [*audit.OPERATOR_EVENTS, "retry"])
def test_an_order_names_the_user_who_gave_it(tmp_path: Path, action: str) -> None:
    audit.operator_action(settings(tmp_path), action, STUDY)
    (line,) = lines(tmp_path)
    who = line["ActiveParticipant"][0]
    assert who["UserIsRequestor"]
    assert who["AlternativeUserID"] == pwd.getpwuid(os.getuid()).pw_name
    assert line["axrad"]["action"] == action


def test_changed_settings_are_told_by_section_and_without_values(tmp_path: Path) -> None:
    tell_of_changed_settings(settings(tmp_path))
    tell_of_changed_settings(settings(tmp_path))
    changed = Settings.model_validate(
        {"spool": {"path": tmp_path / "spool"}, "flower": {"password": "hunter2"}, "site": {"institution": "B"}}
    )
    tell_of_changed_settings(changed)
    (line,) = lines(tmp_path)
    assert line["EventIdentification"]["EventOutcomeDescription"] == "site, flower"
    assert "hunter2" not in (tmp_path / "audit.jsonl").read_text()
    assert "hunter2" not in (tmp_path / "audit.jsonl.settings").read_text()


@pytest.mark.parametrize("trusted", [True, False])
def test_syslog_over_tls_reaches_only_the_server_that_the_authority_signed(tmp_path: Path, trusted: bool) -> None:
    made = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chosen = (made.server, made.server_key) if trusted else (made.stranger, made.stranger_key)
    context.load_cert_chain(*chosen)
    context.load_verify_locations(made.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            raw, _ = server.accept()
            with raw, contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as tls:
                got.append(b"".join(iter(lambda: tls.recv(65536), b"")))

        thread = threading.Thread(target=serve)
        thread.start()
        more = {"syslog_ca": made.authority, "syslog_certificate": made.client, "syslog_key": made.client_key}
        where = f"tls://127.0.0.1:{server.getsockname()[1]}"
        failures = REGISTRY.get_sample_value("axrad_audit_failures_total") or 0.0
        audit.used(settings(tmp_path, syslog=where, **more), STUDY)
        thread.join()
    # The server ends the connection without a word of TLS, as rsyslog does: what it has read to its end was sent.
    assert REGISTRY.get_sample_value("axrad_audit_failures_total") == failures + (not trusted)
    if not trusted:
        assert b"".join(got) == b""
        return
    length, _, message = got[0].partition(b" ")
    assert int(length) == len(message)
    assert json.loads(message.partition(b"\xef\xbb\xbf")[2]) == lines(tmp_path)[0]
