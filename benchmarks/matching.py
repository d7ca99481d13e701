"""Series and regions told by their names, scored on names that the rules were and were not written from.

Names labelled by other people and whole exams come from AXRAD_CASES (series/series_names_dev.csv and
series/whole_exams_dev.csv); names of our own collection lie with the tests (`OWN_NAMES`, and `REGION_LABELS` for
regions), half of them never looked at when rules are mended. `ours` is the part that is right, `reference` the goal.
The confusion matrices go to stderr.
"""

from __future__ import annotations

import csv
import hashlib
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from config.schema import SignatureSettings
from pipeline.analysis.signatures_in_use import Signatures
from pipeline.needs import Available, SignatureNeeds, answerable
from pipeline.records import ROLES, SEQUENCES, InstanceRef
from pipeline.records import Sequence as SequenceName
from pipeline.roi.describe import Description
from pipeline.roi.roles import role_of
from pipeline.roi.rules import load_rules
from pipeline.sequences.name_matching import NamedLabel, NamedSeries, match_names
from pipeline.sequences.name_table import read_rows
from pipeline.sequences.rules import rules

OWN_NAMES = Path(__file__).resolve().parent.parent / "tests" / "unit" / "pipeline" / "series_names.csv"
REGION_LABELS = OWN_NAMES.with_name("region_labels.csv")
REGION_LABELS_FOUND = OWN_NAMES.with_name("region_labels_found.csv")
# What a name that does not tell is labelled; such rows are not scored.
UNKNOWN = "unknown"

# The labels of the tables that matching does not tell apart, as it calls them.
COARSER = {
    "calibration": "other",
    "derived_other": "other",
    "mask": "other",
    "other_quantitative": "parametric_map",
    "t1_dixon_part": "other",
    "t2_dixon_part": "other",
}
NEVER_T1C = ("t1_pre", "subtraction", "mip", "localizer", "reformat")
T1C = ("t1_post", "t1_dynamic")
USABLE = {"t1c": T1C, "t2": ("t2", "t2_stir"), "adc": ("adc", "dwi")}


def cases() -> Path:
    """The folder of real series names."""
    default = Path(__file__).resolve().parent.parent.parent / "shared" / "cases"
    return Path(os.environ.get("AXRAD_CASES", default)) / "series"


def scored(path: Path) -> tuple[list[dict[str, str]], list[str], tuple[NamedLabel, ...]]:
    """The rows of a table, their true labels in our terms, and ours."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    truth = [COARSER.get(row["label"], row["label"]) for row in rows]
    return rows, truth, match_names(read_rows(path), rules())


@dataclass(frozen=True)
class OwnName:
    """One row of `OWN_NAMES` and the label that the rules give it."""

    name: str
    truth: str
    found: str
    seen_in: str
    language: str

    @property
    def closed(self) -> bool:
        """Whether the row belongs to the half that nobody mends rules by."""
        return int(hashlib.sha256(self.name.encode()).hexdigest()[0], 16) % 2 == 1

    @property
    def right(self) -> bool:
        return self.truth == self.found


def own_names() -> list[OwnName]:
    """The scored rows of our own names, with what the built-in rules take them for."""
    with OWN_NAMES.open(encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(line for line in file if not line.startswith("#")) if r["label"] != UNKNOWN]
    found = match_names([NamedSeries(r["vendor"], r["series_description"]) for r in rows], rules())
    return [
        OwnName(r["series_description"], r["label"], f.label, r["seen_in"], r["language"])
        for r, f in zip(rows, found, strict=True)
    ]


@dataclass(frozen=True)
class RegionLabel:
    """One row of `REGION_LABELS` and the role that the rules give it; "neither" is none."""

    name: str
    truth: str
    found: str
    why: str

    @property
    def closed(self) -> bool:
        """Whether the row belongs to the half that nobody mends rules by."""
        return int(hashlib.sha256(self.name.encode()).hexdigest()[0], 16) % 2 == 1

    @property
    def right(self) -> bool:
        return self.truth == self.found

    @property
    def wrong_role(self) -> bool:
        """A role where another or none is right. A role that was missed is no wrong one."""
        return self.found != "neither" and not self.right


def region_labels(table: Path = REGION_LABELS) -> list[RegionLabel]:
    """The names of regions with what the built-in rules take them for."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    rules, nowhere = load_rules(), InstanceRef("", "", "", "")
    found = [role_of(Description(Path(), nowhere, 1, row["label"]), rules) for row in rows]
    return [
        RegionLabel(row["label"], row["role"], told.role or "neither", told.why)
        for row, told in zip(rows, found, strict=True)
    ]


