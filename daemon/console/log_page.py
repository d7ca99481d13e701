"""The log of actions: the last lines of the audit trail, what people saw and ordered first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any  # Any: values of JSON

from starlette.responses import Response

from daemon.audit import trail_path
from daemon.console.visit import Visit

# So much of the trail's end is looked at, and so many lines of it are shown.
LAST_BYTES, MOST_LINES = 1 << 20, 200


def log(visit: Visit) -> Response:
    """What people did: those events whose requestor is a person; or all (`all=1`)."""
    everything = "all" in visit.query
    events = []
    for message in _last(trail_path(visit.settings)):
        event = _event(message)
        if event is not None and (everything or event["by_person"]):
            events.append(event)
        if len(events) == MOST_LINES:
            break
    visit.viewed("log")
    return visit.render("log.html", section="log", events=events, everything=everything)


def _last(path: Path) -> Iterator[dict[str, Any]]:
    """Messages from the end of the trail, the newest first; what is no message is passed over."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - LAST_BYTES))
            lines = file.read(LAST_BYTES).splitlines()
    except OSError:
        return
    for line in reversed(lines[1:] if size > LAST_BYTES else lines):
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(message, dict):
            yield message


def _event(message: dict[str, Any]) -> dict[str, Any] | None:
    try:
        identification = message["EventIdentification"]
        who = next(p for p in message["ActiveParticipant"] if p.get("UserIsRequestor"))
        ours = message.get("axrad", {})
        kind = identification.get("EventTypeCode") or identification["EventID"]
        return {
            "at": str(identification["EventDateTime"])[:19].replace("T", " "),
            "what": str(ours.get("action") or ours.get("page") or kind["originalText"]),
            "kind": str(kind["originalText"]),
            "user": str(who["UserID"]),
            "as": str(who.get("AlternativeUserID", "")),
            "from": str(who.get("NetworkAccessPointID", "")),
            "study": str(ours.get("study", "")),
            "detail": str(identification.get("EventOutcomeDescription", "")),
            "ok": identification.get("EventOutcomeIndicator") == 0,
            "by_person": "action" in ours or ours.get("application") == "console",
        }
    except (KeyError, TypeError, StopIteration, AttributeError):
        return None
