"""The kinds of object that a result is sent as, by the names of their files.

Segmentations are `union_tumor`, `union_nodes_l` and so on: one segment that unites those of a region; and `seg_t2`,
`seg_adc`: all regions as carried onto that sequence.

The objects of a result name each other, and destinations differ in the class of report that they take and in what they
took before. So there is a set of objects for each such case, named by the kind of its report and a number: `page~t1`
goes with a Basic Text SR whose predecessor is what the destinations of number 1 took. Objects of the first set have the
plain names of their kinds.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.records import Role, Sequence, Side

# Series numbers of revision 1; each later revision has ten more.
SERIES_NUMBERS = {"sr": 9901, "page": 9902, "pdf": 9903, "key_slices": 9904, "rejection": 9905}
SERIES_NUMBERS |= {"seg_t2": 9907, "seg_adc": 9908}
# The report in each of its classes, of which a destination takes one; `sr` is the class that `report` asks for.
REPORT_KINDS = ("sr", "sr_3d", "sr_comprehensive", "sr_enhanced", "sr_basic_text")
SERIES_NUMBERS |= dict.fromkeys(REPORT_KINDS, 9901)
UNION_SERIES = 9906
# The ledger has 16 characters for the name of an object.
_LETTERS = dict(zip(REPORT_KINDS, "sdcet", strict=True))
MOST_NUMBERS = 10
UNION_PREFIX, CARRIED_PREFIX = "union_", "seg_"


def series_number(kind: str, revision: int) -> int:
    """Another one for every revision, so that a study list tells them apart."""
    return SERIES_NUMBERS.get(kind, UNION_SERIES) + 10 * (max(1, revision) - 1)


def union_kind(role: Role, side: Side | None) -> str:
    """The kind of the segmentation that unites the segments of a region."""
    return f"{UNION_PREFIX}{'nodes' if role == 'lymph_nodes' else role}" + (f"_{side.lower()}" if side else "")


def carried_kind(sequence: Sequence) -> str:
    """The kind of the segmentation that holds the regions as carried onto a sequence."""
    return f"{CARRIED_PREFIX}{sequence}"


def asked_as(kind: str) -> str:
    """The entry of `what` that a kind goes with: a report takes along the union that it refers to."""
    if kind in REPORT_KINDS or kind.startswith(UNION_PREFIX):
        return "sr"
    return "seg" if kind.startswith(CARRIED_PREFIX) else kind


def member(kind: str, report: str, number: int) -> str:
    """The name of an object: its kind, in the set of the report of the kind `report`."""
    if kind in REPORT_KINDS:
        return f"sr~{_LETTERS[report]}{number}" if number else report
    return f"{kind}~{_LETTERS[report]}{number}" if number or report != "sr" else kind


def parts_of(name: str) -> tuple[str, str, int]:
    """Kind, report and number of an object's name: what `member` was given."""
    kind, _, place = name.partition("~")
    if not place:
        return kind, kind if kind in REPORT_KINDS else "sr", 0
    report = next(kind for kind, letter in _LETTERS.items() if letter == place[0])
    return report if kind == "sr" else kind, report, int(place[1:])


def kind_of(name: str) -> str:
    return parts_of(name)[0]


def members(names: Iterable[str], report: str, number: int) -> dict[str, str]:
    """Name by kind of what is in a set. Earlier versions wrote what goes along with a report once for every class."""
    there = dict.fromkeys(names)
    names_by_kind = {}
    for kind in dict.fromkeys(map(kind_of, there)):
        name = member(kind, report, number)
        if kind in REPORT_KINDS and kind != report:
            continue
        if name in there:
            names_by_kind[kind] = name
        elif number == 0 and kind in there:
            names_by_kind[kind] = kind
    return names_by_kind