def _regions() -> Iterator[dict[str, object]]:
    labels = region_labels()
    halves = {"half that rules were mended by": False, "half never looked at": True}
    for title, closed in halves.items():
        group = [one for one in labels if one.closed == closed]
        yield _row(f"matching: regions, {title} ({len(group)})", sum(n.right for n in group) / len(group), 0.95)
        wrong = sum(n.wrong_role for n in group)
        yield _row(f"matching: regions, {title}, wrong roles", float(wrong), 0.0, "rows")
    print("\nregions, both halves: true role down, ours across", file=sys.stderr)
    print(confusion([n.truth for n in labels], [n.found for n in labels]), file=sys.stderr)


def _own() -> Iterator[dict[str, object]]:
    names = own_names()
    groups = {
        "half that rules were mended by": [n for n in names if not n.closed],
        "half never looked at": [n for n in names if n.closed],
        "half never looked at, from public code": [n for n in names if n.closed and n.seen_in == "code"],
        "half never looked at, not English": [n for n in names if n.closed and n.language != "en"],
    }
    for title, group in groups.items():
        yield _row(f"matching: own names, {title} ({len(group)})", sum(n.right for n in group) / len(group), 0.95)
    wrong = sum(n.truth in NEVER_T1C and n.found in T1C for n in names)
    yield _row("matching: own names, taken for T1+C and must never be", float(wrong), 0.0, "rows")
    closed = [n for n in names if n.closed]
    print("\nown names, half never looked at: true label down, ours across", file=sys.stderr)
    print(confusion([n.truth for n in closed], [n.found for n in closed]), file=sys.stderr)


def run() -> Iterator[dict[str, object]]:
    """One comparison per goal; only our own names where the tables are absent."""
    yield from _own()
    yield from _regions()
    names, exams = cases() / "series_names_dev.csv", cases() / "whole_exams_dev.csv"
    if not names.is_file() or not exams.is_file():
        print(f"no series names at {cases()}; set AXRAD_CASES", file=sys.stderr)
        return
    rows, truth, found = scored(names)
    independent = [row["independent"] == "True" for row in rows]
    right = [t == f.label for t, f in zip(truth, found, strict=True)]
    yield _row("matching: names, independent rows", _part(right, independent), 0.95)
    yield _row("matching: names, all rows", sum(right) / len(right), 0.90)
    wrong = sum(t in NEVER_T1C and f.label in T1C for t, f in zip(truth, found, strict=True))
    yield _row("matching: names, taken for T1+C and must never be", float(wrong), 0.0, "rows")
    matrices(rows, truth, found)
    rows, truth, found = scored(exams)
    for sequence, (good, of) in usable(rows, truth, found).items():
        yield _row(f"matching: whole exams with a usable {sequence}", good / of, 1.0)
    yield from _evaluable(rows, truth, found)


def _evaluable(
    rows: Sequence[dict[str, str]], truth: Sequence[str], found: Sequence[NamedLabel]
) -> Iterator[dict[str, object]]:
    """Exams by the signature that answers them, both regions being drawn: `ours` by what matching chooses, `reference`
    by the true labels. First by the sequences that there are, then by the signatures of the default settings."""
    ours, true = sequences_of_exams(rows, truth, found)
    order = Signatures.from_settings(SignatureSettings()).needs
    of_all = len(ours)
    for title, naming in (("having", _having), ("evaluable by", lambda there: _answering(order, there))):
        by_ours, by_truth = (Counter(naming(there) for there in exams) for exams in (ours, true))
        for name in sorted(by_ours | by_truth, key=lambda name: (-by_truth[name], name)):
            yield _row(f"matching: of {of_all} whole exams {title} {name}", by_ours[name], by_truth[name], "exams")


