"""The file of an SQLite ledger: that it is there, and still the one that was opened.

SQLite makes a file that is missing, takes an empty one for a new database, and goes on writing into one that was
deleted. Each would lose the exams' history without a word. So the spool remembers that it has a ledger, in a file of
its own, and every transaction looks first.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from daemon.ledger.database_errors import RESTORE, LedgerDamaged

KNOWN = "ledger.known"


class LedgerFile:
    """`spool`: where it is remembered that this ledger was made. `may_be_made`: one that is gone may be made anew."""

    def __init__(self, path: Path, spool: Path, *, may_be_made: bool = False) -> None:
        self.path = path
        self._may_be_made = may_be_made
        self._known = spool / KNOWN
        self._inode: int | None = None

    def look(self) -> bool:
        """Whether the file is another one than at the last look. Raises LedgerDamaged where it is gone."""
        try:
            state = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            self._refuse_if_known("is gone")
            return False
        except PermissionError:
            return False  # opening it says so
        if stat.S_ISDIR(state.st_mode):
            raise LedgerDamaged(f"the ledger {self.path} is a folder; {RESTORE}")
        if state.st_size == 0:
            self._refuse_if_known("is empty")
            return False
        changed = self._inode not in (None, state.st_ino)
        self._inode = state.st_ino
        return changed

    def _refuse_if_known(self, trouble: str) -> None:
        if self._may_be_made or (self._inode is None and not self.is_known):
            return
        raise LedgerDamaged(
            f"the ledger {self.path} {trouble}; {RESTORE}. To begin anew instead, remove {self._known}: "
            "every exam in the spool is then worked on again"
        )

    @property
    def is_known(self) -> bool:
        try:
            return self._known.read_text(encoding="utf-8").strip() == str(self.path)
        except (OSError, UnicodeError):
            return False

    def remember(self) -> None:
        """It is made. A spool that is not there, or may not be written to, remembers nothing."""
        if self._known.parent.is_dir() and not self.is_known:
            with suppress(OSError):
                self._known.write_text(f"{self.path}\n", encoding="utf-8")

    def set_aside(self, folder: Path, now: float) -> Path:
        """Move a damaged ledger out of the way, its journals with it; where it lies now."""
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f"ledger-damaged-{int(now)}.sqlite"
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(f"{self.path}{suffix}", f"{aside}{suffix}")
        self._inode = None
        return aside
