"""The listener as senders see it: real sockets, real processes."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

from config.schema import Settings
from daemon.listener import commitment, contexts, serve, state
from daemon.listener.commitment import RoundOutcome
from daemon.listener.contexts import COMMITMENT, COMMITMENT_INSTANCE
from daemon.spool import Description, Spool
from daemon.spool.part10 import header
from pipeline.errors import InputRejected
from tests.support.certificates import Certificates, make_certificates
from tests.support.dimse import EXPLICIT_LE, IMPLICIT_LE, MR_IMAGE, encoded, mr_image
from tests.support.listening import VERIFICATION, Listening, forget_sockets, listening, send
from tests.support.postgres import free_port
from tests.support.waiting import wait_for

REJECTED_PERMANENT, REJECTED_TRANSIENT = 1, 2
LOCAL_LIMIT, CONGESTION, UNKNOWN_CALLER = (3, 2), (3, 1), (1, 3)


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    with listening(tmp_path_factory.mktemp("spool"), listen={"acceptors": 2}) as running:
        yield running


def rejection(association: Any) -> tuple[int, tuple[int, int]]:
    assert association.is_rejected
    primitive = association.acceptor.primitive
    return primitive.result, (primitive.result_source, primitive.diagnostic)


def test_an_echo_is_answered(listener: Listening) -> None:
    association = listener.associate()
    assert association.send_c_echo().Status == 0
    association.release()
    assert association.is_released


def test_images_between_echoes_are_stored_and_every_message_is_answered_in_turn(listener: Listening) -> None:
    association = listener.associate()
    for number in range(3):
        assert association.send_c_echo().Status == 0
        assert send(association, mr_image(f"1.5.{number}")) == 0
    association.release()
    assert {f"1.5.{n}" for n in range(3)} <= {e.sop_instance_uid for e in listener.entries("stored")}


@pytest.mark.peer("storescu")
@pytest.mark.parametrize("syntax", [EXPLICIT_LE, IMPLICIT_LE])
def test_what_storescu_sends_is_on_the_disk_byte_for_byte(listener: Listening, tmp_path: Path, syntax: str) -> None:
    uid = "1.6.1" if syntax == EXPLICIT_LE else "1.6.2"
    data_set = encoded(mr_image(uid, pixels=os.urandom(300_000)), syntax)
    source = tmp_path / "image.dcm"
    source.write_bytes(header(MR_IMAGE, uid, syntax, "X") + data_set)
    proposal = ["-xe"] if syntax == EXPLICIT_LE else ["-xi"]
    command = ["storescu", "-aet", "SENDER", "-aec", "ANYTHING", *proposal, "127.0.0.1", str(listener.port), source]
    subprocess.run([str(part) for part in command], check=True, env={**os.environ, "TCP_NODELAY": "1"})
    (path,) = listener.spool.find(uid)
    assert path.read_bytes().endswith(data_set)
    meta = pydicom.dcmread(path, stop_before_pixels=True).file_meta
    assert (meta.TransferSyntaxUID, meta.SourceApplicationEntityTitle) == (syntax, "SENDER")


def test_every_storage_class_is_accepted_in_uncompressed_and_in_compressed_syntaxes(listener: Listening) -> None:
    classes = contexts.storage_classes()
    for start in range(0, len(classes), 60):
        some = classes[start : start + 60]
        both = [(uid, syntax) for uid in some for syntax in (EXPLICIT_LE, "1.2.840.10008.1.2.4.90")]
        association = listener.associate(contexts=both)
        accepted = {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts}
        association.release()
        assert accepted == set(both)


def test_an_association_that_was_not_released_still_leaves_all_it_stored(listener: Listening) -> None:
    association = listener.associate()
    assert send(association, mr_image("1.7.1")) == 0
    association.abort()
    (stored,) = [e for e in listener.entries("stored") if e.sop_instance_uid == "1.7.1"]
    closed = wait_for(lambda: [e for e in listener.entries("closed") if e.association == stored.association], "the end")
    assert closed[0].how == "aborted"


def test_without_peers_in_the_configuration_this_machine_may_send_and_with_them_only_they(tmp_path: Path) -> None:
    peers = [{"ae_title": "KNOWN", "networks": ["127.0.0.0/8"]}, {"ae_title": "FAR", "networks": ["10.0.0.0/8"]}]
    with listening(tmp_path, peer=peers) as listener:
        for title in ("OTHER", "FAR"):
            assert rejection(listener.associate(ae_title=title)) == (REJECTED_PERMANENT, UNKNOWN_CALLER)
        association = listener.associate(ae_title="KNOWN")
        assert association.is_established
        association.release()


def test_an_address_of_no_peer_hears_no_at_once(tmp_path: Path) -> None:
    with listening(tmp_path, peer=[{"ae_title": "FAR", "networks": ["10.0.0.0/8"]}]) as listener:
        assert rejection(listener.associate(ae_title="FAR")) == (REJECTED_PERMANENT, UNKNOWN_CALLER)


def test_associations_are_limited_in_all_and_per_peer_across_processes(tmp_path: Path) -> None:
    limits = {"acceptors": 2, "max_associations": 3, "max_associations_per_peer": 2}
    with listening(tmp_path, listen=limits) as listener:
        wait_for(lambda: len(listener.acceptors) == 2, "both acceptors")
        one, two = listener.associate(ae_title="A"), listener.associate(ae_title="A")
        assert one.is_established
        assert two.is_established
        assert rejection(listener.associate(ae_title="A")) == (REJECTED_TRANSIENT, LOCAL_LIMIT)
        third = listener.associate(ae_title="B")
        assert third.is_established
        assert rejection(listener.associate(ae_title="C")) == (REJECTED_TRANSIENT, LOCAL_LIMIT)
        one.release()
        again = listener.associate(ae_title="A")
        assert again.is_established
        for association in (two, third, again):
            association.release()


def test_below_the_lower_watermark_associations_meet_temporary_congestion(tmp_path: Path) -> None:
    with listening(tmp_path, spool={"refuse_free_bytes": 2**62}) as listener:
        assert rejection(listener.associate()) == (REJECTED_TRANSIENT, CONGESTION)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def test_with_tls_only_senders_with_a_certificate_of_the_authority_get_in(
    tmp_path: Path, certificates: Certificates
) -> None:
    listen = {
        "tls_certificate": certificates.server,
        "tls_key": certificates.server_key,
        "tls_client_ca": certificates.authority,
    }
    with listening(tmp_path, listen=listen) as listener:
        good = ssl.create_default_context(cafile=str(certificates.authority))
        good.load_cert_chain(certificates.client, certificates.client_key)
        wait_for(lambda: tls_works(listener, good), "an answer over TLS")
        association = listener.associate(tls_args=(good, "localhost"))
        assert send(association, mr_image("1.8.1", pixels=os.urandom(1_000_000))) == 0
        assert association.send_c_echo().Status == 0
        association.release()
        assert listener.spool.verify(listener.entries("stored")[0].path or "")
        nobody = ssl.create_default_context(cafile=str(certificates.authority))
        stranger = ssl.create_default_context(cafile=str(certificates.authority))
        stranger.load_cert_chain(certificates.stranger, certificates.stranger_key)
        for context in (nobody, stranger):
            assert not listener.associate(tls_args=(context, "localhost")).is_established
        assert not listener.associate().is_established
        with pytest.raises(OSError), socket_to(listener) as plain:  # noqa: PT011 - which one depends on OpenSSL
            old_tls(certificates).wrap_socket(plain, server_hostname="localhost")


def test_what_cannot_be_listened_on_is_said_at_once(listener: Listening, tmp_path: Path) -> None:
    taken = Settings.model_validate({"listen": {"port": listener.port}, "spool": {"path": tmp_path / "spool"}})
    with pytest.raises(InputRejected, match=str(listener.port)):
        serve(taken)
    no_file = Settings.model_validate(
        {"listen": {"tls_certificate": tmp_path / "none"}, "spool": {"path": tmp_path / "spool"}}
    )
    with pytest.raises(InputRejected, match="certificate"):
        serve(no_file)


def tls_works(listener: Listening, context: ssl.SSLContext) -> bool:
    association = listener.associate(tls_args=(context, "localhost"))
    if association.is_established:
        association.release()
    return bool(association.is_released)


def socket_to(listener: Listening) -> Any:
    return socket.create_connection(("127.0.0.1", listener.port))


def old_tls(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.authority)
    context.load_cert_chain(certificates.client, certificates.client_key)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # which is why it must be refused
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.minimum_version = ssl.TLSVersion.TLSv1
    return context


# Storage commitment


def request_commitment(association: Any, *uids: str) -> int:
    information = Dataset()
    information.TransactionUID = "1.9." + uids[0]
    information.ReferencedSOPSequence = []
    for uid in uids:
        item = Dataset()
        item.ReferencedSOPClassUID = MR_IMAGE
        item.ReferencedSOPInstanceUID = uid
        information.ReferencedSOPSequence.append(item)
    status, _ = association.send_n_action(information, 1, COMMITMENT, COMMITMENT_INSTANCE)
    return int(status.Status)


class Reports:
    """Collects N-EVENT-REPORTs."""

    def __init__(self) -> None:
        self.received: list[tuple[int, Dataset]] = []

    def handle(self, event: Any) -> tuple[int, None]:
        self.received.append((event.event_type, event.event_information))
        return 0, None


BOTH = ((MR_IMAGE, EXPLICIT_LE), (COMMITMENT, EXPLICIT_LE))


def test_commitment_is_reported_on_the_same_association_while_it_stands(listener: Listening) -> None:
    reports = Reports()
    association = listener.associate(
        ae_title="HOLDER", contexts=BOTH, evt_handlers=[(evt.EVT_N_EVENT_REPORT, reports.handle)]
    )
    assert send(association, mr_image("1.10.1")) == 0
    assert request_commitment(association, "1.10.1", "1.10.404") == 0
    wait_for(lambda: reports.received, "the report")
    assert send(association, mr_image("1.10.2")) == 0
    association.release()
    ((event_type, information),) = reports.received
    assert event_type == commitment.SOME_FAILED
    assert [i.ReferencedSOPInstanceUID for i in information.ReferencedSOPSequence] == ["1.10.1"]
    assert [i.FailureReason for i in information.FailedSOPSequence] == [commitment.NO_SUCH_INSTANCE]
    wait_for(lambda: not list(listener.spool.commitment.glob("*.json")), "the transaction to be done with")


def test_commitment_is_reported_on_a_new_association_to_a_sender_that_left(tmp_path: Path) -> None:
    reports = Reports()
    scu = AE(ae_title="LEAVER")
    role = (COMMITMENT, EXPLICIT_LE)
    scu.add_supported_context(*role, scu_role=True, scp_role=True)
    server = scu.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, reports.handle)])
    try:
        peer = {"ae_title": "LEAVER", "networks": ["127.0.0.0/8"], "port": server.server_address[1]}
        with listening(tmp_path, peer=[peer]) as listener:
            association = listener.associate(ae_title="LEAVER", contexts=BOTH)
            assert send(association, mr_image("1.11.1")) == 0
            assert request_commitment(association, "1.11.1") == 0
            association.release()
            wait_for(lambda: reports.received, "the report")
            ((event_type, information),) = reports.received
            assert event_type == commitment.ALL_SAFE
            assert information.TransactionUID == "1.9.1.11.1"
    finally:
        server.shutdown()


def test_a_sender_that_is_down_gets_its_report_when_it_is_up_again(tmp_path: Path) -> None:
    port = free_port()
    peer = {"ae_title": "LEAVER", "networks": ["127.0.0.0/8"], "port": port}
    settings = Settings.model_validate({"spool": {"path": tmp_path}, "peer": [peer], "listen": {"acse_timeout_s": 5}})
    spool = Spool(tmp_path)
    spool.put(Description(MR_IMAGE, "1.14.1", EXPLICIT_LE), encoded(mr_image("1.14.1")))
    information = Dataset()
    information.TransactionUID = "1.9.14"
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = MR_IMAGE, "1.14.1"
    information.ReferencedSOPSequence = [item]
    event = SimpleNamespace(action_type=1, action_information=information)
    assert commitment.accept_request(spool, event, "LEAVER", "127.0.0.1") == 0
    now = time.time()
    assert commitment.send_due_reports(settings, now=now) == RoundOutcome(waiting=1)
    forget_sockets()
    reports = Reports()
    scu = AE(ae_title="LEAVER")
    scu.add_supported_context(COMMITMENT, EXPLICIT_LE, scu_role=True, scp_role=True)
    server = scu.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, reports.handle)])
    try:
        assert commitment.send_due_reports(settings, now=now + 59) == RoundOutcome(waiting=1)
        assert commitment.send_due_reports(settings, now=now + 61) == RoundOutcome(reported=1)
    finally:
        server.shutdown()
    assert [event_type for event_type, _ in reports.received] == [commitment.ALL_SAFE]


def test_a_report_on_our_own_request_is_in_the_journal_before_it_is_confirmed(listener: Listening) -> None:
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid = COMMITMENT
    role.scu_role, role.scp_role = False, True
    association = listener.associate(ae_title="PACS", contexts=((COMMITMENT, EXPLICIT_LE),), ext_neg=[role])
    information = Dataset()
    information.TransactionUID = "1.12.1"
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = MR_IMAGE, "1.12.2"
    information.ReferencedSOPSequence = [item]
    status, _ = association.send_n_event_report(information, 1, COMMITMENT, COMMITMENT_INSTANCE)
    assert status.Status == 0
    (entry,) = [e for e in listener.entries("commitment") if e.transaction_uid == "1.12.1"]
    assert entry.committed == ("1.12.2",)
    association.release()


# Processes that die


@pytest.mark.parametrize("durability", ["instance", "association", "none"])
def test_an_acceptor_killed_while_it_receives_loses_nothing_that_was_answered(tmp_path: Path, durability: str) -> None:
    with listening(tmp_path, listen={"durability": durability, "max_associations": 4}) as listener:
        (victim,) = listener.acceptors
        acknowledged: list[str] = []
        ready = threading.Event()

        def keep_sending(sender: int) -> None:
            association = listener.associate(ae_title=f"S{sender}")
            for number in range(10_000):
                uid = f"1.13.{sender}.{number}"
                try:
                    status = send(association, mr_image(uid, pixels=os.urandom(40_000)))
                except (RuntimeError, AttributeError):
                    return  # the association is gone
                assert status == 0
                acknowledged.append(uid)
                if len(acknowledged) >= 12:
                    ready.set()

        senders = [threading.Thread(target=keep_sending, args=(n,)) for n in range(3)]
        for sender in senders:
            sender.start()
        wait_for(ready.is_set, "twelve acknowledged", moves=lambda: len(acknowledged))
        os.kill(victim, signal.SIGKILL)
        for sender in senders:
            sender.join()
        for uid in acknowledged:
            (path,) = listener.spool.find(uid)
            assert listener.spool.verify(str(path.relative_to(tmp_path)))
        assert set(acknowledged) <= {e.sop_instance_uid for e in listener.entries("stored")}
        wait_for(lambda: listener.acceptors not in ([], [victim]), "a new acceptor")
        association = wait_for(lambda: a if (a := listener.associate()).is_established else None, "it to answer")
        assert send(association, mr_image("1.13.99")) == 0
        association.release()


def test_a_killed_acceptor_takes_no_places_with_it(tmp_path: Path) -> None:
    limits = {"acceptors": 2, "max_associations": 4, "max_associations_per_peer": 2}
    with listening(tmp_path, listen=limits) as listener:
        first = wait_for(lambda: p if len(p := listener.acceptors) == 2 else None, "both acceptors")
        for _ in range(2):
            held = [listener.associate(ae_title=title) for title in ("A", "A", "B", "B")]
            assert all(association.is_established for association in held)
            before = listener.acceptors
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            wait_for(lambda b=before: len(p := listener.acceptors) == 2 and not set(p) & set(b), "new acceptors")
            wait_for(lambda: (state(listener.settings) or {}).get("associations") == 0, "every place to be free")
            for association in held:
                association.abort()
        assert set(first).isdisjoint(listener.acceptors)


@pytest.mark.parametrize(
    ("to", "peers", "may"),
    [
        ("127.0.0.1", [], True),
        ("::1", [], True),
        ("::1", [{"ae_title": "SCANNER", "networks": ["::1/128"]}], True),
        ("127.0.0.1", [{"ae_title": "SCANNER", "networks": ["127.0.0.0/8"]}], True),
        ("127.0.0.1", [{"ae_title": "SCANNER", "networks": ["2001:db8::/32"]}], False),
        ("::1", [{"ae_title": "MR SCANNER 1", "networks": ["::/0"]}], False),
    ],
)
def test_ipv6_and_ipv4_through_ipv6_are_told_apart_by_network(
    tmp_path: Path, to: str, peers: list[dict[str, Any]], may: bool
) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listening(tmp_path, listen={"host": "::"}, peer=peers) as listener:
        ae = AE(ae_title="SCANNER")
        ae.add_requested_context(VERIFICATION)
        association = ae.associate(to, listener.port)
        assert association.is_established is may
        if may:
            assert association.send_c_echo().Status == 0
            association.release()
        forget_sockets()


@pytest.mark.parametrize(
    ("listed", "calling", "may"),
    [
        ("MR SCANNER 1", "MR SCANNER 1", True),
        (" MR SCANNER 1 ", "MR SCANNER 1", True),
        ("MR SCANNER 1", "mr scanner 1", False),
        ("MR SCANNER 1", "MRSCANNER1", False),
        ("A234567890123456", "A234567890123456", True),
    ],
)
def test_ae_titles_are_compared_with_their_case_and_inner_spaces(
    tmp_path: Path, listed: str, calling: str, may: bool
) -> None:
    with listening(tmp_path, peer=[{"ae_title": listed, "networks": ["127.0.0.0/8"]}]) as listener:
        association = listener.associate(ae_title=calling)
        assert association.is_established is may
        if may:
            association.release()


def test_acceptors_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    import json
    import sys

    program = (
        "import sys; from config.schema import Settings; from daemon.listener import serve\n"
        "serve(Settings.model_validate_json(sys.argv[1]))"
    )
    settings = {"listen": {"port": 0, "acceptors": 2}, "spool": {"path": str(tmp_path / "spool")}}
    with subprocess.Popen([sys.executable, "-c", program, json.dumps(settings)]) as supervisor:
        (file,) = wait_for(lambda: list((tmp_path / "spool").glob("listener.*.json")), "the listener's state")
        pids = wait_for(lambda: p if len(p := json.loads(file.read_text())["acceptors"]) == 2 else None, "acceptors")
        supervisor.kill()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the acceptors to end")
