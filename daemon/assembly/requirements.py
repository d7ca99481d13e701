"""What an exam needs before it is analysed: it follows from what the signatures in use read.

A region is waited for where `assembly.require_rois` names it; a sequence only for a while, once an answer is possible
without it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from config.schema import Assembly, Settings
from daemon.assembly.rois import recognise
from pipeline.catalog import Exam
from pipeline.needs import Available, SignatureNeeds, answerable
from pipeline.records import ROLES, SEQUENCES, Role
from pipeline.records import Sequence as SequenceName
from pipeline.roi.rules import load_rules
from pipeline.sequences import Match

# Codes of sequence matching that do not end in the sequence they are about.
ABOUT: dict[str, SequenceName] = {
    "phase-missing": "t1c",
    "roi-on-other-series": "t1c",
    "roi-on-several-series": "t1c",
    "b-values-missing": "adc",
    "dwi-incomplete": "adc",
}


@dataclass(frozen=True, slots=True)
class There:
    """The sequences and regions of an exam, by its headers. What is ambiguous counts: waiting would not resolve it."""

    sequences: frozenset[SequenceName]
    roles: frozenset[Role]

    @property
    def available(self) -> Available:
        return Available.of(sorted(self.sequences), sorted(self.roles))

    def lacking(self, needs: SignatureNeeds) -> frozenset[str]:
        """Names of sequences and regions that a signature reads and that are not here."""
        return (needs.sequences - self.sequences) | (needs.roles - self.roles)


@dataclass(frozen=True, slots=True)
class Requirements:
    """What an exam has and lacks, by names of sequences (`t2`) and regions (`tumor`).

    `asked`: the signature that answers with what is here; None where none can. `missing`: without these there is no
    answer, or the site wants none. `preferred_sequences`, `preferred_regions`: with these a better answer is possible.
    `lacked`: of what the first signature in the written order reads.
    """

    asked: SignatureNeeds | None
    missing: tuple[str, ...]
    preferred_sequences: tuple[SequenceName, ...] = ()
    preferred_regions: tuple[Role, ...] = ()
    lacked: tuple[str, ...] = ()


def what_is_there(content: Exam, matched: Match, settings: Settings) -> There:
    """What this exam has, whether or not a signature reads it."""
    rules = load_rules(settings.roi.rules)
    recognised = [recognise(roi, segment, rules) for roi in content.rois for segment in roi.segments]
    unclear = any(r.unclear for r in recognised)
    roles = frozenset(role for role in ROLES if unclear or any(r.role == role for r in recognised))
    return There(frozenset(name for name in SEQUENCES if not why_absent(matched, name)), roles)


def why_absent(matched: Match, name: SequenceName) -> list[tuple[str, str]]:
    """Code and sentence of each reason why a sequence is not here; nothing where it is here or ambiguous."""
    if name in matched.chosen:
        return []
    codes = zip(matched.codes, matched.reasons, strict=True)
    reasons = [(code, text) for code, text in codes if ABOUT.get(code, code.rsplit("-", 1)[-1]) == name]
    return [] if any(code.startswith("ambiguous") for code, _ in reasons) else reasons


def requirements(there: There, in_use: tuple[SignatureNeeds, ...], wait: Assembly) -> Requirements:
    """What the exam still needs, by the signatures in use and the site's settings."""
    asked = answerable(in_use, there.available).first
    ordered = sorted(in_use, key=lambda needs: needs.rank)
    regions = {role for role in wait.require_rois if role not in there.roles}
    needed: set[str] = {name for name in wait.require_sequences if name not in there.sequences}
    if asked is None or wait.prefer_regions_s is None:
        needed |= regions
    lacked = _in_order(there.lacking(ordered[0])) if ordered else ()
    if asked is None:
        nearest = min(ordered, key=lambda needs: len(there.lacking(needs)), default=None)
        needed |= there.lacking(nearest) if nearest is not None else set()
        return Requirements(None, _in_order(needed), lacked=lacked)
    higher = [there.lacking(needs) for needs in ordered if needs.rank < asked.rank]
    wanted = {name for names in higher if names <= {*SEQUENCES, *regions} for name in names} - needed
    return Requirements(
        asked,
        _in_order(needed),
        tuple(name for name in SEQUENCES if name in wanted),
        tuple(role for role in ROLES if role in regions - needed),
        lacked,
    )


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in (*SEQUENCES, *ROLES) if name in set(names))
