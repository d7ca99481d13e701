"""An answer to an item of a checklist, and what answers are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.records import Json
from pipeline.signature import card
from pipeline.signature.methods import Making
from pipeline.signature.record import Header, Signature

Status = Literal["answered", "open", "not applicable"]
METHODS, CARD = "methods.md", "card.html"


@dataclass(frozen=True)
class Answer:
    """`text`: what is known, or why the item does not apply; `where`: files, with a section after a colon.

    `missing`: what somebody must add, of an open item.
    """

    status: Status
    text: str = ""
    where: tuple[str, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Material:
    """A signature, what `evaluation.json` says of it, and how its numbers were made."""

    signature: Signature
    evaluation: Mapping[str, Json]
    making: Making

    @property
    def header(self) -> Header:
        return self.signature.header

    @property
    def nested(self) -> Mapping[str, Json]:
        """Nested cross-validation; empty where the training table was not there."""
        return record(self.evaluation.get("nested_cv"))

    @property
    def sites(self) -> Mapping[str, Json]:
        """Leave-one-site-out; empty where the training table names no sites."""
        return record(self.evaluation.get("leave_one_site_out"))

    @property
    def external(self) -> dict[str, dict[str, Json]]:
        """Cohorts that the signature had not seen."""
        return card.external(self.evaluation)

    def pages(self, section: str = "") -> tuple[str, ...]:
        """Where the report tells of each external cohort."""
        return tuple(f"report.html: Cohort {name}{section and ', ' + section}" for name in self.external)


Topic = Callable[[Material], Answer]


def answered(text: str, *where: str) -> Answer:
    """An item that needs nobody."""
    return Answer("answered", text, where)


def partly(text: str, missing: str, *where: str) -> Answer:
    """An item that stays open although something of it is known."""
    return Answer("open", text, where if text else (), missing)


def does_not_apply(why: str) -> Answer:
    """An item that this study does not raise."""
    return Answer("not applicable", why)


def file_name(name: str) -> str:
    """What a file is called whose name holds that of a cohort."""
    return re.sub(r"[^\w.\-]+", "_", name)


def record(value: Json) -> Mapping[str, Json]:
    """A record of a JSON document; an empty one where there is none."""
    return value if isinstance(value, dict) else {}


def listed(value: Json) -> list[Mapping[str, Json]]:
    """A list of records of a JSON document; an empty one where there is none."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def auc(row: Mapping[str, Json]) -> str:
    """An AUC with its interval."""
    low, high = row["ci"]  # type: ignore[misc, str-unpack]
    return f"AUC {row['auc']:.3f} ({low:.3f} to {high:.3f})"
