"""From a byte stream to PDUs, and inside P-DATA to fragments, however the network cut it (PS3.8 9.3).

No sockets here: bytes go in as they come, fragments come out as views of them, without a copy. Whatever is not P-DATA
comes out whole, for pynetdicom. Memory is bounded by the caller's buffer and `MAX_OTHER_BYTES`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

P_DATA = 4
# A-ASSOCIATE-RQ with 128 contexts of all transfer syntaxes is some 150 KB; release and abort have 4 bytes.
MAX_OTHER_BYTES = 1024 * 1024
MAX_SMALL_BYTES = 1024
_PDU = struct.Struct(">BxI")
_PDV = struct.Struct(">IBB")


class ProtocolViolation(Exception):
    """The peer does not speak the upper layer protocol; the association cannot go on."""


@dataclass(slots=True)
class Fragment:
    """A piece of one PDV. `piece` is valid until the next bytes are fed; `ends` with the PDV's last piece."""

    context_id: int
    control: int
    piece: memoryview
    ends: bool

    @property
    def is_command(self) -> bool:
        return bool(self.control & 1)

    @property
    def is_last(self) -> bool:
        """The message's command or data set ends here."""
        return self.ends and bool(self.control & 2)


@dataclass(slots=True)
class OtherPdu:
    """A whole PDU that is no P-DATA: 6 bytes of header and what follows."""

    kind: int
    raw: bytes


def check_header(kind: int, length: int, max_pdu: int) -> None:
    """Raises ProtocolViolation for a PDU that is unknown or longer than one of its kind may be."""
    if kind == P_DATA:
        limit = max_pdu
    elif kind in (1, 2):
        limit = MAX_OTHER_BYTES
    elif kind in (3, 5, 6, 7):
        limit = MAX_SMALL_BYTES
    else:
        raise ProtocolViolation(f"unknown PDU type {kind:#04x}")
    if length > limit:
        raise ProtocolViolation(f"PDU type {kind:#04x} of {length} bytes; at most {limit} are accepted")


class Stream:
    """Cuts the stream of one association. `feed` bytes, then take `next` until it gives None."""

    def __init__(self, max_pdu: int) -> None:
        self._max_pdu = max_pdu
        self._view = memoryview(b"")
        self._head = bytearray()
        self._pdu_left = 0
        self._pdv_left = 0
        self._pdv_open = False
        self._context_id = 0
        self._control = 0
        self._other: bytearray | None = None
        self._other_kind = 0

    @property
    def between_pdus(self) -> bool:
        """Nothing of a PDU has come that is not complete."""
        return not (self._head or self._pdu_left or self._pdv_open or self._other is not None or self._view.nbytes)

    def feed(self, view: memoryview) -> None:
        """Give new bytes; all earlier ones must have been taken."""
        self._view = view

    def next(self) -> Fragment | OtherPdu | None:
        """The next fragment or PDU, or None when more bytes are needed. Raises ProtocolViolation."""
        while True:
            if self._pdv_open:
                return self._next_piece()
            if self._other is not None:
                return self._read_other_pdu()
            if self._pdu_left:
                if not self._fill_head(_PDV.size):
                    return None
                self._open_pdv()
            else:
                if not self._fill_head(_PDU.size):
                    return None
                self._open_pdu()

    def _fill_head(self, size: int) -> bool:
        wanted = size - len(self._head)
        self._head += self._view[:wanted]
        self._view = self._view[wanted:]
        return len(self._head) == size

    def _open_pdu(self) -> None:
        kind, length = _PDU.unpack(self._head)
        check_header(kind, length, self._max_pdu)
        if kind == P_DATA:
            self._pdu_left = length
            self._head.clear()
        else:
            self._other = bytearray(self._head)
            self._other_kind = kind
            self._pdu_left = length
            self._head.clear()

    def _open_pdv(self) -> None:
        length, self._context_id, self._control = _PDV.unpack(self._head)
        if length < 2 or length + 4 > self._pdu_left:
            raise ProtocolViolation("a presentation data value does not fit its PDU")
        self._pdu_left -= length + 4
        if 0 < self._pdu_left < _PDV.size:
            raise ProtocolViolation("bytes are left over at the end of a PDU")
        self._pdv_left = length - 2
        self._pdv_open = True
        self._head.clear()

    def _next_piece(self) -> Fragment | None:
        if self._pdv_left and not self._view.nbytes:
            return None
        piece = self._view[: self._pdv_left]
        self._view = self._view[piece.nbytes :]
        self._pdv_left -= piece.nbytes
        self._pdv_open = self._pdv_left > 0
        return Fragment(self._context_id, self._control, piece, not self._pdv_open)

    def _read_other_pdu(self) -> OtherPdu | None:
        assert self._other is not None
        piece = self._view[: self._pdu_left]
        self._view = self._view[piece.nbytes :]
        self._pdu_left -= piece.nbytes
        self._other += piece
        if self._pdu_left:
            return None
        other, self._other = self._other, None
        return OtherPdu(self._other_kind, bytes(other))
