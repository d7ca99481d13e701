"""A family: signatures of one question on different inputs, with a common name, version and written order.

A folder with `family.json` and one `.axsig` per member. The order of `members` is the order in which they are asked:
an author may change it in the file before the family is activated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputRejected
from pipeline.records import Json
from pipeline.signature import container
from pipeline.signature.record import Header, Signature

SCHEMA = "axrad.family/1"
FILE = "family.json"
# In it, the signature on the clinical variables alone: no member, but what members are compared with.
CLINICAL = "clinical_alone"
# What `axrad signature levels` writes in its place.
LEVELS = "levels.json"
# A name or a version, as of a signature.
CALLED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+\-]*")


@dataclass(frozen=True)
class Family:
    """`members` in their written order; `facts` is the whole of `family.json`.

    `clinical_alone`: on the clinical variables alone, beside the members; it is never asked with them.
    """

    name: str
    version: str
    members: tuple[Signature, ...]
    facts: Mapping[str, Json]
    clinical_alone: Signature | None = None

    @property
    def title(self) -> str:
        return f"{self.name}@{self.version}"


def is_family(path: Path) -> bool:
    """Whether this is a family's folder."""
    return (path / FILE).is_file()


def read(folder: Path) -> Family:
    """The family in a folder, every member verified.

    Raises:
        InputRejected: `family.json` cannot be read or is damaged, or a member is missing, altered, listed twice, of
            another version, or of another question than the first; or it is a folder of ordered levels.
    """
    path = folder / FILE
    if (folder / LEVELS).is_file() and not path.is_file():
        raise InputRejected(
            f"{folder} holds signatures of an outcome with more than two levels: they are for research alone, each is "
            "evaluated by its own file, and none can be active",
            code="research-only",
        )
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["schema"] != SCHEMA or not facts["members"]:
            raise ValueError(f"it is not {SCHEMA}, or it has no members")
        listed = [(str(m["file"]), str(m["sha256"])) for m in facts["members"]]
        beside = [(str(m["file"]), str(m["sha256"])) for m in [facts[CLINICAL]]] if CLINICAL in facts else []
        name, version = str(facts["name"]), str(facts["version"])
        if not (CALLED.fullmatch(name) and CALLED.fullmatch(version)):
            raise ValueError(f"it is called {f'{name}@{version}'[:80]!r}")
    except OSError as error:
        raise InputRejected(f"cannot read the family {path}: {error.strerror}", code="family-unreadable") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputRejected(f"{path} is damaged: {error}", code="family-unreadable") from error
    outside = [file for file, _ in (*listed, *beside) if Path(file).name != file]
    if outside or len(dict(listed)) != len(listed):
        which = f"{outside[0]} is not in its folder" if outside else "a member is listed twice"
        raise InputRejected(f"{path} is damaged: {which}", code="family-unreadable")
    members = tuple(container.load(folder / file, sha256) for file, sha256 in listed)
    alone = tuple(container.load(folder / file, sha256) for file, sha256 in beside)
    _one_question(members, path)
    for signature in alone:
        _refuse_other_question(signature.header, members[0].header, path)
    _one_version(members, version, path)
    return Family(name, version, members, facts, alone[0] if alone else None)


def files(folder: Path, family: Family) -> tuple[Path, ...]:
    """The members' files in the folder that the family was read from, in their written order."""
    members = family.facts["members"]
    assert isinstance(members, list)
    return tuple(folder / str(member["file"]) for member in members if isinstance(member, dict))


def demonstration() -> tuple[Signature, ...]:
    """The signatures that ship with axrad, trained on synthetic exams, in their written order."""
    return read(container.demonstration_path().parent).members


def as_json(facts: Mapping[str, object]) -> bytes:
    """`family.json`."""
    return (json.dumps(facts, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _one_version(members: tuple[Signature, ...], version: str, path: Path) -> None:
    """Refuse members of another version than the family says: what answers would not be what the site activated."""
    others = [member.header.title for member in members if member.header.version != version]
    if others:
        raise InputRejected(f"{path}: {', '.join(others)} is not of version {version}", code="family-unreadable")


def _one_question(members: tuple[Signature, ...], path: Path) -> None:
    """Refuse members that answer different questions, and two that read the same inputs."""
    first, readers = members[0].header, dict[frozenset[str], str]()
    for member in members:
        header = member.header
        if member.inputs in readers:
            raise InputRejected(
                f"{path}: {header.title} and {readers[member.inputs]} read the same inputs", code="family-unreadable"
            )
        readers[member.inputs] = header.title
        _refuse_other_question(header, first, path)


def _refuse_other_question(header: Header, first: Header, path: Path) -> None:
    asked = (header.label_column, header.positive_value, header.negative_value, header.positive_class)
    if asked != (first.label_column, first.positive_value, first.negative_value, first.positive_class):
        raise InputRejected(
            f"{path}: {header.title} and {first.title} answer different questions", code="family-unreadable"
        )
