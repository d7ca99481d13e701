"""Room on the spool's file system: bytes, and inodes, of which every file takes one. The listener asks here as well."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from config.schema import Spool
from daemon.finding import GIB, Finding, Level, below, worst

REMEDY = "make room, or lower retention.keep_days"


@dataclass(frozen=True, slots=True)
class Room:
    """What a file system has left for unprivileged processes. Inodes are None where it makes them as needed."""

    free_bytes: int
    total_bytes: int
    free_inodes: int | None
    total_inodes: int | None


def room(path: Path) -> Room:
    """Ask the file system. Raises OSError where there is no such folder."""
    state = os.statvfs(path)
    limited = state.f_files > 0
    return Room(
        state.f_bavail * state.f_frsize,
        state.f_blocks * state.f_frsize,
        state.f_favail if limited else None,
        state.f_files if limited else None,
    )


def levels_of(space: Room, spool: Spool) -> tuple[Level, Level]:
    """How bad it is for bytes and for inodes. `fail`: nothing more is taken in."""
    inodes = space.free_inodes
    return (
        below(space.free_bytes, spool.warn_free_bytes, spool.refuse_free_bytes),
        "ok" if inodes is None else below(inodes, spool.warn_free_inodes, spool.refuse_free_inodes),
    )


def level_of(space: Room, spool: Spool) -> Level:
    """The worse of the two."""
    return worst(levels_of(space, spool))


def findings(spool: Spool) -> tuple[Finding, ...]:
    """`disk` for the bytes and, where they are limited, `inodes`."""
    try:
        space = room(spool.path)
    except FileNotFoundError:
        if spool.remote is not None:
            return (Finding("disk", "ok", "nothing was copied from spool.remote yet"),)
        return (
            Finding("disk", "fail", f"the spool {spool.path} is not there", "mount it; `axrad up` makes a new one"),
        )
    except OSError as error:
        return (Finding("disk", "fail", f"the spool cannot be looked at: {error.strerror}", "mount spool.path"),)
    of_bytes, of_inodes = levels_of(space, spool)
    result = [
        Finding(
            "disk",
            of_bytes,
            f"{space.free_bytes / GIB:.1f} GiB are left for the spool"
            + _then(of_bytes, f"{spool.refuse_free_bytes / GIB:.1f} GiB"),
            "" if of_bytes == "ok" else REMEDY,
            value=space.free_bytes,
            limit=spool.warn_free_bytes,
        )
    ]
    if space.free_inodes is not None:
        result.append(
            Finding(
                "inodes",
                of_inodes,
                f"{space.free_inodes} more files fit on the spool's file system (inodes)"
                + _then(of_inodes, str(spool.refuse_free_inodes)),
                "" if of_inodes == "ok" else REMEDY,
                value=space.free_inodes,
                limit=spool.warn_free_inodes,
            )
        )
    return tuple(result)


def _then(level: Level, refuse: str) -> str:
    return {"ok": "", "warn": f": senders will be refused below {refuse}", "fail": ": senders are refused"}[level]
