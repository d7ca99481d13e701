"""Candidates for T2 and ADC held against where the exam's regions lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from pipeline.catalog import Selection
from pipeline.sequences.candidates import Candidate, Chosen, pick, without_fragments
from pipeline.sequences.evidence import Evidence
from pipeline.sequences.phases import usable
from pipeline.sequences.records import Region
from pipeline.sequences.series_position import Box, box_of, coverage, covered, same_place
from pipeline.sequences.slices import Slice

# A candidate that shows less of the regions than this is none.
LEAST_COVERED = 0.5
# What covers this part of T1+C covers whatever was drawn on it.
COVERS_WHOLE = 0.98
# A series with fewer than this part of the slices of another one in its place is a fragment of it: a trial, a repeat
# that was stopped, a few slices kept by hand.
FRAGMENT = 1 / 3
# What full coverage of the regions is worth, in points.
REGION_POINTS = 0.2


@dataclass(frozen=True)
class Placed:
    """A candidate with the slices that it reads, each position once or more."""

    candidate: Candidate
    evidence: Evidence
    slices: tuple[Slice, ...]

    @property
    def places(self) -> int:
        return len({s.position_mm for s in self.slices})

    @cached_property
    def box(self) -> Box | None:
        """Where the slices lie."""
        return box_of(self.evidence, self.slices)

    @property
    def where(self) -> str:
        return f"series {self.evidence.uid} ({self.evidence.name!r})"


def choose(
    title: str, sequence: str, placed: Sequence[Placed], t1c: Evidence | None, region: Region | None, margin: float
) -> Chosen:
    """The best candidate, weighed by how much of the regions it shows.

    Without `region` the candidates between which it would decide are the choice's `contenders`: where the best one may
    not show all that T1+C shows.
    """
    whole, reasons = _without_fragments(sequence, placed)
    last = _latest_of_repeats(whole)
    if region is None:
        chosen = pick(title, sequence, [p.candidate for p in last], margin)
        contenders = _contenders(last, t1c)
    else:
        showing, uncovered = _showing(sequence, last, region)
        reasons += uncovered
        if last and not showing:
            return Chosen(None, tuple(reasons))
        chosen, contenders = pick(title, sequence, showing, margin), ()
    return Chosen(chosen.selection, (*(() if chosen.selection else reasons), *chosen.reasons), contenders)


def _contenders(last: Sequence[Placed], t1c: Evidence | None) -> tuple[Selection, ...]:
    if len(last) < 2 or t1c is None:
        return ()
    best = max(last, key=lambda p: p.candidate.score)
    if (coverage(best.evidence, t1c) or 0.0) >= COVERS_WHOLE:
        return ()
    return tuple(p.candidate.of for p in last)


def _showing(sequence: str, last: Sequence[Placed], region: Region) -> tuple[list[Candidate], list[tuple[str, str]]]:
    """The candidates that show the regions, and why others do not."""
    showing: list[Candidate] = []
    reasons: list[tuple[str, str]] = []
    for one in last:
        part = covered(one.evidence, one.slices, region)
        if part is not None and part < LEAST_COVERED:
            reasons.append((f"not-covering-{sequence}", f"{one.where} shows {part:.0%} of the regions"))
            continue
        if part is None:
            showing.append(one.candidate)
            continue
        selection = one.candidate.of
        selection = replace(selection, why=f"{selection.why}, shows {part:.0%} of the regions")
        showing.append(Candidate(round(one.candidate.score + REGION_POINTS * part, 3), selection))
    return showing, reasons


def _without_fragments(sequence: str, placed: Sequence[Placed]) -> tuple[list[Placed], list[tuple[str, str]]]:
    """Series that are no short twin of another candidate, and a sentence for each that is."""
    whole, fragments = without_fragments(placed, _is_fragment)
    return whole, [
        (f"fragment-{sequence}", f"{mine.where} holds {mine.places} of the {twin.places} slices that {twin.where} has")
        for mine, twin in fragments
    ]


def _is_fragment(mine: Placed, other: Placed) -> bool:
    return mine.places < FRAGMENT * other.places and same_place(mine.box, other.box)


def _latest_of_repeats(placed: Sequence[Placed]) -> list[Placed]:
    """Of series with one name on one grid in one place, the last: a scan is repeated because the first was not good."""
    last: list[tuple[object, Box | None, Placed]] = []
    for one in sorted(placed, key=lambda p: (p.evidence.start_s or 0.0, p.evidence.series_number)):
        mine = one.evidence
        kind, box = (mine.name, mine.grid[:3], mine.places, usable(mine.slices)[0]), box_of(mine)
        last = [earlier for earlier in last if not (earlier[0] == kind and same_place(earlier[1], box))]
        last.append((kind, box, one))
    return [one for _, _, one in last]
