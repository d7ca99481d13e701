"""Descriptions and labels of headers go where retention removed the files, and what nobody reads goes everywhere."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

UNREAD = (
    "StationName", "InstitutionalDepartmentName", "RequestingService", "DerivationDescription", "ContentLabel",
    "ContentDescription", "StructureSetLabel", "ApprovalStatus",
)  # fmt: skip
WITH_THE_FILES = (
    "StudyDescription", "RequestedProcedureDescription", "PerformedProcedureStepDescription", "ReceiveCoilName",
)  # fmt: skip
ROWS_AT_ONCE = 1000

instances = sa.table("instances", sa.column("id"), sa.column("state"), sa.column("facts", sa.JSON))


def upgrade() -> None:
    connection = op.get_bind()
    one = instances.update().where(instances.c.id == sa.bindparam("instance")).values(facts=sa.bindparam("remaining"))
    last = 0
    while True:
        rows = connection.execute(
            sa.select(instances).where(instances.c.id > last).order_by(instances.c.id).limit(ROWS_AT_ONCE)
        ).all()
        if not rows:
            return
        last = rows[-1].id
        changed = [
            {"instance": row.id, "remaining": facts}
            for row in rows
            if isinstance(row.facts, dict) and (facts := _remaining(row.facts, gone=row.state == "purged")) != row.facts
        ]
        if changed:
            connection.execute(one, changed)


def _remaining(facts: dict[str, object], *, gone: bool) -> dict[str, object]:
    tags, segments = facts.get("tags"), facts.get("segments")
    remaining = dict(facts)
    if isinstance(tags, dict):
        without = (*UNREAD, *WITH_THE_FILES) if gone else UNREAD
        remaining["tags"] = {name: value for name, value in tags.items() if name not in without}
    if gone and isinstance(segments, list):
        remaining["segments"] = [{**segment, "label": ""} for segment in segments]
    return remaining
