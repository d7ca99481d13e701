"""The copy of a proposal that counts, once somebody stands for it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pydicom

from config.schema import Settings
from pipeline.catalog import put_acceptance
from pipeline.errors import InputRejected
from pipeline.roi.describe import describe
from pipeline.roi.roles import role_of
from pipeline.roi.rules import load_rules


def accepted_copy(
    proposal: Path, copy: Path, who: str, roles: Collection[str], settings: Settings, secret: bytes
) -> list[str]:
    """Write the proposal with the acceptance of its segments of these roles (none: all); their labels.

    Raises InputRejected where it has none of them.
    """
    ds = pydicom.dcmread(proposal)
    rules = load_rules(settings.roi.rules)
    described = describe(ds, proposal)
    wanted = [d for d in described if not roles or role_of(d, rules).role in roles]
    if not wanted:
        labels = ", ".join(d.label for d in described)
        raise InputRejected(f"nothing of this kind was proposed; there are: {labels}")
    put_acceptance(ds, who, "measured", (d.number for d in wanted), secret)
    ds.save_as(copy, enforce_file_format=True)
    return [d.label for d in wanted]
