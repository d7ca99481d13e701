"""Answers that prove nothing, settled by a look at what the destination holds.

A status "exists already" comes after a lost answer, and as well where something else has our UID. An answer to STOW-RS
that names nothing comes from archives that stored, and from a login page. The object itself tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog

from config.schema import Destination
from daemon.export import stow
from daemon.export.association import Address
from daemon.export.send_outcome import Sent
from daemon.export.statuses import EXISTS, EXISTS_ALREADY, Content
from daemon.fetch import archive_copy
from pipeline.errors import ExamRejected, TryLater

log = structlog.get_logger("axrad.deliver")


def settle_unproven(destination: Destination, address: Address, sent: Sequence[Sent]) -> tuple[Sent, ...]:
    """`sent` with a `content` for each answer that proves nothing; unchanged where it cannot be queried."""
    return tuple(
        _settle(destination, address, one) if one.status in EXISTS_ALREADY or one.content == Content.UNNAMED else one
        for one in sent
    )


def _settle(destination: Destination, address: Address, one: Sent) -> Sent:
    unnamed = one.content == Content.UNNAMED
    try:
        finding = archive_copy.compare_with_archive(address, one.item)
        if finding == "unknown" and unnamed:
            # Nobody says that it was stored: at least it must be listed.
            finding = "unknown" if stow.listed(address, [one]) else "absent"
    except (TryLater, ExamRejected) as error:
        log.warning("not-settled", destination=destination.name, kind=one.item.kind, code=error.code)
        answer = one.answer or f"status 0x{one.status or 0:04X} (exists already)"
        return replace(
            one, status=None, content=Content.UNNAMED, answer=f"{answer}; asked for the object: {error.code}"
        )
    if finding == "absent":
        return one if unnamed else replace(one, content=Content.ABSENT)
    content = {"equal": Content.EQUAL, "other": Content.OTHER, "unknown": Content.UNCHECKED}[finding]
    return replace(one, status=EXISTS, content=content)
