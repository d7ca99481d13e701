"""What people see and do in the console, in the audit trail (PS3.15 A.5.3), with user, role and address.

Orders are in the trail as the commands that carry them out write them; here stands what no command knows of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any  # Any: values of JSON

from config.schema import Settings
from daemon import audit
from daemon.audit_trail.participants import ourselves

AUDIT_LOG_USED = ("110101", "Audit Log Used")
QUERY = ("110112", "Query")
USER_AUTHENTICATION = ("110114", "User Authentication")
LOGIN, LOGOUT = ("110122", "Login"), ("110123", "Logout")


@dataclass(frozen=True, slots=True)
class Person:
    """Who sits at the browser. `role` is empty where nobody is signed in yet."""

    user: str
    role: str
    address: str

    def participant(self) -> dict[str, Any]:
        return {
            "UserID": self.user or "unknown",
            "AlternativeUserID": f"ROLE={self.role}" if self.role else "",
            "UserIsRequestor": True,
            "NetworkAccessPointID": self.address,
            "NetworkAccessPointTypeCode": 2,
        }


def signed_in(settings: Settings, person: Person, why_not: str = "") -> None:
    """Somebody signed in, or could not."""
    outcome = audit.MINOR if why_not else audit.SUCCESS
    _record(settings, person, USER_AUTHENTICATION, "E", outcome, kind=LOGIN, detail=why_not)


def signed_out(settings: Settings, person: Person) -> None:
    _record(settings, person, USER_AUTHENTICATION, "E", audit.SUCCESS, kind=LOGOUT)


def viewed(settings: Settings, person: Person, page: str, study: audit.Study | None = None) -> None:
    """A page, a picture or a report was shown. A list of exams tells of no patient, and is a query."""
    what = audit.ACCESSED if study is not None else AUDIT_LOG_USED if page == "log" else QUERY
    _record(settings, person, what, "E" if what == QUERY else "R", audit.SUCCESS, study=study, page=page)


def refused(settings: Settings, person: Person, what: str, why: str = "not authorised") -> None:
    """Somebody wanted to see or do what the role does not allow, or sent what no page of ours sends."""
    _record(settings, person, audit.ALERT, "E", audit.MINOR, kind=audit.RESTRICTED_FUNCTION, detail=why, page=what)


def order_failed(settings: Settings, person: Person, action: str, study: audit.Study | None) -> None:
    """An order was given and not carried out; the command that failed has written nothing."""
    _record(settings, person, audit.PROCEDURE_RECORD, "U", audit.MINOR, study=study, detail="not done", page=action)


def _record(
    settings: Settings,
    person: Person,
    what: tuple[str, str],
    action: str,
    outcome: int,
    *,
    kind: tuple[str, str] | None = None,
    study: audit.Study | None = None,
    detail: str = "",
    page: str = "",
) -> None:
    who = [person.participant(), ourselves(settings, audit.APPLICATION)]
    message = audit.event(settings, what, action, outcome, who, study, kind)
    if detail:
        message["EventIdentification"]["EventOutcomeDescription"] = detail
    message["axrad"] = {**message.get("axrad", {}), "application": "console", **({"page": page} if page else {})}
    audit.record(settings, message)
