"""Everything that is wrong with a table, told at once."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from pipeline.errors import InputRejected
from pipeline.signature.cells import why_no_number

# A message names so many things of a kind, and then how many more there are.
MOST = 100


class Faults:
    """Filled while a table is checked; `refuse` ends the check."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._faults: list[tuple[str, str, str]] = []

    def add(self, code: str, text: str, where: str = "") -> None:
        """One fault; `where`: the column, if it is of one."""
        self._faults.append((code, text, where))

    def add_cells(self, code: str, text: str, cells: Iterable[tuple[int, str, str]]) -> None:
        """Cells as (row, column, content); rows count from 1, the first under the header."""
        by_content: dict[tuple[str, str], list[int]] = {}
        for row, column, content in cells:
            by_content.setdefault((column, content), []).append(row)
        parts = []
        for (column, content), rows in list(by_content.items())[:MOST]:
            hint = why_no_number(content)
            which = "rows" if len(rows) > 1 else "row"
            parts.append(f"{which} {row_list(rows)} {column} = {content!r}{f' ({hint})' if hint else ''}")
        more = f" and {len(by_content) - MOST} more" if len(by_content) > MOST else ""
        if parts:
            self.add(code, f"{text}: {', '.join(parts)}{more}")

    def refuse(self) -> None:
        """End here if anything is wrong.

        Raises:
            InputRejected: with every fault, under the code of the first.
        """
        if not self._faults:
            return
        code, text, where = self._faults[0]
        if len(self._faults) == 1:
            raise InputRejected(f"{self.name}{f', {where}' if where else ''}: {text}", code=code)
        lines = [f"- {f'{where}: ' if where else ''}{text}" for _, text, where in self._faults]
        raise InputRejected("\n".join([f"{self.name}: {len(lines)} things are wrong:", *lines]), code=code)


def row_list(rows: Iterable[int]) -> str:
    """Row numbers with runs of three and more as `4-9`."""
    parts: list[str] = []
    for _, run in groupby(enumerate(sorted(rows)), lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        parts += [f"{numbers[0]}-{numbers[-1]}"] if len(numbers) > 2 else map(str, numbers)
    more = f" and {len(parts) - MOST} more" if len(parts) > MOST else ""
    return ", ".join(parts[:MOST]) + more
