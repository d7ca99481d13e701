"""Siemens' CSA header, (0029,xx10) of the block SIEMENS CSA HEADER: a list of named text values in binary form.

Layout after the documentation of NiBabel ("Siemens format DICOM with CSA header") and the public descriptions it
cites: the newer form starts with the bytes SV10, the older with the number of entries. All integers little-endian.
"""

from __future__ import annotations

import struct

_ENTRY = struct.Struct("<64si4s3i")
_MOST_ENTRIES = 4096


def csa_values(header: bytes, name: str) -> tuple[str, ...]:
    """The non-empty values of one entry; none where the entry is absent or the header is not well formed."""
    try:
        return _values(header, name.encode("ascii"))
    except (struct.error, IndexError):
        return ()


def _values(header: bytes, name: bytes) -> tuple[str, ...]:
    newer = header[:4] == b"SV10"
    place = 8 if newer else 0
    (entries,) = struct.unpack_from("<I", header, place)
    place += 8
    first_items: int | None = None
    for _ in range(min(entries, _MOST_ENTRIES)):
        entry, _multiplicity, _vr, _syngo, items, _check = _ENTRY.unpack_from(header, place)
        place += _ENTRY.size
        first_items = items if first_items is None else first_items
        values = []
        for _ in range(items):
            lengths = struct.unpack_from("<4i", header, place)
            place += 16
            # The older form counts a value's length from the first entry's number of items.
            length = lengths[1] if newer else lengths[0] - first_items
            if length < 0 or place + length > len(header):
                return ()
            values.append(header[place : place + length])
            place += -(-length // 4) * 4
        if entry.split(b"\0", 1)[0] == name:
            texts = (v.split(b"\0", 1)[0].decode("latin-1").strip() for v in values)
            return tuple(t for t in texts if t)
    return ()
