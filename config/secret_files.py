"""Secrets that stand in files of their own, as Docker, Kubernetes and systemd hand them out.

A secret is a field that is never shown (`repr=False`). Beside each, `KEY_file` names a file whose content it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any  # Any: values of TOML and JSON, which the schema checks

from pydantic import BaseModel

from config.faults import model_in
from config.schema import Settings

SUFFIX = "_file"
MOST_BYTES = 64 * 1024


def read_secrets(data: dict[str, Any], folder: Path, origins: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Put the content of every file that is named into `data`, in place of the name; what is wrong, with its key.

    Args:
        folder: where relative paths begin.
        origins: which key came from which variable in the environment, which goes before a file of settings.
    """
    yield from _in_table(Settings, data, (), folder, origins)


def secrets_of(model: type[BaseModel]) -> list[str]:
    """The keys of a table that are secrets."""
    return [name for name, field in model.model_fields.items() if not field.repr]


def _in_table(
    model: type[BaseModel], table: dict[str, Any], path: tuple[str, ...], folder: Path, origins: dict[str, str]
) -> Iterator[tuple[str, str]]:
    for name in secrets_of(model):
        key, key_file = ".".join((*path, name)), ".".join((*path, name + SUFFIX))
        named = table.pop(name + SUFFIX, None)
        if named in (None, ""):  # as a compose file passes on what nobody set
            continue
        if table.get(name) is not None and (key in origins) == (key_file in origins):
            yield key_file, f"{name} is given as well; one of them is needed"
        elif table.get(name) is None or key_file in origins:
            origins.update({key: origins[key_file]} if key_file in origins else {})
            wrong = _read(table, name, named, folder)
            if wrong:
                yield key_file, wrong
    for name, field in model.model_fields.items():
        below, value = model_in(field.annotation), table.get(name)
        if below is None:
            continue
        if isinstance(value, dict):
            yield from _in_table(below, value, (*path, name), folder, origins)
        for number, item in enumerate(value if isinstance(value, list) else ()):
            if isinstance(item, dict):
                yield from _in_table(below, item, (*path, name, str(number)), folder, origins)


def _read(table: dict[str, Any], name: str, named: object, folder: Path) -> str:
    """What is wrong with the file, never with a word of what stands in it; or nothing."""
    if not isinstance(named, str):
        return "must be a path in quotes"
    path = folder / named
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        text = content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        return f"{path} is not UTF-8"
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no path"
        return f"{path} cannot be read: {why}"
    if not text or len(content) > MOST_BYTES:
        return f"{path} {'is empty' if not text else 'is too long for a secret'}"
    table[name] = text
    return ""
