"""Hostile and broken senders: the listener stays up, within bounds, and a good exam arrives whole meanwhile."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from daemon.listener import statuses
from daemon.spool import read_meta
from pipeline.errors import NotDicom
from tests.support.dimse import EXPLICIT_LE, MR_IMAGE, encoded, mr_image, p_data_tf, pdv, store_command
from tests.support.line import RELEASE_RQ, RQ, Line, rq_for
from tests.support.listening import VERIFICATION, Listening, listening, send
from tests.support.waiting import wait_for

MAX_PDU = 65536
ABORT = struct.pack(">BBII", 7, 0, 4, 0)


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    patience = {"acse_timeout_s": 3.0, "network_timeout_s": 3.0, "max_pdu": MAX_PDU, "max_associations_per_peer": 64}
    with listening(tmp_path_factory.mktemp("spool"), listen=patience) as running:
        yield running


@pytest.fixture(autouse=True)
def _same_process_before_and_after(listener: Listening) -> Iterator[None]:
    """No test here may end an acceptor, nor leave it deaf."""
    before = listener.acceptors
    yield
    assert listener.acceptors == before
    association = wait_for(lambda: a if (a := listener.associate()).is_established else None, "an answer")
    assert association.send_c_echo().Status == 0
    association.release()


def rss(listener: Listening) -> int:
    return sum(psutil.Process(pid).memory_info().rss for pid in listener.acceptors)


# The upper layer

FIND = store_command().replace(b"\0\1\2\0\0\0\1\0", b"\0\1\2\0\0\0\x20\0")
MB_64 = 64 * 1024 * 1024
BEFORE_ASSOCIATION = {
    "not DICOM": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeros": b"\0" * 4096,
    "data before associating": p_data_tf(pdv(1, 3, store_command())),
    "release before associating": RELEASE_RQ,
    "abort before associating": ABORT,
    "acceptance from a requestor": b"\x02" + RQ[1:],
    "an association request of 4 GB": struct.pack(">BBI", 1, 0, 0xFFFFFFFF) + b"x" * 1000,
    "an association request of nothing": struct.pack(">BBI", 1, 0, 0),
    "items longer than the request": RQ[:74] + b"\x10\0\xff\xff" + RQ[78:],
    "a release of 2 GB": struct.pack(">BBI", 5, 0, 0x7FFFFFFF) + b"x" * 1000,
}
IN_ASSOCIATION = {
    "a second request": RQ,
    "release response nobody asked for": struct.pack(">BBII", 6, 0, 4, 0),
    "a PDU of 4 GB": struct.pack(">BBI", 4, 0, 0xFFFFFFFF) + b"x" * 5000,
    "a PDU just over the limit": struct.pack(">BBI", 4, 0, MAX_PDU + 1),
    "a fragment of 4 GB": struct.pack(">BBIIBB", 4, 0, 100, 0xFFFFFFFF, 1, 3),
    "a fragment of nothing": struct.pack(">BBIIBB", 4, 0, 6, 0, 1, 3),
    "a data set without a command": p_data_tf(pdv(1, 2, b"x" * 100)),
    "a command that is none": p_data_tf(pdv(1, 3, b"\xff" * 64)),
    "a command without a field": p_data_tf(pdv(1, 3, store_command()[:30])),
    "a request without a message id": p_data_tf(pdv(1, 3, b"\0\0\0\1\2\0\0\0\1\0")),
    "a context that was never proposed": p_data_tf(pdv(99, 3, store_command())),
    "a command in the middle of a data set": p_data_tf(pdv(1, 3, store_command()), pdv(1, 0, b"x"), pdv(1, 3, b"y")),
    "a data set on another context": p_data_tf(pdv(1, 3, store_command()), pdv(3, 2, b"x" * 50)),
    "a find where only storage was agreed": p_data_tf(pdv(1, 3, FIND), pdv(1, 2, b"")),
    "an unknown PDU": struct.pack(">BBII", 0x42, 0, 4, 0),
}  # fmt: skip


@pytest.mark.parametrize("raw", BEFORE_ASSOCIATION.values(), ids=BEFORE_ASSOCIATION)
def test_whatever_comes_before_an_association_ends_the_connection(listener: Listening, raw: bytes) -> None:
    with Line(listener) as line:
        line.send(raw)
        assert line.is_closed_in_the_end()


@pytest.mark.parametrize("raw", IN_ASSOCIATION.values(), ids=IN_ASSOCIATION)
def test_whatever_is_against_the_protocol_ends_the_association(listener: Listening, raw: bytes) -> None:
    with Line(listener).associated() as line:
        line.send(raw)
        assert line.is_closed_in_the_end()


def test_a_command_set_that_never_ends_is_cut_off(listener: Listening) -> None:
    with Line(listener).associated() as line:
        try:
            for _ in range(1000):
                line.send(p_data_tf(pdv(1, 1, b"\0" * 60000)))
        except OSError:
            return
        assert line.is_closed_in_the_end()


@pytest.mark.parametrize("started", [b"", RQ[:3], RQ[:50]])
def test_who_connects_and_says_too_little_is_disconnected(listener: Listening, started: bytes) -> None:
    with Line(listener) as line:
        line.send(started)
        assert line.is_closed_in_the_end()


def test_who_sends_a_byte_now_and_then_does_not_hold_the_line(listener: Listening) -> None:
    message = p_data_tf(pdv(1, 3, store_command()), pdv(1, 2, b"x" * 1000))
    with Line(listener) as opening, Line(listener).associated() as transferring:
        ended: set[Line] = set()
        for number in range(600):
            for line, raw in ((opening, RQ), (transferring, message)):
                try:
                    line.send(raw[number : number + 1])
                    line.socket.settimeout(0.05)
                    if not line.socket.recv(100):
                        ended.add(line)
                except TimeoutError:
                    continue
                except OSError:
                    ended.add(line)
            if len(ended) == 2:
                return
        raise AssertionError("a trickle of bytes holds a connection for ever")


def test_random_damage_to_a_good_conversation_never_harms_anyone_else(listener: Listening) -> None:
    chance = random.Random(20210628)
    data_set = encoded(mr_image("1.2.3", pixels=bytes(5000)))
    good = RQ + p_data_tf(pdv(1, 3, store_command())) + p_data_tf(pdv(1, 2, data_set)) + RELEASE_RQ
    for _ in range(150):
        raw = bytearray(good)
        for _ in range(chance.choice((0, 1, 1, 2, 5, 20))):
            kind, at = chance.randrange(4), chance.randrange(len(raw))
            if kind == 0:
                raw[at] = chance.randrange(256)
            elif kind == 1:
                del raw[at : at + chance.randrange(1, 50)]
            elif kind == 2:
                raw[at:at] = chance.randbytes(chance.randrange(1, 50))
            else:
                raw[at : at + 4] = struct.pack(">I", chance.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF)))
        with Line(listener) as line:
            try:
                line.send(bytes(raw))
                line.socket.shutdown(socket.SHUT_WR)
                assert line.is_closed_in_the_end()
            except OSError:
                continue  # the listener has had enough


def test_memory_stays_bounded_whatever_lengths_are_claimed_and_however_large_the_instance(listener: Listening) -> None:
    before = rss(listener)
    with Line(listener).associated() as line:
        line.send(p_data_tf(pdv(1, 3, store_command("1.2.3"))))
        line.send(p_data_tf(pdv(1, 0, encoded(mr_image("1.2.3"))[:-40])))
        piece = p_data_tf(pdv(1, 0, bytes(60000)))
        for _ in range(MB_64 * 3 // 60000):
            line.send(piece)
        assert rss(listener) - before < MB_64
        line.send(p_data_tf(pdv(1, 2, b"")))
        assert line.status() == 0
    (path,) = [p for p in listener.spool.find("1.2.3") if p.stat().st_size > MB_64]
    path.unlink()


# Data sets


def nested(depth: int) -> bytes:
    """A data set of sequences in sequences, all of undefined length, as deep as one likes."""
    start = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    end = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    return encoded(mr_image("1.4.1"))[:60] + start * depth + end * depth


def test_sequences_nested_ten_thousand_deep_are_stored_as_bytes(listener: Listening) -> None:
    with Line(listener).associated() as line:
        raw = nested(10_000)
        line.send(p_data_tf(pdv(1, 3, store_command("1.4.1"))))
        for start in range(0, len(raw), 30000):
            line.send(p_data_tf(pdv(1, 0, raw[start : start + 30000])))
        line.send(p_data_tf(pdv(1, 2, b"")))
        assert line.status() in (0, statuses.NOT_UNDERSTOOD.status)
        line.send(RELEASE_RQ)
        assert line.pdu()[0] == 6


@pytest.mark.parametrize("uid", ["../../../../tmp/evil", "/etc/passwd", "1.2.3/../4", "1." * 200, "C:\\x", "%2e%2e"])
def test_paths_in_uids_are_refused_and_nothing_is_written_anywhere(listener: Listening, uid: str) -> None:
    with Line(listener).associated() as line:
        line.send(p_data_tf(pdv(1, 3, store_command(uid))) + p_data_tf(pdv(1, 2, encoded(mr_image()))))
        assert line.status() == statuses.BAD_INSTANCE_UID.status
        line.send(RELEASE_RQ)
        assert line.pdu()[0] == 6
    allowed = {"instances", "incoming", "journal", "commitment"}
    assert {p.name for p in listener.root.iterdir() if not p.name.startswith("listener.")} == allowed


@pytest.mark.cases
def test_every_malformed_file_is_stored_or_refused_and_a_good_exam_arrives_meanwhile(
    listener: Listening, cases: Path
) -> None:
    files = sorted(path for path in (cases / "fuzz").rglob("*.dcm"))
    assert len(files) > 20
    exam = {f"1.3.{number}" for number in range(60)}
    done: list[int] = []

    def good_sender() -> None:
        association = listener.associate(ae_title="GOOD")
        done.extend(send(association, mr_image(uid, pixels=os.urandom(50_000))) for uid in sorted(exam))
        association.release()

    meanwhile = threading.Thread(target=good_sender)
    meanwhile.start()
    known = {refusal.status for refusal in statuses.ALL} | {0}
    answers: dict[str, int] = {}
    for path in files:
        sop_class, uid, syntax, data_set = best_guess(path)
        contexts = [(sop_class, syntax)] if sop_class != VERIFICATION else [(MR_IMAGE, EXPLICIT_LE)]
        with Line(listener) as line:
            line.send(rq_for(*contexts[0]))
            if line.pdu()[0] != 2:
                continue
            line.send(p_data_tf(pdv(1, 3, store_command(uid, sop_class_uid=contexts[0][0]))))
            for start in range(0, len(data_set), 60000):
                line.send(p_data_tf(pdv(1, 0, data_set[start : start + 60000])))
            line.send(p_data_tf(pdv(1, 2, b"")))
            answers[path.name] = line.status()
            line.send(RELEASE_RQ)
            assert line.pdu()[0] == 6
    meanwhile.join()
    assert set(answers.values()) <= known
    assert len(answers) > 20
    assert done == [0] * len(exam)
    for uid in exam:
        (good,) = listener.spool.find(uid)
        assert listener.spool.verify(str(good.relative_to(listener.root)))


def best_guess(path: Path) -> tuple[str, str, str, bytes]:
    """SOP class, instance, transfer syntax and data set as a careless sender would take them from the file."""
    raw = path.read_bytes()
    try:
        with path.open("rb") as file:
            meta = read_meta(file)
        class_, uid, syntax, start = (
            meta.sop_class_uid,
            meta.sop_instance_uid,
            meta.transfer_syntax_uid,
            meta.data_set_offset,
        )
    except NotDicom:
        class_, uid, syntax, start = MR_IMAGE, "1.2.3", EXPLICIT_LE, 132 if raw[128:132] == b"DICM" else 0
    if not all(c in "0123456789." for c in class_ + syntax):
        class_, syntax = MR_IMAGE, EXPLICIT_LE
    return class_, uid, syntax, raw[start:]


def test_nothing_that_was_sent_is_in_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with listening(tmp_path) as quiet:
        association: Any = quiet.associate()
        assert send(association, mr_image("1.2.3")) == 0
        association.release()
        with Line(quiet).associated() as line:
            secret = encoded(mr_image("1.2.4"))
            line.send(p_data_tf(pdv(1, 3, store_command("1.2.3"))) + p_data_tf(pdv(1, 2, secret)))
            assert line.status() == statuses.OTHER_INSTANCE.status
            line.send(p_data_tf(pdv(1, 3, b"Secret^Person" * 3)))
            assert line.is_closed_in_the_end()
    said = capfd.readouterr()
    assert "instance refused" in said.err
    assert "protocol violation" in said.err
    for output in (said.out, said.err):
        assert not any(word in output for word in ("Secret", "SECRET", "Traceback"))


def test_a_peer_that_connects_and_leaves_without_a_word_keeps_no_place(tmp_path: Path) -> None:
    """Port checks of load balancers and containers do so every few seconds."""
    patience = {"acse_timeout_s": 600.0, "max_associations": 2, "acceptors": 1}
    with listening(tmp_path, listen=patience) as running:
        for _ in range(4):
            socket.create_connection(("127.0.0.1", running.port)).close()
        association = wait_for(lambda: a if (a := running.associate()).is_established else None, "a place")
        association.release()


def test_many_who_connect_and_trickle_do_not_keep_a_good_sender_out(tmp_path: Path) -> None:
    """Slow loris: more connections than there are places, each with a byte of a request now and then."""
    limits = {"acse_timeout_s": 600.0, "max_associations": 4, "acceptors": 1}
    with listening(tmp_path, listen=limits) as running:
        lines = [Line(running) for _ in range(6)]
        for number in range(3):
            for line in lines:
                with contextlib.suppress(OSError):
                    line.send(RQ[number : number + 1])
            association = wait_for(lambda: a if (a := running.associate()).is_established else None, "a place")
            assert send(association, mr_image(f"1.3.{number}", pixels=os.urandom(200_000))) == 0
            association.release()
        for line in lines:
            line.socket.close()
        assert {f"1.3.{n}" for n in range(3)} == {e.sop_instance_uid for e in running.entries("stored")}


def test_an_association_that_stands_gives_way_to_nobody(tmp_path: Path) -> None:
    with listening(tmp_path, listen={"max_associations": 1, "acceptors": 1}) as running:
        standing = wait_for(lambda: a if (a := running.associate()).is_established else None, "a place")
        for _ in range(30):
            assert not running.associate().is_established
        assert send(standing, mr_image("1.3.1")) == 0
        standing.release()
