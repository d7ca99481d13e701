"""The audit trail: who was given, used, made and sent what, as DICOM's audit messages say it, one JSON line each.

Events, participants and codes are those of PS3.15 A.5, in the names of its XML schema. Objects are named by Study
Instance UID and SOP classes, and by patient only where `audit.patients` asks for it: the archive that a UID leads to
knows whose it is, and a trail that says it again has to be guarded like the archive.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any  # Any: values of JSON

import structlog

from config.schema import Settings
from daemon.audit_trail import chain, syslog
from daemon.audit_trail.participants import code, operator, ourselves, peer
from daemon.audit_trail.refusal_floods import Floods
from daemon.metrics import counters

log = structlog.get_logger("axrad.audit")
Json = dict[str, Any]

# PS3.16 CID 400 and 402, D: code, meaning.
ACTIVITY = ("110100", "Application Activity")
ACCESSED = ("110103", "DICOM Instances Accessed")
TRANSFERRED = ("110104", "DICOM Instances Transferred")
EXPORT, IMPORT = ("110106", "Export"), ("110107", "Import")
PATIENT_RECORD = ("110110", "Patient Record")
PROCEDURE_RECORD = ("110111", "Procedure Record")
ALERT = ("110113", "Security Alert")
START, STOP = ("110120", "Application Start"), ("110121", "Application Stop")
NODE_AUTHENTICATION = ("110126", "Node Authentication")
SOFTWARE_CONFIGURATION = ("110131", "Software Configuration")
USER_SECURITY_CHANGED = ("110137", "User Security Attributes Changed")
RESTRICTED_FUNCTION = ("110132", "Use of Restricted Function")
APPLICATION = ("110150", "Application")
DESTINATION, SOURCE = ("110152", "Destination Role ID"), ("110153", "Source Role ID")
STUDY_UID = ("110180", "Study Instance UID")
# What an order of an operator is in DICOM's terms: event, action, event type. All others change a procedure's record.
OPERATOR_EVENTS: Mapping[str, tuple[tuple[str, str], str, tuple[str, str] | None]] = {
    "accept-identity": (PATIENT_RECORD, "U", None),
    "backup": (EXPORT, "R", None),
    "restore": (IMPORT, "C", None),
    "feedback-import": (IMPORT, "C", None),
    "activate": (ALERT, "E", SOFTWARE_CONFIGURATION),
    "trust": (ALERT, "E", SOFTWARE_CONFIGURATION),
    "site-key-lost": (ALERT, "E", SOFTWARE_CONFIGURATION),
    "console-user": (ALERT, "E", USER_SECURITY_CHANGED),
    "configure": (ALERT, "E", SOFTWARE_CONFIGURATION),
}
# EventOutcomeIndicator
SUCCESS, MINOR, SERIOUS = 0, 4, 8
_floods = Floods()


@dataclass(frozen=True, slots=True)
class Study:
    """What the trail says of a study. `sop_classes`: instances by SOP class; `patient_id`: empty unless asked for."""

    study_uid: str
    sop_classes: Mapping[str, int]
    study: str = ""
    revision: str = ""
    association: str = ""
    patient_id: str = ""


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
    _refused(settings, calling_ae, address, reason, NODE_AUTHENTICATION)


def refused_right(settings: Settings, calling_ae: str, address: str, right: str) -> None:
    """Somebody who is let in wanted what `may` does not give it."""
    _refused(settings, calling_ae, address, f"not authorised: {right}", RESTRICTED_FUNCTION)


def refused_share(settings: Settings, address: str, reason: str) -> None:
    """Somebody asked for what the spool shares with workers, and was not let in."""
    _refused(settings, "", address, reason, NODE_AUTHENTICATION, {"endpoint": "share"})


def _refused(
    settings: Settings,
    calling_ae: str,
    address: str,
    reason: str,
    kind: tuple[str, str],
    of_ours: Mapping[str, str] | None = None,
) -> None:
    """One by one as far as that helps; of a flood, that there is one, and how many refusals it was."""
    answer = _floods.answer((address, reason, kind[0]), time.monotonic())
    if not (answer.written or answer.alert):
        return
    participants = [peer(calling_ae, address, SOURCE, requestor=True), ourselves(settings, DESTINATION)]
    message = event(settings, ALERT, "E", SERIOUS if answer.alert else MINOR, participants, kind=kind)
    text = f"refusals-flood: {reason}; further ones are counted" if answer.alert else reason
    more = f" ({answer.before} more before, not written one by one)" if answer.before else ""
    message["EventIdentification"]["EventOutcomeDescription"] = text + more
    if of_ours is not None:
        message["axrad"] = dict(of_ours)
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


def activity(settings: Settings, *, started: bool, application: str = "listen") -> None:
    """A process of axrad starts or stops; `application`: its command."""
    who = [ourselves(settings, APPLICATION)]
    message = event(settings, ACTIVITY, "E", SUCCESS, who, kind=START if started else STOP)
    message["axrad"] = {"application": application}
    record(settings, message)


@contextmanager
def running(settings: Settings, application: str) -> Iterator[None]:
    """The start and the stop of a process, around its work."""
    activity(settings, started=True, application=application)
    try:
        yield
    finally:
        activity(settings, started=False, application=application)


def operator_action(settings: Settings, action: str, study: Study | None = None, detail: str = "") -> None:
    """A person gave an order on the command line. `action`: its word, a key of OPERATOR_EVENTS."""
    _order(settings, action, [operator(APPLICATION)], study, detail)


def assessment_taken(settings: Settings, action: str, study: Study, detail: str) -> None:
    """A report of another system had the effect of an operator's order. `detail`: which report, and who sent it."""
    _order(settings, action, [], study, detail)


