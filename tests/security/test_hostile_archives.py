"""Attack: an archive that we ask sends without end, too slowly, or what nobody asked for."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from daemon.export import association, c_find, message_limits
from daemon.export.association import Address, AnswersBeyondLimits
from daemon.fetch import dimse
from daemon.health import peers
from daemon.spool import requested_moves
from daemon.spool.requested_moves import RequestedMove
from pipeline.errors import PeerUnreachable
from tests.support.dimse import EXPLICIT_LE, mr_image
from tests.support.listening import Listening, listening

STUDY, SERIES = "1.2.1", "1.2.1.1"
Talk = Callable[[socket.socket], None]


def address(port: int, timeout_s: float = 30.0) -> Address:
    return Address("archive", "PACS", "127.0.0.1", port, "AXRAD", answer_timeout_s=timeout_s)


@contextmanager
def raw(talk: Talk) -> Iterator[int]:
    """A server that reads what comes first and then lets `talk` write whatever it likes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = server.accept()
                with connection, suppress(OSError):
                    connection.recv(65536)
                    talk(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def pdu_without_end(connection: socket.socket) -> None:
    connection.sendall(struct.pack(">BBL", 2, 0, 2**32 - 1))
    while True:
        connection.sendall(b"x" * 65536)


def trickle(connection: socket.socket) -> None:
    connection.sendall(struct.pack(">BBL", 2, 0, 5000))
    while not select.select([connection], [], [], 0.02)[0]:
        connection.sendall(b"x")


def silence(connection: socket.socket) -> None:
    connection.sendall(struct.pack(">BBL", 2, 0, 5000) + b"x")
    select.select([connection], [], [])


@pytest.mark.parametrize("talk", [pdu_without_end, trickle, silence])
def test_an_answer_to_our_proposal_that_is_too_large_or_too_slow_is_given_up(talk: Talk) -> None:
    with raw(talk) as port, pytest.raises(PeerUnreachable):
        dimse.DimseDirectory(address(port, timeout_s=0.5)).instances_of(STUDY, SERIES)


# Answers to queries


@contextmanager
def archive(on_find: Callable[[Any], Iterator[Any]]) -> Iterator[int]:
    ae = AE(ae_title="PACS")
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    running = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, on_find)])
    try:
        yield running.server_address[1]
    finally:
        running.shutdown()


def matches_without_end(event: Any) -> Iterator[Any]:
    number = 0
    while not event.is_cancelled and event.assoc.is_established:
        number += 1
        match = Dataset()
        match.SOPInstanceUID = f"1.{number}"
        yield 0xFF00, match


def large_matches(event: Any) -> Iterator[Any]:
    """Few enough, and each within the limit of a message."""
    for number in range(15):
        match = Dataset()
        match.SOPInstanceUID = f"1.{number}"
        match.TextValue = "x" * 1_000_000
        yield 0xFF00, match


def message_without_end(event: Any) -> Iterator[Any]:
    """Fragments of one command set, none of them the last."""
    connection = event.assoc.dul.socket.socket
    fragment = b"\1" + b"\1" + b"x" * 16000
    value = struct.pack(">L", len(fragment)) + fragment
    pdu = struct.pack(">BBL", 4, 0, len(value)) + value
    with suppress(OSError):
        while True:
            connection.sendall(pdu)
    yield 0xC000, None


