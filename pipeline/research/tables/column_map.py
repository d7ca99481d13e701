"""A file that says what the columns and cells of a table from elsewhere are here: `--map columns.toml`.

```toml
separator = ";"                 # where the text can be read in two ways: , ; or a tab
decimal = ","                   # the same for numbers
ignore = ["remark"]             # their columns to leave out
[columns]                       # their name = ours
"Alter" = "age_years"
[replace]                       # in every name that is not in [columns]: their text = ours
"T1C_tumor_" = "t1c.tumor."
[values.ki67_percent]           # in our column: their cell = ours
"<5" = "2.5"
```
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import Field, ValidationError

from pipeline.errors import InputRejected
from pipeline.research.tables.faults import Faults
from pipeline.result import Record


class ColumnMap(Record):
    """What the file says; by default everything stays as it stands in the table."""

    separator: Literal[",", ";", "\t"] | None = None
    decimal: Literal[",", "."] | None = None
    ignore: tuple[str, ...] = ()
    columns: dict[str, str] = Field(default_factory=dict)
    replace: dict[str, str] = Field(default_factory=dict)
    values: dict[str, dict[str, str | int | float]] = Field(default_factory=dict)

    @property
    def names_the_first_column(self) -> bool:
        """Whether a column without a title, which could be row numbers, is called something."""
        return "" in self.columns

    def named(self, theirs: str) -> str:
        """Our name of a column."""
        if theirs in self.columns:
            return self.columns[theirs]
        for text, ours in self.replace.items():
            theirs = theirs.replace(text, ours)
        return theirs

    def applied(self, frame: pd.DataFrame, faults: Faults) -> pd.DataFrame:
        """The table under our names, with our cells. What the map names and the table lacks is a fault."""
        lacking = [c for c in (*self.columns, *self.ignore) if c not in frame.columns]
        renamed = frame.drop(columns=[c for c in self.ignore if c in frame.columns]).rename(columns=self.named)
        lacking += [c for c in self.values if c not in renamed.columns]
        if lacking:
            faults.add("missing-columns", f"the map names columns that the table lacks: {', '.join(lacking)}")
        for column, cells in self.values.items():
            if list(renamed.columns).count(column) == 1:
                ours = {text.strip(): str(value) for text, value in cells.items()}
                renamed[column] = [ours.get(str(cell).strip(), cell) for cell in renamed[column]]
        return renamed


NOTHING = ColumnMap()


def read_map(path: Path) -> ColumnMap:
    """The map in a file.

    Raises:
        InputRejected: it cannot be read, or has a key or value that is none of the above.
    """
    try:
        document: Mapping[str, object] = tomllib.loads(path.read_text(encoding="utf-8"))
        return ColumnMap.model_validate(document)
    except OSError as error:
        raise InputRejected(f"cannot read the map {path}: {error.strerror}", code="bad-map") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputRejected(f"{path.name} is no TOML: {error}", code="bad-map") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputRejected(f"{path.name} is no map of columns: {problems}", code="bad-map") from None