def _having(there: frozenset[SequenceName]) -> str:
    return " + ".join(name for name in SEQUENCES if name in there) or "none of the sequences"


def _answering(order: Sequence[SignatureNeeds], there: frozenset[SequenceName]) -> str:
    first = answerable(order, Available.of(there, ROLES)).first
    return first.name if first else "no signature"


def sequences_of_exams(
    rows: Sequence[dict[str, str]], truth: Sequence[str], found: Sequence[NamedLabel]
) -> tuple[list[frozenset[SequenceName]], list[frozenset[SequenceName]]]:
    """Which sequences each exam has: by what matching chooses, and by the true labels."""
    exams: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        exams[row["study_uid"]].append(index)
    ours = [frozenset(s for s in SEQUENCES if any(found[i].chosen == s for i in m)) for m in exams.values()]
    true = [frozenset(s for s in SEQUENCES if any(truth[i] in USABLE[s] for i in m)) for m in exams.values()]
    return ours, true


def usable(
    rows: Sequence[dict[str, str]], truth: Sequence[str], found: Sequence[NamedLabel]
) -> dict[str, tuple[int, int]]:
    """Per sequence: exams in which the chosen series is one, and exams that have one."""
    exams: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        exams[row["study_uid"]].append(index)
    counts = {}
    for sequence, labels in USABLE.items():
        having = [m for m in exams.values() if any(truth[i] in labels for i in m)]
        chosen = [[truth[i] for i in m if found[i].chosen == sequence] for m in having]
        counts[sequence] = (sum(len(c) == 1 and c[0] in labels for c in chosen), len(having))
    return counts


def confusion(truth: Sequence[str], found: Sequence[str]) -> str:
    """A matrix of counts as text: true labels down, ours across."""
    names = sorted({*truth, *found})
    counts = Counter(zip(truth, found, strict=True))
    width = max(len(n) for n in names) + 1
    shown = [n for n in names if any(counts[t, n] for t in names)]
    lines = ["".ljust(width) + " ".join(n[:9].rjust(9) for n in shown)]
    lines += [
        t.ljust(width) + " ".join((str(counts[t, n]) if counts[t, n] else ".").rjust(9) for n in shown)
        for t in names
        if any(counts[t, n] for n in shown)
    ]
    return "\n".join(lines)


def matrices(rows: Sequence[dict[str, str]], truth: Sequence[str], found: Sequence[NamedLabel]) -> None:
    """Print the confusion matrices to stderr."""
    for title, wanted in (("independent rows", ("True",)), ("all rows", ("True", "False"))):
        chosen = [i for i, row in enumerate(rows) if row["independent"] in wanted]
        print(f"\n{title}: true label down, ours across", file=sys.stderr)
        print(confusion([truth[i] for i in chosen], [found[i].label for i in chosen]), file=sys.stderr)


def main() -> None:
    """Print the scores for people, and the matrices."""
    for row in run():
        print(f"{row['name']:66} {row['ours']:.4f} (goal {row['reference']})")


def _part(right: Sequence[bool], wanted: Sequence[bool]) -> float:
    return sum(r for r, w in zip(right, wanted, strict=True) if w) / sum(wanted)


def _row(name: str, ours: float, goal: float, unit: str = "part right") -> dict[str, object]:
    return {
        "name": name,
        "ours": round(ours, 4),
        "reference": goal,
        "unit": unit,
        "ratio": round(ours / goal, 4) if goal else None,
        "max_rel_diff": None,
    }


if __name__ == "__main__":
    main()
