"""What a message must be to be worked on. The ledger is the queue of record: a message that is refused loses nothing.

A message names a task and one opaque id, and tells in a header which version of this convention it follows; one
without the header is of the first. Tasks that a worker does not know are refused by Celery itself, in the same way.
"""

from __future__ import annotations

import re
from typing import Any

import structlog

from daemon.work.failure import TaskFailed

log = structlog.get_logger("axrad.work")
VERSION = 1
HEADER = "axrad_message"
HEADERS = {HEADER: VERSION}
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


# Any: a request of Celery, which ships no types.
def check(request: Any, row_id: object) -> None:
    """Raises TaskFailed, with a line in the log that says why, for what this version cannot read."""
    version = (getattr(request, "headers", None) or {}).get(HEADER) or request.get(HEADER) or 1
    if not isinstance(version, int) or version > VERSION:
        log.error("message-refused", why=f"it is of version {version}, made by a newer axrad; this one reads {VERSION}")
        raise TaskFailed("message-too-new", "")
    if not isinstance(row_id, str) or not _ID.fullmatch(row_id):
        log.error("message-refused", why="it does not name one opaque id")
        raise TaskFailed("message-malformed", "")
