"""The copy of a proposal that holds a word on it, and what its segments are."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

import pydicom

from config.schema import Settings
from daemon.spool import JournalWriter, Spool
from pipeline.catalog import Word, put_acceptance
from pipeline.catalog.acceptance import good_numbers
from pipeline.errors import InputRejected
from pipeline.records import Role
from pipeline.roi.describe import describe
from pipeline.roi.roles import role_of
from pipeline.roi.rules import load_rules

# In the results folder of a proposal.
FILE = "proposal.dcm"
# The calling AE title of what this installation put there itself.
_BROUGHT_BY: dict[Word, str] = {"accepted": "ACCEPT", "preliminary": "PROPOSE", "rejected": "REJECT"}


def segments_of(proposal: Path, roles: Collection[str], settings: Settings) -> dict[int, str]:
    """Numbers and labels of the segments of a proposal that are of these roles (none: all).

    Raises InputRejected where it has none of them.
    """
    rules = load_rules(settings.roi.rules)
    described = describe(pydicom.dcmread(proposal, stop_before_pixels=True), proposal)
    wanted = {d.number: d.label for d in described if not roles or role_of(d, rules).role in roles}
    if not wanted:
        labels = ", ".join(d.label for d in described)
        raise InputRejected(f"nothing of this kind was proposed; there are: {labels}")
    return wanted


def kinds_of(proposal: Path, settings: Settings) -> dict[int, str]:
    """The role of each segment by its number; empty where the rules of roles know none."""
    rules = load_rules(settings.roi.rules)
    described = describe(pydicom.dcmread(proposal, stop_before_pixels=True), proposal)
    return {d.number: role_of(d, rules).role or "" for d in described}


def proposed_roles(proposal: Path, settings: Settings) -> frozenset[Role]:
    """What its segments are."""
    rules = load_rules(settings.roi.rules)
    described = describe(pydicom.dcmread(proposal, stop_before_pixels=True), proposal)
    return frozenset(role for d in described if (role := role_of(d, rules).role) is not None)


def good_segments(proposal: Path, settings: Settings) -> list[int]:
    """The segments that a preliminary result may be made of: those of a tumour, or of lymph nodes, all of which are of
    quality good.
    """
    ds = pydicom.dcmread(proposal, stop_before_pixels=True)
    good = good_numbers(ds)
    rules = load_rules(settings.roi.rules)
    roles = {d.number: role_of(d, rules).role for d in describe(ds, proposal)}
    doubtful = {role for number, role in roles.items() if number not in good}
    return [number for number, role in roles.items() if role not in doubtful]


def put_word(spool: Spool, proposal: Path, by: Mapping[int, str], secret: bytes, word: Word = "accepted") -> None:
    """Put the copy of a proposal that holds a word on some of its segments into the spool. `by`: whose word on each."""
    with tempfile.TemporaryDirectory(dir=spool.root) as folder:
        copy = Path(folder) / FILE
        copy_with_word(proposal, copy, by, secret, word)
        journal = JournalWriter(spool.journal, _BROUGHT_BY[word], "local")
        try:
            spool.ingest_file(copy, journal)
        finally:
            journal.close("released")


def copy_with_word(proposal: Path, copy: Path, by: Mapping[int, str], secret: bytes, word: Word = "accepted") -> None:
    ds = pydicom.dcmread(proposal)
    origins = {d.number: d.proposed_origin for d in describe(ds, proposal)}
    # All regions of one proposal are made in one way.
    put_acceptance(ds, by, origins[min(by)], secret, word)
    ds.save_as(copy, enforce_file_format=True)
