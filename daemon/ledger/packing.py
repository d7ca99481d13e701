"""Rows of one exam as few bytes and back: column by column within each series, what does not vary once, compressed.

Plain JSON in LZMA, and the digests beside it, which no compression makes smaller. Whatever is packed comes back equal,
types of numbers included.

    format (1 byte) | length of the compressed part (4 bytes, big-endian) | compressed part | 32 bytes per digest
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Sequence
from itertools import pairwise
from typing import Any  # Any: JSON

from daemon.ledger.database_errors import RESTORE, LedgerDamaged
from daemon.spool.instance_files import relative_path

FORMAT = 1
DIGEST_BYTES = 32
Row = dict[str, Any]

# How a list of values is written.
CONSTANT, RECORDS, TUPLES, AS_THEY_ARE, STEPS = range(5)


def pack(rows: Sequence[Row], references: Sequence[tuple[int, str]]) -> bytes:
    """`rows`: of instances, with all their columns. `references`: the rows of `roi_references` of theirs."""
    ordered = sorted(rows, key=lambda row: (row["series_uid"], row["id"]))
    digests = [_digest(row["digest"]) for row in ordered]
    by_series: dict[str, list[Row]] = {}
    for row, digest in zip(ordered, digests, strict=True):
        by_series.setdefault(row["series_uid"], []).append(_without_derived(row, has_digest=digest is not None))
    document = {
        "series": {uid: [len(some), _written(some)] for uid, some in by_series.items()},
        "references": _written([list(r) for r in sorted(references)]),
        "referring": len(references),
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    compressed = lzma.compress(text, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, preset=6)
    return bytes([FORMAT]) + len(compressed).to_bytes(4, "big") + compressed + b"".join(d for d in digests if d)


def unpack(blob: bytes) -> tuple[list[Row], list[tuple[int, str]]]:
    """The rows by their ids, and the references. Raises LedgerDamaged."""
    try:
        if blob[0] != FORMAT:
            raise ValueError(f"format {blob[0]}; this axrad reads {FORMAT}")
        end = 5 + int.from_bytes(blob[1:5], "big")
        document = json.loads(lzma.decompress(blob[5:end], format=lzma.FORMAT_XZ))
        rows: list[Row] = []
        for uid, (number, written) in document["series"].items():
            for row in _read(written, number):
                if "digest" not in row:
                    row["digest"], end = blob[end : end + DIGEST_BYTES].hex(), end + DIGEST_BYTES
                rows.append(_with_derived(row, uid))
        references = [(int(roi), str(uid)) for roi, uid in _read(document["references"], document["referring"])]
    except (IndexError, KeyError, TypeError, ValueError, lzma.LZMAError) as error:
        raise LedgerDamaged(f"a packed exam cannot be read ({type(error).__name__}); {RESTORE}") from error
    return sorted(rows, key=lambda row: int(row["id"])), references


def _digest(text: str) -> bytes | None:
    """A SHA-256 as its bytes; None for other texts."""
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        return None
    return digest if len(digest) == DIGEST_BYTES and digest.hex() == text else None


def _without_derived(row: Row, *, has_digest: bool) -> Row:
    """Without what follows from the rest: the path from UID and digest, columns that repeat the facts."""
    left = {name: value for name, value in row.items() if name != "series_uid"}
    if has_digest:
        del left["digest"]
    if row["path"] == relative_path(row["sop_uid"], row["digest"]):
        del left["path"]
    facts = row["facts"]
    if isinstance(facts, dict) and facts.get("ref") == _ref(row):
        left["facts"] = {name: value for name, value in facts.items() if name != "ref"}
        # Where the reference stood among the facts.
        left["ref"] = list(facts).index("ref")
    return left


def _with_derived(left: Row, series_uid: str) -> Row:
    row = {**left, "series_uid": series_uid}
    if "path" not in row:
        row["path"] = relative_path(row["sop_uid"], row["digest"])
    place = row.pop("ref", None)
    if place is not None:
        items = list(row["facts"].items())
        row["facts"] = dict([*items[:place], ("ref", _ref(row)), *items[place:]])
    return row


def _ref(row: Row) -> list[str]:
    return [row["study_uid"], row["series_uid"], row["sop_class"], row["sop_uid"]]


def _written(values: Sequence[Any]) -> list[Any]:
    """Some values, of which there is one at least or none, in a way in which they take little."""
    if not values:
        return [AS_THEY_ARE, []]
    first = _text(values[0])
    if all(_text(value) == first for value in values):
        return [CONSTANT, values[0]]
    if all(isinstance(value, dict) for value in values):
        return [RECORDS, _records(values)]
    if all(isinstance(value, list) and len(value) == len(values[0]) for value in values):
        return [TUPLES, [_written(column) for column in zip(*values, strict=True)]]
    if all(type(value) is int for value in values):
        return [STEPS, [values[0], *(b - a for a, b in pairwise(values))]]
    return [AS_THEY_ARE, list(values)]


def _records(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Each key with the values under it; who lacks it, where not all have it."""
    columns: dict[str, Any] = {}
    for key in dict.fromkeys(key for value in values for key in value):
        lacking = [place for place, value in enumerate(values) if key not in value]
        columns[key] = [_written([value[key] for value in values if key in value]), *([lacking] if lacking else [])]
    return columns


def _read(written: list[Any], number: int) -> list[Any]:
    """`number` values as `_written` wrote them, each an object of its own."""
    how, what = written
    if how == CONSTANT:
        text = _text(what)
        return [json.loads(text) if isinstance(what, list | dict) else what for _ in range(number)]
    if how == RECORDS:
        records: list[Row] = [{} for _ in range(number)]
        for key, (column, *lacking) in what.items():
            without = set(lacking[0]) if lacking else set()
            having = [place for place in range(number) if place not in without]
            for place, value in zip(having, _read(column, len(having)), strict=True):
                records[place][key] = value
        return records
    if how == TUPLES:
        columns = [_read(column, number) for column in what]
        return [list(value) for value in zip(*columns, strict=True)]
    if how == STEPS:
        values, last = [], 0
        for step in what:
            last += step
            values.append(last)
        return values
    if how != AS_THEY_ARE or len(what) != number:
        raise ValueError("columns of another length")
    return list(what)


def _text(value: Any) -> str:
    """Equal only for what is equal in type as well: 1, 1.0 and true are three values."""
    return json.dumps(value, separators=(",", ":"))
