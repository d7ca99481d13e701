"""What every section of the settings is made of."""

from __future__ import annotations

import re
import typing
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

# A thousand weeks in seconds, a thousand years in days: what is longer is no time that clocks and sockets can count.
MOST_S, MOST_DAYS = 1000 * 7 * 86400, 365_000


class Section(BaseModel):
    """Frozen; an unknown key is an error, and so is what Python would take for a value but nobody meant."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _means_a_value(cls, value: object, info: ValidationInfo) -> object:
        kinds = _kinds(cls.model_fields[info.field_name or ""].annotation)
        if isinstance(value, bool) and bool not in kinds and {int, float} & kinds:
            raise ValueError("must be a number, not true or false")
        if isinstance(value, str | Path):
            text = str(value)
            if re.search(r"[\x00-\x1f\x7f]", text):
                raise ValueError("must not have control characters or line breaks")
            if isinstance(value, str) and Path not in kinds and re.search(r"[\ud800-\udfff]", text):
                raise ValueError("must be text in UTF-8")
            if Path in kinds:
                _is_path(value)
        return value

    @field_validator("*")
    @classmethod
    def _can_be(cls, value: object, info: ValidationInfo) -> object:
        name = info.field_name or ""
        most = MOST_S if name.endswith("_s") else MOST_DAYS if name.endswith("_days") else None
        if most is not None and isinstance(value, int | float) and value > most:
            raise ValueError(f"must be at most {most}")
        if isinstance(value, tuple):
            words = [item for item in value if isinstance(item, str)]
            if len(set(words)) < len(words):
                raise ValueError("each may be named once; one stands there twice")
        return value


def _is_path(value: str | Path) -> None:
    if value == "":
        raise ValueError("must not be empty: leave the key out instead")
    if str(value).startswith("~"):
        raise ValueError("~ is not replaced by the home folder: write the whole path")


def _kinds(annotation: object) -> set[object]:
    """The plain types in an annotation; of lists and tables not those of their entries."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _kinds(typing.get_args(annotation)[0])
    if origin in (tuple, dict, typing.Literal):
        return set()
    inner = typing.get_args(annotation)
    return {kind for part in inner for kind in _kinds(part)} if inner else {annotation}
