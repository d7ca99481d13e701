"""The stream cutter and the command sets, held against pynetdicom's own on the same bytes."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.dimse_messages import C_STORE_RQ, C_STORE_RSP, DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF

from daemon.listener import command
from daemon.listener.fragments import MAX_OTHER_BYTES, Fragment, OtherPdu, ProtocolViolation, Stream
from tests.support.dimse import MR_IMAGE, p_data_tf, pdv, store_command

RELEASE_RQ = struct.pack(">BBII", 5, 0, 4, 0)
UIDS = st.lists(st.integers(0, 10**9), min_size=2, max_size=5).map(lambda parts: ".".join(map(str, parts)))


def cut(raw: bytes, draw: st.DataObject, most: int = 12) -> list[bytes]:
    """`raw` in pieces of random sizes."""
    marks = sorted(draw.draw(st.lists(st.integers(0, len(raw)), max_size=most)))
    return [raw[a:b] for a, b in zip([0, *marks], [*marks, len(raw)], strict=True)]


def message_as_pdus(command_set: bytes, data_set: bytes, draw: st.DataObject) -> list[bytes]:
    """A message as a peer may send it: any fragmentation, any number of fragments in one PDU."""
    items = []
    for raw, bit in ((command_set, 1), (data_set, 0)):
        pieces = cut(raw, draw)
        items += [pdv(3, bit, piece) for piece in pieces[:-1]]
        items.append(pdv(3, bit | 2, pieces[-1]))
    pdus = []
    while items:
        count = draw.draw(st.integers(1, len(items)))
        pdus.append(p_data_tf(*items[:count]))
        items = items[count:]
    return pdus


def by_pynetdicom(pdus: list[bytes]) -> tuple[bytes, bytes]:
    """Command set and data set as pynetdicom puts them together."""
    message = DIMSEMessage()
    for raw in pdus:
        pdu = P_DATA_TF()
        pdu.decode(raw)
        message.decode_msg(pdu.to_primitive())
    return message.encoded_command_set.getvalue(), message.data_set.getvalue()


def by_us(pieces: list[bytes], max_pdu: int = 1 << 20) -> tuple[bytes, bytes, list[OtherPdu], Stream]:
    stream = Stream(max_pdu)
    parts = {True: b"", False: b""}
    others = []
    for piece in pieces:
        stream.feed(memoryview(piece))
        while (item := stream.next()) is not None:
            if isinstance(item, Fragment):
                parts[item.is_command] += bytes(item.piece)
            else:
                others.append(item)
    return parts[True], parts[False], others, stream


@given(st.data(), st.binary(max_size=300))
@settings(max_examples=200)
def test_any_fragmentation_is_put_together_as_pynetdicom_does_it(draw: st.DataObject, data_set: bytes) -> None:
    command_set = store_command()
    pdus = message_as_pdus(command_set, data_set, draw)
    expected = by_pynetdicom(pdus)
    got = by_us(cut(b"".join(pdus), draw, most=30))
    assert got[:2] == expected == (command_set, data_set)
    assert got[3].between_pdus


@given(st.data())
def test_the_last_fragment_is_told_once_and_at_the_end(draw: st.DataObject) -> None:
    pdus = message_as_pdus(store_command(), b"data" * 20, draw)
    stream, last = Stream(1 << 20), []
    for piece in cut(b"".join(pdus), draw, most=30):
        stream.feed(memoryview(piece))
        while (item := stream.next()) is not None:
            assert isinstance(item, Fragment)
            last.append(item.is_last)
    assert last.count(True) == 2
    assert last[-1]


@given(st.data())
def test_other_pdus_come_out_whole_and_in_order(draw: st.DataObject) -> None:
    raw = p_data_tf(pdv(1, 3, b"c" * 9)) + RELEASE_RQ + p_data_tf(pdv(1, 2, b"d" * 9))
    commands, data, others, _ = by_us(cut(raw, draw))
    assert (commands, data) == (b"c" * 9, b"d" * 9)
    assert [other.raw for other in others] == [RELEASE_RQ]


@given(st.binary(max_size=200), st.data())
@settings(max_examples=300)
def test_random_bytes_are_fragments_or_a_violation_and_nothing_is_hoarded(raw: bytes, draw: st.DataObject) -> None:
    try:
        commands, data, others, _ = by_us(cut(raw, draw), max_pdu=4096)
    except ProtocolViolation:
        return
    assert len(commands) + len(data) + sum(len(o.raw) for o in others) <= len(raw)


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack(">BBI", 4, 0, 0xFFFFFFFF),
        struct.pack(">BBI", 4, 0, 65537),
        struct.pack(">BBI", 1, 0, MAX_OTHER_BYTES + 1),
        struct.pack(">BBI", 5, 0, 0x7FFFFFFF),
        struct.pack(">BBI", 9, 0, 4),
        struct.pack(">BBI", 0, 0, 4),
        struct.pack(">BBIIBB", 4, 0, 20, 0xFFFFFFFF, 1, 3),
        struct.pack(">BBIIBB", 4, 0, 20, 1, 1, 3),
        struct.pack(">BBIIBB", 4, 0, 6, 3, 1, 3),
        p_data_tf(pdv(1, 3, b"x") + b"\0\0\0"),
    ],
)
def test_lengths_that_cannot_be_are_violations_before_anything_is_kept(raw: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        by_us([raw], max_pdu=65536)


@given(UIDS, UIDS, st.integers(0, 65535), st.sampled_from([0, 1, 2]))
def test_a_request_reads_as_pynetdicom_wrote_it(sop_class: str, uid: str, message_id: int, priority: int) -> None:
    primitive = C_STORE()
    primitive.MessageID = message_id
    primitive.AffectedSOPClassUID = sop_class
    primitive.AffectedSOPInstanceUID = uid
    primitive.Priority = priority
    primitive.MoveOriginatorApplicationEntityTitle = "MOVER"
    primitive.MoveOriginatorMessageID = 3
    primitive.DataSet = BytesIO(b"\0" * 8)
    message = C_STORE_RQ()
    message.primitive_to_message(primitive)
    encoded = next(iter(message.encode_msg(1, 0))).presentation_data_value_list[0][1][1:]
    elements = command.read_elements(encoded)
    assert command.command_field(elements) == command.C_STORE_RQ
    request = command.StoreRequest.read(elements)
    assert request == command.StoreRequest(message_id, sop_class, uid, priority, True, "MOVER")


@given(UIDS, UIDS, st.integers(0, 65535), st.sampled_from([0x0000, 0xA700, 0xA900, 0xC000, 0x0117]))
def test_a_response_reads_in_pynetdicom_as_we_wrote_it(sop_class: str, uid: str, message_id: int, status: int) -> None:
    request = command.StoreRequest(message_id, sop_class, uid, 0, True, "")
    comment = "because" if status else ""
    pdu = P_DATA_TF()
    pdu.decode(command.p_data(5, command.store_response(request, status, comment)))
    message = DIMSEMessage()
    assert message.decode_msg(pdu.to_primitive())
    assert isinstance(message, C_STORE_RSP)
    primitive = message.message_to_primitive()
    assert primitive.Status == status
    assert primitive.MessageIDBeingRespondedTo == message_id
    assert (primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID) == (sop_class, uid)
    assert (primitive.ErrorComment or "") == comment
    assert message.context_id == 5


@given(st.binary(max_size=120))
def test_any_bytes_are_a_command_set_or_a_bad_one(raw: bytes) -> None:
    try:
        elements = command.read_elements(raw)
    except command.BadCommand:
        return
    assert sum(8 + len(value) for value in elements.values()) <= len(raw)


def test_a_request_without_message_id_cannot_be_answered() -> None:
    with pytest.raises(command.BadCommand):
        command.StoreRequest.read({0x0002: MR_IMAGE.encode()})


def test_a_response_does_not_repeat_a_uid_that_is_longer_than_a_uid() -> None:
    request = command.StoreRequest(1, "1.2", "9" * 200, 0, True, "")
    assert b"9" * 65 not in command.store_response(request, 0x0117, "no")
