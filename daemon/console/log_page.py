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
    events = last_events(trail_path(visit.settings), everything=everything)
    visit.viewed("log")
    return visit.render("log.html", section="log", events=events, everything=everything)


def last_events(path: Path, *, everything: bool) -> list[dict[str, Any]]:
    """Events from the end of the trail, the newest first; those alike in a row are one, `times` says of how many."""
    events: list[dict[str, Any]] = []
    for message in _last(path):
        event = _event(message)
        if event is None or not (everything or event["by_person"]):
            continue
        if events and all(events[-1][key] == value for key, value in event.items() if key != "at"):
            events[-1]["times"] += 1
            continue
        if len(events) == MOST_LINES:
            break
        events.append(event | {"times": 1})
    return events


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