ASK: dict[str, Callable[[Address], object]] = {
    "fetch": lambda there: dimse.DimseDirectory(there).instances_of(STUDY, SERIES),
    "doctor": peers._find,
}


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
@pytest.mark.parametrize("on_find", [matches_without_end, message_without_end, large_matches])
def test_whoever_answers_a_query_without_end_is_given_up(
    ask: Callable[[Address], object], on_find: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, limit in ((dimse, "MAX_LISTED"), (c_find, "MAX_MATCHES"), (peers, "MAX_MATCHES")):
        monkeypatch.setattr(module, limit, 20)
    monkeypatch.setattr(association, "MAX_TOTAL_BYTES", 5_000_000)
    with archive(on_find) as port, pytest.raises(AnswersBeyondLimits):
        ask(address(port))


def test_a_message_has_a_limit_by_default() -> None:
    limits = message_limits.MessageLimits()
    assert limits.max_message_bytes == 4 << 20
    assert len(limits.handlers()) == 3


# What comes by a C-MOVE


def moved(listener: Listening, image: Dataset, originator: str | None = "AXRAD") -> int:
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = EXPLICIT_LE
    association = listener.associate(ae_title="PACS")
    how = {} if originator is None else {"originator_aet": originator, "originator_id": 1}
    status = association.send_c_store(image, **how)
    association.release()
    return int(status.Status)


def image(uid: str, study: str = STUDY, series: str = SERIES, references: int = 0) -> Dataset:
    made = mr_image(uid)
    made.StudyInstanceUID, made.SeriesInstanceUID = study, series
    if references:
        # They stand before the study's UID and are longer than what is looked at of other instances.
        made.ReferencedImageSequence = [Dataset() for _ in range(references)]
        for number, item in enumerate(made.ReferencedImageSequence):
            item.ReferencedSOPInstanceUID = f"1.2.3.{number}"
    return made


def stored(listener: Listening) -> int:
    return len(list(listener.spool.walk()))


def test_of_a_c_move_only_what_was_asked_for_is_kept(tmp_path: Path) -> None:
    with listening(tmp_path / "spool", peer=[{"ae_title": "PACS"}]) as listener:
        assert moved(listener, image("1.5.1")) == 0x0124, "nothing was asked for yet"
        requested_moves.note(listener.root, [RequestedMove(STUDY, SERIES, ("1.5.1",)), RequestedMove("1.8", "1.8.1")])
        assert moved(listener, image("1.5.1")) == 0
        assert moved(listener, image("1.5.2")) == 0x0124, "another of the same series"
        assert moved(listener, image("1.5.3", "1.8", "1.8.1", references=2000)) == 0, "of a series that was asked for"
        assert moved(listener, image("1.5.4", "1.8", "1.8.2")) == 0x0124
        requested_moves.note(listener.root, [RequestedMove("1.8")])
        assert moved(listener, image("1.5.4", "1.8", "1.8.2")) == 0, "of a study that was asked for"
        assert stored(listener) == 3
        assert moved(listener, image("1.5.5"), originator="WORKSTATION") == 0, "somebody else's C-MOVE to us"
        assert moved(listener, image("1.5.6"), originator=None) == 0


def test_an_archive_that_may_only_be_asked_pushes_nothing(tmp_path: Path) -> None:
    peers_ = [{"ae_title": "PACS", "may": ["retrieve", "store:SEG"]}]
    with listening(tmp_path / "spool", peer=peers_) as listener:
        requested_moves.note(listener.root, [RequestedMove(STUDY, SERIES, ("1.5.1",))])
        for originator in ("AXRAD", None, "WORKSTATION"):
            assert moved(listener, image("1.5.9"), originator) == 0x0124
            assert moved(listener, image("1.5.1"), originator) == 0
        assert stored(listener) == 1


def test_a_note_that_ran_out_opens_nothing_and_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requested_moves.note(tmp_path, [RequestedMove(STUDY, SERIES, ("1.5.1",))])
    assert requested_moves.RequestedMoves(tmp_path).names("1.5.1")
    monkeypatch.setattr(requested_moves, "KEPT_S", -1.0)
    assert not requested_moves.RequestedMoves(tmp_path).names("1.5.1")
    requested_moves.note(tmp_path, [])
    assert len(list((tmp_path / "requested").iterdir())) == 1
    next((tmp_path / "requested").iterdir()).write_text("no JSON")
    assert not requested_moves.RequestedMoves(tmp_path).names("1.5.1")
