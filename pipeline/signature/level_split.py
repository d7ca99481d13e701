"""How two classes are made of an outcome with more than two ordered levels."""

from __future__ import annotations

from pydantic import Field, model_validator

from pipeline.result import Record


class LevelSplit(Record):
    """Of which levels of an outcome with more than two, lowest first, the positive class is made."""

    levels: tuple[str, ...] = Field(min_length=3)
    positive: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _parts_of_it(self) -> LevelSplit:
        if len(set(self.levels)) < len(self.levels) or not set(self.positive) < set(self.levels):
            raise ValueError("its positive levels are not some of its levels")
        return self

    @property
    def negative(self) -> tuple[str, ...]:
        return tuple(level for level in self.levels if level not in self.positive)

    @property
    def positive_class(self) -> str:
        """The label of the positive class, made of its levels; it stands in the file as `positive_value`."""
        return " | ".join(self.positive)

    @property
    def negative_class(self) -> str:
        return " | ".join(self.negative)
