"""What was asked of archives by C-MOVE: notes beside the instances, which the listener reads as these come.

An archive sends what a C-MOVE asks for on an association of its own, as any sender does. A note stays for a day: an
archive of tapes may send long after we have given up waiting.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from pipeline.whole_file import write_whole

KEPT_S = 86400.0
# How often notes that ran out are looked for while no new ones come.
LOOK_AGAIN_S = 60.0


@dataclass(frozen=True, slots=True)
class RequestedMove:
    """One request. Without `sop_uids`: the whole series; without `series_uid` too: the whole study."""

    study_uid: str
    series_uid: str = ""
    sop_uids: tuple[str, ...] = ()


def note(root: Path, moves: Iterable[RequestedMove]) -> None:
    """Note requests before they are sent, and remove notes that ran out. Raises OSError."""
    folder = root / "requested"
    folder.mkdir(exist_ok=True, mode=0o700)
    for old in folder.glob("*.json"):
        with suppress(FileNotFoundError):
            if time.time() - old.stat().st_mtime > KEPT_S:
                old.unlink()
    listed = [[move.study_uid, move.series_uid, list(move.sop_uids)] for move in moves]
    write_whole(folder / f"{token_hex(8)}.json", json.dumps(listed).encode())


class RequestedMoves:
    """The notes as they are now; read again when one was added, and now and then."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "requested"
        self._read: tuple[int, float] = (-1, 0.0)
        self._sop_uids: frozenset[str] = frozenset()
        self._whole: frozenset[tuple[str, str]] = frozenset()

    def names(self, sop_uid: str) -> bool:
        """Whether an instance was asked for by its UID."""
        self._refresh()
        if sop_uid not in self._sop_uids:
            # A note of this very moment may have the time stamp of the one before.
            self._refresh(anew=True)
        return sop_uid in self._sop_uids

    def has_whole(self, study_uid: str, series_uid: str) -> bool:
        """Whether the whole series, or the whole study, was asked for. To be asked after `names`."""
        return bool(study_uid) and ((study_uid, "") in self._whole or (study_uid, series_uid) in self._whole)

    def _refresh(self, *, anew: bool = False) -> None:
        try:
            changed = self._folder.stat().st_mtime_ns
        except OSError:
            changed = 0
        now = time.monotonic()
        if not anew and changed == self._read[0] and now - self._read[1] < LOOK_AGAIN_S:
            return
        self._read = changed, now
        moves = [move for path in self._folder.glob("*.json") for move in _moves_in(path)]
        self._sop_uids = frozenset(uid for move in moves for uid in move.sop_uids)
        self._whole = frozenset((move.study_uid, move.series_uid) for move in moves if not move.sop_uids)


def _moves_in(path: Path) -> list[RequestedMove]:
    """Nothing where a note has run out, is gone or cannot be read."""
    try:
        if time.time() - path.stat().st_mtime > KEPT_S:
            return []
        return [RequestedMove(study, series, tuple(uids)) for study, series, uids in json.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError):
        return []
