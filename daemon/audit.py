"""The audit trail: who was given, used, made and sent what, as DICOM's audit messages say it, one JSON line each.

Events, participants and codes are those of PS3.15 A.5, in the names of its XML schema. Objects are named by Study
Instance UID and SOP classes, never by patient: the archive that a UID leads to knows whose it is, and a trail that says
it again would have to be guarded like the archive. docs/operations.md says what that leaves out of the standard.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog

from config.schema import Settings
from daemon.metrics import counters

log = structlog.get_logger("axrad.audit")
Json = dict[str, Any]

# PS3.16 CID 400 and 402, D: code, meaning.
ACTIVITY = ("110100", "Application Activity")
ACCESSED = ("110103", "DICOM Instances Accessed")
TRANSFERRED = ("110104", "DICOM Instances Transferred")
PATIENT_RECORD = ("110110", "Patient Record")
ALERT = ("110113", "Security Alert")
START, STOP = ("110120", "Application Start"), ("110121", "Application Stop")
NODE_AUTHENTICATION = ("110126", "Node Authentication")
RESTRICTED_FUNCTION = ("110132", "Use of Restricted Function")
APPLICATION = ("110150", "Application")
DESTINATION, SOURCE = ("110152", "Destination Role ID"), ("110153", "Source Role ID")
STUDY_UID = ("110180", "Study Instance UID")
# EventOutcomeIndicator
SUCCESS, MINOR, SERIOUS = 0, 4, 8
# RFC 5424: facility 10 (security), severity 5 (notice) or 4 (warning).
PRIORITY = {SUCCESS: 85, MINOR: 84, SERIOUS: 84}
SYSLOG_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Study:
    """What the trail says of a study. `sop_classes`: instances by SOP class."""

    study_uid: str
    sop_classes: Mapping[str, int]
    study: str = ""
    revision: str = ""
    association: str = ""


# Events


def received(settings: Settings, study: Study, calling_ae: str, address: str, *, new: bool) -> None:
    """Instances were sent to us. `new`: we had none of them before."""
    record(
        settings,
        event(
            settings,
            TRANSFERRED,
            "C" if new else "R",
            SUCCESS,
            [peer(calling_ae, address, SOURCE, requestor=True), ourselves(settings, DESTINATION)],
            study,
        ),
    )


def refused_instances(
    settings: Settings, association: str, calling_ae: str, address: str, why: Mapping[str, int]
) -> None:
    """Instances were sent to us and refused, by reason."""
    participants = [peer(calling_ae, address, SOURCE, requestor=True), ourselves(settings, DESTINATION)]
    message = event(settings, TRANSFERRED, "C", SERIOUS, participants)
    message["EventIdentification"]["EventOutcomeDescription"] = ", ".join(f"{n} {r}" for r, n in sorted(why.items()))
    message["axrad"] = {"association": association, "refused": dict(why)}
    record(settings, message)


def refused_association(settings: Settings, calling_ae: str, address: str, reason: str) -> None:
    """Somebody wanted to connect and was not let in."""
    participants = [peer(calling_ae, address, SOURCE, requestor=True), ourselves(settings, DESTINATION)]
    message = event(settings, ALERT, "E", MINOR, participants, kind=NODE_AUTHENTICATION)
    message["EventIdentification"]["EventOutcomeDescription"] = reason
    record(settings, message)


def refused_right(settings: Settings, calling_ae: str, address: str, right: str) -> None:
    """Somebody who is let in wanted what `may` does not give it."""
    participants = [peer(calling_ae, address, SOURCE, requestor=True), ourselves(settings, DESTINATION)]
    message = event(settings, ALERT, "E", MINOR, participants, kind=RESTRICTED_FUNCTION)
    message["EventIdentification"]["EventOutcomeDescription"] = f"not authorised: {right}"
    record(settings, message)


def used(settings: Settings, study: Study) -> None:
    """The instances of a study were read to be analysed."""
    record(settings, event(settings, ACCESSED, "R", SUCCESS, [ourselves(settings, APPLICATION)], study))


def created(settings: Settings, study: Study) -> None:
    """Result objects were made."""
    record(settings, event(settings, ACCESSED, "C", SUCCESS, [ourselves(settings, APPLICATION)], study))


def patient_changed(settings: Settings, study: Study, *, followed: bool) -> None:
    """A study came again under another Patient ID; `followed`: it is from now on reported under that."""
    what = "reported under it from now on" if followed else "an operator has to decide"
    message = event(
        settings, PATIENT_RECORD, "U", SUCCESS if followed else MINOR, [ourselves(settings, APPLICATION)], study
    )
    message["EventIdentification"]["EventOutcomeDescription"] = f"came again under another Patient ID; {what}"
    record(settings, message)


def sent(settings: Settings, study: Study, ae_title: str, host: str, why_not: str = "") -> None:
    """Result objects were sent, or could not be."""
    participants = [ourselves(settings, SOURCE, requestor=True), peer(ae_title, host, DESTINATION)]
    message = event(settings, TRANSFERRED, "C", SERIOUS if why_not else SUCCESS, participants, study)
    if why_not:
        message["EventIdentification"]["EventOutcomeDescription"] = why_not
    record(settings, message)


def activity(settings: Settings, *, started: bool) -> None:
    """The receiving application starts or stops."""
    kind = START if started else STOP
    record(settings, event(settings, ACTIVITY, "E", SUCCESS, [ourselves(settings, APPLICATION)], kind=kind))


# Messages


def code(pair: tuple[str, str]) -> Json:
    return {"csd-code": pair[0], "codeSystemName": "DCM", "originalText": pair[1]}


def event(
    settings: Settings,
    what: tuple[str, str],
    action: str,
    outcome: int,
    participants: list[Json],
    study: Study | None = None,
    kind: tuple[str, str] | None = None,
) -> Json:
    """One audit message. `action`: Create, Read, Execute; `kind`: the event type code."""
    identification: Json = {
        "EventID": code(what),
        "EventActionCode": action,
        "EventDateTime": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "EventOutcomeIndicator": outcome,
    }
    if kind is not None:
        identification["EventTypeCode"] = code(kind)
    message: Json = {
        "EventIdentification": identification,
        "ActiveParticipant": participants,
        "AuditSourceIdentification": {
            "AuditSourceID": f"{settings.listen.ae_title}@{socket.gethostname()}",
            "AuditEnterpriseSiteID": settings.site.institution,
        },
    }
    if study is not None:
        message["ParticipantObjectIdentification"] = [_object(study)]
        message["axrad"] = {k: v for k in ("study", "revision", "association") if (v := getattr(study, k))}
    return message


def _object(study: Study) -> Json:
    """A study: system object (2) in the role of a report (3), as PS3.15 A.5.3 has it."""
    classes = [{"UID": uid, "NumberOfInstances": n} for uid, n in sorted(study.sop_classes.items())]
    return {
        "ParticipantObjectID": study.study_uid,
        "ParticipantObjectTypeCode": 2,
        "ParticipantObjectTypeCodeRole": 3,
        "ParticipantObjectIDTypeCode": code(STUDY_UID),
        "ParticipantObjectDescription": {"SOPClass": classes},
    }


def ourselves(settings: Settings, role: tuple[str, str], *, requestor: bool = False) -> Json:
    return {
        "UserID": str(os.getpid()),
        "AlternativeUserID": f"AETITLES={settings.listen.ae_title}",
        "UserIsRequestor": requestor,
        "RoleIDCode": code(role),
        "NetworkAccessPointID": socket.gethostname(),
        "NetworkAccessPointTypeCode": 1,
    }


def peer(ae_title: str, address: str, role: tuple[str, str], *, requestor: bool = False) -> Json:
    """Somebody else, by AE title and address (type 2: an IP address, 1: a name)."""
    try:
        kind = 2 if ip_address(address) else 1
    except ValueError:
        kind = 1
    return {
        "UserID": address or "local",
        "AlternativeUserID": f"AETITLES={ae_title}",
        "UserIsRequestor": requestor,
        "RoleIDCode": code(role),
        "NetworkAccessPointID": address or socket.gethostname(),
        "NetworkAccessPointTypeCode": kind,
    }


# Where they go


def trail_path(settings: Settings) -> Path:
    return settings.audit.path or settings.spool.path.parent / "audit.jsonl"


def record(settings: Settings, message: Json) -> None:
    """Append to the file with one write, and send to syslog. What fails is an error in the log; work goes on."""
    if not settings.audit.enabled:
        return
    line = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    try:
        _append(trail_path(settings), line.encode() + b"\n")
        if settings.audit.syslog is not None:
            outcome = message["EventIdentification"]["EventOutcomeIndicator"]
            _to_syslog(settings.audit.syslog, rfc5424(line, outcome))
    except OSError as error:
        counters.AUDIT_FAILURES.inc()
        log.error("audit-not-written", errno=error.errno)


def _append(path: Path, line: bytes) -> None:
    """Opened for each line, so that whoever rotates the file need not tell us."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


def rfc5424(line: str, outcome: int) -> bytes:
    """A syslog message (RFC 5424) with the JSON as its text."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = f"<{PRIORITY[outcome]}>1 {now} {socket.gethostname()} axrad {os.getpid()} AUDIT - "
    return head.encode("ascii", "replace") + b"\xef\xbb\xbf" + line.encode()


def _to_syslog(where: str, message: bytes) -> None:
    """A local socket takes datagrams; over TCP each message is preceded by its length (RFC 6587)."""
    if where.startswith("/"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix:
            unix.settimeout(SYSLOG_TIMEOUT_S)
            unix.sendto(message, where)
        return
    url = urlsplit(where)
    assert url.hostname is not None  # the schema sees to it
    assert url.port is not None
    if url.scheme == "tcp":
        with socket.create_connection((url.hostname, url.port), timeout=SYSLOG_TIMEOUT_S) as tcp:
            tcp.sendall(f"{len(message)} ".encode() + message)
        return
    family, _, _, _, address = socket.getaddrinfo(url.hostname, url.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.sendto(message, address)