def _order(settings: Settings, action: str, by: list[Json], study: Study | None, detail: str) -> None:
    what, verb, kind = OPERATOR_EVENTS.get(action, (PROCEDURE_RECORD, "U", None))
    message = event(settings, what, verb, SUCCESS, [*by, ourselves(settings, APPLICATION)], study, kind)
    if detail:
        message["EventIdentification"]["EventOutcomeDescription"] = detail
    message["axrad"] = {**message.get("axrad", {}), "action": action}
    record(settings, message)


def alert(settings: Settings, reason: str) -> None:
    """Something that only an attack or damage explains."""
    message = event(settings, ALERT, "E", SERIOUS, [ourselves(settings, APPLICATION)], None, RESTRICTED_FUNCTION)
    message["EventIdentification"]["EventOutcomeDescription"] = reason
    record(settings, message)


# Messages


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
        patient = [_patient(study)] if settings.audit.patients and study.patient_id else []
        message["ParticipantObjectIdentification"] = [_object(study), *patient]
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


def _patient(study: Study) -> Json:
    """A person (1) in the role of the patient (1), by Patient Number, RFC 3881's code 2."""
    kind = {"csd-code": "2", "codeSystemName": "RFC-3881", "originalText": "Patient Number"}
    roles = {"ParticipantObjectTypeCode": 1, "ParticipantObjectTypeCodeRole": 1}
    return {"ParticipantObjectID": study.patient_id, **roles, "ParticipantObjectIDTypeCode": kind}


# Where they go


def trail_path(settings: Settings) -> Path:
    return settings.audit.path or settings.spool.path.parent / "audit.jsonl"


def record(settings: Settings, message: Json) -> None:
    """Append to the file, and send to syslog, each also where the other fails. Work goes on after a failure."""
    if not settings.audit.enabled:
        return
    line = chain.text_of(message)
    try:
        line = chain.append(trail_path(settings), message)
    except OSError as error:
        _failed("file", error)
    if settings.audit.syslog is not None:
        try:
            syslog.send(settings.audit, syslog.rfc5424(line, message["EventIdentification"]["EventOutcomeIndicator"]))
        except OSError as error:
            _failed("syslog", error)


def _failed(where: str, error: OSError) -> None:
    counters.AUDIT_FAILURES.inc()
    log.error("audit-not-written", where=where, errno=error.errno)
