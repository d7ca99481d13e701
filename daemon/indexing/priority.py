"""Which exams come first: by what their sender asked for, and by the site's word."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from config.schema import Settings, UrgentRule
from daemon.ledger.work_order import OF_C_STORE, ROUTINE, URGENT
from daemon.spool.journal import Entry
from pipeline.catalog import InstanceFacts


@dataclass(frozen=True, slots=True)
class Order:
    """The site's word on who comes first: rules that make exams urgent, and AE titles whose LOW is meant."""

    urgent: tuple[UrgentRule, ...] = ()
    low_is_meant: frozenset[str] = frozenset()

    @classmethod
    def of(cls, settings: Settings) -> Order:
        return cls(settings.work.urgent, frozenset(p.ae_title for p in settings.peer if p.low_is_meant))


def priority_of(entry: Entry, facts: InstanceFacts | None, order: Order) -> int:
    """What the sender asked for, or urgent where a rule of the site says so.

    LOW is the default of pynetdicom and of what is made with it, and so no wish unless the peer is known to mean it.
    """
    tags = facts.tags if facts is not None else {}

    def fits(pattern: str | None, value: object) -> bool:
        return pattern is None or fnmatchcase(str(value or "").strip().casefold(), pattern.casefold())

    for rule in order.urgent:
        if (
            fits(rule.calling_ae, entry.calling_ae)
            and fits(rule.station, tags.get("StationName"))
            and fits(rule.department, tags.get("InstitutionalDepartmentName"))
            and fits(rule.service, tags.get("RequestingService"))
        ):
            return URGENT
    wish = OF_C_STORE.get(entry.priority or 0, ROUTINE)
    return max(wish, ROUTINE) if entry.calling_ae not in order.low_is_meant else wish
