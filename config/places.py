"""Whether the files and folders that the settings name are what they should be. Looks, and makes nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from config.schema import Settings
from config.schema.values import Lies


def console_users(settings: Settings) -> Path:
    """The file of the console's users: beside the spool, where the settings name no other."""
    return settings.console.users or settings.spool.path.parent / "console-users.json"


def misplaced(settings: Settings, *, writes: bool = True) -> Iterator[str]:
    """Every path that was set and is not what is needed there. `writes` false: nobody is going to write there."""
    yield from _below(settings, "", writes=writes)
    url = settings.ledger.url
    if url and url.startswith("sqlite:///"):
        path = Path(unquote(urlsplit(url).path.removeprefix("/")))
        wrong = fault(path, Lies(folder=False, ours=True), writes=writes)
        if wrong:
            yield f"ledger.url: {wrong}"


def _below(model: BaseModel, prefix: str, *, writes: bool) -> Iterator[str]:
    for name, field in type(model).model_fields.items():
        if name not in model.model_fields_set:
            continue
        value, key = getattr(model, name), f"{prefix}{name}"
        if isinstance(value, BaseModel):
            yield from _below(value, f"{key}.", writes=writes)
        elif isinstance(value, tuple):
            for index, item in enumerate(value):
                if isinstance(item, BaseModel):
                    yield from _below(item, f"{key}.{index}.", writes=writes)
        elif isinstance(value, Path):
            wrong = fault(value, _lies(field), writes=writes)
            if wrong:
                yield f"{key}: {wrong}"


def _lies(field: FieldInfo) -> Lies:
    """The mark of the path, which stands inside `… | None`. Without one anything may lie there."""
    marks = [*field.metadata]
    for part in getattr(field.annotation, "__args__", ()):
        marks += getattr(part, "__metadata__", ())
    return next((mark for mark in marks if isinstance(mark, Lies)), Lies(folder=None))


def fault(path: Path, wanted: Lies, *, writes: bool = True) -> str:
    """What is wrong with a path, or nothing."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if not wanted.ours:
            return f"there is no file {path}"
        return __fault_above(path, writes=writes)
    except (OSError, ValueError) as error:
        return f"{path} cannot be looked at: {_why(error)}"
    if wanted.folder and not stat.S_ISDIR(mode):
        return f"{path} is a file; a folder is needed"
    if wanted.folder is False and stat.S_ISDIR(mode):
        return f"{path} is a folder; a file is needed"
    if not wanted.ours or wanted.read_only:
        return "" if os.access(path, os.R_OK) else f"{path} must be readable for the user that runs axrad"
    return "" if not writes or _writable(path, mode) else f"{path} must be writable for the user that runs axrad"


def __fault_above(path: Path, *, writes: bool) -> str:
    """The nearest folder that is there must let us make what is missing."""
    above = path.absolute().parent
    while not above.exists():
        above = above.parent
    if not above.is_dir():
        return f"{path} cannot be made: {above} is a file"
    if writes and not _writable(above, stat.S_IFDIR):
        return f"{path} cannot be made: {above} must be writable for the user that runs axrad"
    return ""


def _writable(path: Path, mode: int) -> bool:
    """Root may do everything, but not on a file system without files of its own or one that is read-only."""
    if not os.access(path, os.W_OK | (os.X_OK if stat.S_ISDIR(mode) else 0)):
        return False
    return os.statvfs(path).f_files > 0 or os.statvfs(path).f_blocks > 0


def _why(error: OSError | ValueError) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "it is no path"
