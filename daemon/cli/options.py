"""Options that every command shares."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any  # Any: what click's hook is given and gives

import click

from config.places import fault
from config.schema.values import Lies
from pipeline.errors import InputRejected


class OutputNotWritable(InputRejected):
    """Found before anything is calculated."""

    code = "output-not-writable"


class Output(click.Path):
    """Where a command writes: looked at before it begins, and made by the command when there is something to write."""

    def __init__(self, *, folder: bool) -> None:
        super().__init__(path_type=Path)
        self._lies = Lies(folder=folder, ours=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        why = fault(path, self._lies)
        if not why and not self._lies.folder and path.exists() and not path.is_file():
            why = f"{path} is a device; a file is needed"
        if why:
            raise OutputNotWritable(f"nothing can be written there: {why}")
        return path


out_folder = Output(folder=True)
out_file = Output(folder=False)
config_option = click.option(
    "--config", "config_path", type=click.Path(dir_okay=False, path_type=Path), help="Settings file (TOML)."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
