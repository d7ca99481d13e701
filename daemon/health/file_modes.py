"""Whether what axrad keeps is its user's alone: who owns it, and who else could open it."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from config.places import console_users
from config.schema import Settings
from daemon.audit import trail_path
from daemon.finding import Finding
from daemon.ledger.engine import backups_folder, sqlite_path
from daemon.ledger.site_key import path_of

# A spool may hold millions of files; the folders that open them come first.
MOST_LOOKED_AT = 5000


def file_modes(settings: Settings) -> Finding:
    """Modes 0600 and 0700, and one owner: the user of the spool, who is also the one that runs axrad."""
    root = settings.spool.path
    try:
        owner = root.stat().st_uid
    except OSError:
        return Finding("files", "ok", "there is no spool yet; what axrad writes will be its user's alone")
    open_to_others: dict[Path, None] = {}
    of_others: dict[Path, None] = {}
    looked_at = 0
    for top, path in islice(_kept(settings), MOST_LOOKED_AT):
        try:
            status = path.lstat()
        except OSError:
            continue
        looked_at += 1
        if stat.S_ISLNK(status.st_mode):
            continue
        if stat.S_IMODE(status.st_mode) & 0o077:
            open_to_others[top] = None
        if status.st_uid != owner:
            of_others[top] = None
    if open_to_others or of_others:
        return _finding(list(open_to_others), list(of_others), owner)
    if os.geteuid() not in (owner, 0):
        text = f"the spool belongs to user {owner}, and this command runs as {os.geteuid()}"
        return Finding("files", "warn", text, "run axrad as the user of its files")
    return Finding("files", "ok", f"{looked_at} files and folders are for their user alone")


def _finding(open_to_others: list[Path], of_others: list[Path], owner: int) -> Finding:
    texts, remedies = [], []
    if open_to_others:
        texts.append(f"other users of this machine may open what lies at {_listed(open_to_others)}")
        remedies.append(f"`chmod -R go= {_quoted(open_to_others)}`")
    if of_others:
        texts.append(f"files at {_listed(of_others)} belong to another user than the spool, {owner}")
        remedies.append(f"`chown -R {owner} {_quoted(of_others)}`")
    return Finding("files", "warn", "; ".join(texts), " and ".join(remedies))


def _listed(paths: list[Path]) -> str:
    return ", ".join(map(str, paths))


def _quoted(paths: list[Path]) -> str:
    return " ".join(shlex.quote(str(path)) for path in paths)


def _kept(settings: Settings) -> Iterator[tuple[Path, Path]]:
    """Each file and folder of axrad's, after the place below which it lies; many instances come last."""
    root = settings.spool.path
    ledger = sqlite_path(settings)
    beside = [] if ledger is None else [ledger.with_name(ledger.name + suffix) for suffix in ("", "-wal", "-shm")]
    # A key that is named elsewhere may be a secret of the platform, with owner and mode of its own.
    key = [] if settings.site.key_file else [path_of(settings)]
    for place in (*key, *beside, trail_path(settings), console_users(settings)):
        if place.exists():
            yield place, place
    for place in (root, backups_folder(settings)):
        if place.exists():
            yield place, place
            yield from ((place, path) for path in _below(place))


def _below(folder: Path) -> Iterator[Path]:
    """Level by level: a folder that is open is met before the thousands of files in it."""
    level = [folder]
    while level:
        folders: list[Path] = []
        for parent in level:
            try:
                entries = sorted(parent.iterdir())
            except OSError:
                continue
            for entry in entries:
                yield entry
                if entry.is_dir() and not entry.is_symlink():
                    folders.append(entry)
        level = folders
