"""Who may send, how many at once, and with how much room left."""

from __future__ import annotations

import os
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.schema import Peer, Spool
from daemon.listener.admission import Caller, DiskGauge, admit, may_connect
from daemon.listener.association_slots import Slots
from daemon.listener.contexts import storage_classes, supported, transfer_syntaxes
from daemon.listener.statuses import Rejection


def may_send(address: str, title: str, peers: tuple[Peer, ...]) -> bool:
    return not isinstance(admit(Caller(address, title), peers), Rejection)


HOSPITAL = Peer(ae_title="SCANNER", networks=(ip_network("10.1.0.0/16"), ip_network("fd00::/8")))
ANYWHERE = Peer(ae_title="PACS")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_without_peers_this_machine_may_send_under_any_title(address: str) -> None:
    assert may_connect(address, ())
    assert may_send(address, "WHOEVER", ())


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.0.1", "8.8.8.8", "fe80::1%eth0", "::ffff:10.1.2.3"])
def test_without_peers_nobody_else_may(address: str) -> None:
    assert not may_connect(address, ())
    assert not may_send(address, "WHOEVER", ())


@pytest.mark.parametrize(
    ("address", "title", "allowed"),
    [
        ("10.1.255.1", "SCANNER", True),
        ("::ffff:10.1.255.1", "SCANNER", True),
        ("fd00::17", "SCANNER", True),
        ("10.2.0.1", "SCANNER", False),
        ("10.1.0.1", "OTHER", False),
        ("127.0.0.1", "SCANNER", False),
        ("8.8.8.8", "PACS", True),
        ("8.8.8.8", "pacs", False),
    ],
)
def test_with_peers_title_and_network_must_belong_together(address: str, title: str, allowed: bool) -> None:
    assert may_send(address, title, (HOSPITAL, ANYWHERE)) is allowed


def test_an_address_of_no_peer_is_turned_away_before_it_says_a_word() -> None:
    assert not may_connect("10.2.0.1", (HOSPITAL,))
    assert may_connect("10.1.0.1", (HOSPITAL,))
    assert may_connect("10.2.0.1", (HOSPITAL, ANYWHERE))


def test_the_lower_watermark_refuses_until_there_is_more_room_than_that_and_the_upper_one_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from structlog.testing import capture_logs

    now, free = [0.0], [1000]

    class State:
        f_frsize, f_blocks, f_files, f_favail = 1, 1000, 0, 0

        @property
        def f_bavail(self) -> int:
            return free[0]

    monkeypatch.setattr("daemon.listener.admission.time.monotonic", lambda: now[0])
    monkeypatch.setattr(os, "statvfs", lambda path: State())
    gauge = DiskGauge(Spool(path=tmp_path, warn_free_bytes=500, refuse_free_bytes=100))
    with capture_logs() as logs:
        answers = []
        for now[0], free[0] in (
            (1, 1000), (2, 400), (3, 100), (4, 99), (4.5, 1000), (6, 104), (8, 105), (10, 104), (12, 99),
        ):  # fmt: skip
            answers.append(gauge.refuses())
    assert answers == [False, False, False, True, True, True, False, False, True]
    assert len(logs) == 1
    monkeypatch.undo()
    gone = DiskGauge(Spool(path=tmp_path / "unmounted"))
    assert gone.refuses()


def test_slots_count_associations_in_all_and_per_peer_across_processes() -> None:
    first = Slots.create(3, 2)
    second = Slots(os.dup(first.fd), 3, 2)
    slots = [first.take(1), second.take(2), first.take(1)]
    assert None not in slots
    assert second.take(2) is None
    assert first.claim(slots[0], 1, "A@1")
    assert second.claim(slots[1], 2, "A@1")
    assert not first.claim(slots[2], 1, "A@1")
    assert first.claim(slots[2], 1, "B@1")
    second.free(slots[1])
    assert second.take(2) is not None
    first.close()
    second.close()


def test_the_slots_of_a_dead_process_are_free_again() -> None:
    slots = Slots.create(4, 4)
    for acceptor in (1, 1, 2):
        slots.take(acceptor)
    slots.reap(1)
    assert slots.per_acceptor() == {2: 1}
    slots.close()


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from("ABC")), max_size=30))
def test_however_they_come_and_go_limits_hold(steps: list[tuple[int, str]]) -> None:
    slots, held = Slots.create(5, 2), []
    for acceptor, peer in steps:
        slot = slots.take(acceptor)
        if slot is None:
            assert len(held) == 5
            slots.free(held.pop(0)[0])
        elif slots.claim(slot, acceptor, peer):
            held.append((slot, peer))
            assert sum(1 for _, other in held if other == peer) <= 2
        else:
            assert sum(1 for _, other in held if other == peer) == 2
            slots.free(slot)
    assert sum(slots.per_acceptor().values()) == len(held)
    slots.close()


def test_every_storage_class_is_accepted_in_every_transfer_syntax_but_streams() -> None:
    from pynetdicom import AllStoragePresentationContexts

    accepted = {str(context.abstract_syntax): context for context in supported()}
    known = {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
    assert known <= set(storage_classes()) <= set(accepted)
    assert {"1.2.840.10008.1.1", "1.2.840.10008.1.20.1", "1.2.840.10008.5.1.4.1.1.66.7"} <= set(accepted)
    syntaxes = set(transfer_syntaxes())
    assert {
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2.4.201",
        "1.2.840.10008.1.2.5",
    } <= syntaxes
    assert not syntaxes & {"1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.204", "1.2.840.10008.1.2.7.1"}
    assert transfer_syntaxes()[:2] == ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
