"""C-STORE command sets (PS3.7 9.3.1), read and written by hand: implicit VR little endian, group 0000, nothing else."""

from __future__ import annotations

import struct
from typing import NamedTuple

from daemon.spool import is_uid

C_STORE_RQ = 0x0001
C_STORE_RSP = 0x8001
NO_DATA_SET_TYPE = 0x0101

_ELEMENT = struct.Struct("<HHI")
_US = struct.Struct("<H")


class BadCommand(ValueError):
    """The bytes are no command set."""


def read_elements(raw: bytes) -> dict[int, bytes]:
    """Element number to value of a command set. Raises BadCommand."""
    elements: dict[int, bytes] = {}
    position, end = 0, len(raw)
    while position < end:
        if position + 8 > end:
            raise BadCommand("a command element is cut off")
        group, element, length = _ELEMENT.unpack_from(raw, position)
        position += 8
        if group != 0 or length > end - position:
            raise BadCommand("no command element, or longer than the command set")
        elements[element] = raw[position : position + length]
        position += length
    return elements


def command_field(elements: dict[int, bytes]) -> int | None:
    return _us(elements.get(0x0100))


def _us(value: bytes | None) -> int | None:
    return _US.unpack(value)[0] if value is not None and len(value) == 2 else None


def _text(value: bytes | None) -> str:
    return (value or b"").decode("ascii", "replace").strip("\0 ")


class StoreRequest(NamedTuple):
    """A C-STORE-RQ. The UIDs are as the sender wrote them, padding removed, and not yet checked."""

    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    priority: int
    has_data_set: bool
    move_originator: str

    @classmethod
    def read(cls, elements: dict[int, bytes]) -> StoreRequest:
        """Raises BadCommand where there is no Message ID to answer to."""
        message_id = _us(elements.get(0x0110))
        if message_id is None:
            raise BadCommand("a C-STORE request without Message ID")
        return cls(
            message_id=message_id,
            sop_class_uid=_text(elements.get(0x0002)),
            sop_instance_uid=_text(elements.get(0x1000)),
            priority=_us(elements.get(0x0700)) or 0,
            has_data_set=_us(elements.get(0x0800)) != NO_DATA_SET_TYPE,
            move_originator=_text(elements.get(0x1030)),
        )


def store_response(request: StoreRequest, status: int, comment: str = "") -> bytes:
    """The command set of the C-STORE-RSP. UIDs that are none are not repeated."""
    parts = [_uid(0x0002, request.sop_class_uid)]
    parts.append(_short(0x0100, C_STORE_RSP) + _short(0x0120, request.message_id))
    parts.append(_short(0x0800, NO_DATA_SET_TYPE) + _short(0x0900, status))
    if comment:
        parts.append(_value(0x0902, comment.encode("ascii")[:64], b" "))
    parts.append(_uid(0x1000, request.sop_instance_uid))
    body = b"".join(parts)
    return _ELEMENT.pack(0, 0, 4) + struct.pack("<I", len(body)) + body


def _short(element: int, value: int) -> bytes:
    return _ELEMENT.pack(0, element, 2) + _US.pack(value)


def _uid(element: int, value: str) -> bytes:
    return _value(element, value.encode("ascii"), b"\0") if is_uid(value) else b""


def _value(element: int, raw: bytes, padding: bytes) -> bytes:
    raw += padding * (len(raw) % 2)
    return _ELEMENT.pack(0, element, len(raw)) + raw


def p_data(context_id: int, command: bytes) -> bytes:
    """One P-DATA-TF PDU with a whole command set in it (PS3.8 9.3.5)."""
    length = len(command) + 2
    return struct.pack(">BBIIBB", 4, 0, length + 4, length, context_id, 3) + command
