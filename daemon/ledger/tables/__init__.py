"""The tables. Times are seconds since 1970 (UTC) as doubles; ids that leave the ledger are opaque strings.

No column holds a patient's name, birth date or id: `patient_key` is a digest, under the site's key.

A change here needs its field in `daemon/ledger/rows.py` and a step in `daemon/ledger/migrations/versions`; tests
compare them.
"""

from __future__ import annotations

from daemon.ledger.tables.archives import fetches, pacs_answers
from daemon.ledger.tables.columns import metadata
from daemon.ledger.tables.exams import (
    accessions,
    comparisons,
    copies,
    instances,
    open_associations,
    packed_exams,
    packed_series,
    revisions,
    roi_references,
    studies,
)
from daemon.ledger.tables.proposals import proposals
from daemon.ledger.tables.records import (
    audit_anchors,
    chores,
    events,
    feedback,
    installation,
    journal_positions,
    set_aside,
    signs_of_life,
    site_key,
    spools,
    tallies,
)
from daemon.ledger.tables.sending import breakers, commitments, deliveries, report_classes, sent_objects

__all__ = [
    "accessions",
    "audit_anchors",
    "breakers",
    "chores",
    "commitments",
    "comparisons",
    "copies",
    "deliveries",
    "events",
    "feedback",
    "fetches",
    "installation",
    "instances",
    "journal_positions",
    "metadata",
    "open_associations",
    "packed_exams",
    "packed_series",
    "pacs_answers",
    "proposals",
    "report_classes",
    "revisions",
    "roi_references",
    "sent_objects",
    "set_aside",
    "signs_of_life",
    "site_key",
    "spools",
    "studies",
    "tallies",
]
