"""Whether an audit trail is as it was written: nothing changed, missing, added or in another order."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from daemon.audit_trail.chain import NOTHING, Link, link_of, state_path


@dataclass
class Verdict:
    """What was found. `first`, `last`: the lines of each trail; `unchained`: lines of no chain."""

    lines: int = 0
    unchained: int = 0
    first: dict[str, int] = field(default_factory=dict)
    last: dict[str, Link] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def files_of_trail(path: Path) -> list[Path]:
    """The file and those that were rotated away beside it, the oldest lines first."""
    rotated = [*path.parent.glob(f"{path.name}.*"), *path.parent.glob(f"{path.name}-*")]
    files = [p for p in (path, *rotated) if p.is_file() and p.suffix not in (".chain", ".settings")]
    return sorted(files, key=_first_number)


def verify(files: Sequence[Path], recorded: Iterable[Link]) -> Verdict:
    """Follow the chain through the files, in this order, and compare it with what was recorded of it elsewhere."""
    verdict = Verdict()
    known = list(recorded)
    wanted = {(link.trail, link.number) for link in known}
    digests: dict[tuple[str, int], str] = {}
    for path in files:
        for number, line in enumerate(_lines(path, verdict), 1):
            verdict.lines += 1
            link = _link(line, f"{path.name}, line {number}", verdict)
            if link is not None and (link.trail, link.number) in wanted:
                digests[link.trail, link.number] = link.digest
    for link in known:
        _compare(link, digests, verdict)
    return verdict


def _link(line: bytes, place: str, verdict: Verdict) -> Link | None:
    try:
        link = link_of(line)
    except ValueError:
        verdict.faults.append(f"{place}: no audit message, or a part of one")
        return None
    if link is None:
        if verdict.last:
            verdict.faults.append(f"{place}: a line that axrad did not write here (it is not in the chain)")
        verdict.unchained += 1
        return None
    before = verdict.last.get(link.trail)
    if before is None:
        _begin(link, place, verdict)
    elif link.number > before.number + 1:
        verdict.faults.append(f"{place}: {link.number - before.number - 1} lines before it are missing")
    elif link.number <= before.number:
        verdict.faults.append(f"{place}: line {link.number} of the chain comes again, or in another order")
    elif link.previous != before.digest:
        verdict.faults.append(f"{place}: the line before it was changed")
    if before is None or link.number > before.number:
        verdict.last[link.trail] = link
    return link


def _begin(link: Link, place: str, verdict: Verdict) -> None:
    if verdict.last:
        verdict.faults.append(f"{place}: another trail begins; the file {state_path(Path('NAME')).name} was removed")
    elif verdict.unchained and link.number > 1:
        before = f"{verdict.unchained} lines of no chain"
        verdict.faults.append(f"{place}: line {link.number} of the chain follows {before}; what was between is missing")
    if link.number == 1 and link.previous != NOTHING:
        verdict.faults.append(f"{place}: the first line of the chain was changed")
    verdict.first[link.trail] = link.number


def _compare(link: Link, digests: dict[tuple[str, int], str], verdict: Verdict) -> None:
    """What was recorded of a line must still be so. Lines before the first one given were rotated away and removed."""
    last = verdict.last.get(link.trail)
    if last is None:
        verdict.faults.append(f"the whole trail {link.trail} is missing; {link.number} lines of it were written")
    elif link.number > last.number:
        verdict.faults.append(f"the end is missing: line {link.number} was written, and the last is {last.number}")
    elif link.number >= verdict.first[link.trail] and digests.get((link.trail, link.number)) != link.digest:
        verdict.faults.append(f"line {link.number} of the chain is not the one that was written")


def _lines(path: Path, verdict: Verdict) -> Iterator[bytes]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                yield line.rstrip(b"\n")
    except (EOFError, OSError, zlib.error) as error:
        verdict.faults.append(f"{path.name} cannot be read to its end: {error}")


def _first_number(path: Path) -> tuple[int, str]:
    """Files without a chain are older than those with one."""
    for line in _lines(path, Verdict()):
        try:
            link = link_of(line)
        except ValueError:
            continue
        if link is not None:
            return link.number, path.name
    return 0, path.name
