"""What compressed frames say of themselves, held against the header before anything decodes them.

A decoder believes its codestream. One of 32,000 by 32,000 pixels takes gigabytes, one that is smaller than the header
says ends some decoders with the process, and one that is wider is cut without a word.
"""

from __future__ import annotations

from pipeline.codestream import jpeg, jpeg2000, rle
from pipeline.codestream.records import Broken, Shape, Stream

__all__ = ["Broken", "Shape", "Stream", "check", "is_known"]

RLE = "1.2.840.10008.1.2.5"
JPEG_2000 = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 92, 93, 201, 202, 203))


def is_known(syntax: str) -> bool:
    """Whether frames in this transfer syntax can be checked, and so may be decoded."""
    return syntax == RLE or syntax in jpeg.KINDS or syntax in JPEG_2000


def check(data: bytes, syntax: str, shape: Shape) -> None:
    """Raise Broken unless the frame is whole and of the shape that its header gives it."""
    if syntax == RLE:
        rle.check(data, shape)
        return
    stream = jpeg2000.size_of(data) if syntax in JPEG_2000 else jpeg.size_of(data, syntax)
    if (stream.rows, stream.columns) != (shape.rows, shape.columns):
        raise Broken(
            f"its codestream has {stream.rows} x {stream.columns} pixels, "
            f"its header says {shape.rows} x {shape.columns}"
        )
    if stream.components != shape.samples:
        raise Broken(f"its codestream has {stream.components} components, its header says {shape.samples}")
    if not _bits_fit(stream, shape):
        raise Broken(
            f"its codestream has {stream.bits} bits a sample, its header says {shape.stored} of {shape.allocated}"
        )


def _bits_fit(stream: Stream, shape: Shape) -> bool:
    """As many as are stored; or all that are allocated, as some writers have it; or fewer, if no sign is lost by it.

    Always in the same number of bytes.
    """
    if stream.bits == shape.allocated or stream.bits == shape.high + 1:
        return True
    same_bytes = (stream.bits + 7) // 8 == (shape.allocated + 7) // 8
    return stream.bits < shape.stored and same_bytes and (not shape.signed or stream.signed is True)
