"""From a TOML file and the environment to one frozen `Settings`, checked by what they mean."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any  # Any: values of TOML and JSON, which the schema checks

from pydantic import BaseModel, ValidationError

from config.agreement import disagreements
from config.faults import field_at, in_words, sections_with_underscore
from config.places import misplaced
from config.schema import Settings
from config.secret_files import read_secrets

PREFIX = "AXRAD_"
# Names in the environment that steer tests and tools, not the daemon.
NOT_SETTINGS = {"AXRAD_CASES", "AXRAD_CONFIG", "AXRAD_CONSOLE_USER"}
LISTS = ("peer", "pacs", "destination")
# A settings file is some kilobytes; what is longer is something else.
MOST_SETTINGS_BYTES = 4 * 1024**2


class ConfigError(Exception):
    """A setting is wrong; the message names the key and, for an unknown one, the nearest known."""


def load(path: Path | None = None, environ: Mapping[str, str] | None = None, *, writes: bool = True) -> Settings:
    """Read `path` (or the file named by AXRAD_CONFIG, or nothing), lay the environment over it, and check it all.

    Relative paths in the file are taken from the file's folder. `writes`: whether the folders that axrad keeps are
    going to be written; a command that only calculates works where they cannot be. Nothing is made.

    Raises:
        ConfigError: one line per fault, each with its key and what is allowed.
    """
    environ = os.environ if environ is None else environ
    if path is None and environ.get("AXRAD_CONFIG"):
        path = Path(environ["AXRAD_CONFIG"])
    data = {} if path is None else _read(path)
    origins = _overlay(data, environ)
    folder = Path() if path is None else path.resolve().parent
    unread = [_told(key, sentence, origins) for key, sentence in read_secrets(data, folder, origins)]
    if unread:
        raise ConfigError("\n".join(unread))
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(_told(*in_words(e), origins) for e in error.errors())) from None
    if path is not None:
        settings = _anchored(settings, folder)
    faults = [*disagreements(settings), *misplaced(settings, writes=writes)]
    if faults:
        parted = (fault.partition(": ") for fault in faults)
        raise ConfigError("\n".join(_told(key, sentence, origins) for key, _, sentence in parted))
    return settings


def _read(path: Path) -> dict[str, Any]:
    """The tables of a TOML file in UTF-8, with or without a byte order mark, lines ended as anybody ends them."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_SETTINGS_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no path"
        raise ConfigError(f"cannot read the configuration {path}: {why}") from None
    if len(data) > MOST_SETTINGS_BYTES:
        raise ConfigError(f"{path} is no settings file: it has more than {MOST_SETTINGS_BYTES // 1024**2} MiB")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except RecursionError:
        raise ConfigError(f"{path} is not TOML that axrad reads: it is nested too deeply") from None
    except ValueError as error:  # tomllib.TOMLDecodeError, and whole numbers of thousands of digits
        raise ConfigError(f"{path} is not TOML: {error}") from None


def _overlay(data: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Lay the environment over the file; which key came from which variable."""
    origins: dict[str, str] = {}
    for key in LISTS:
        tables = environ.get(PREFIX + key.upper())
        if tables:
            data[key] = _value(PREFIX + key.upper(), tables)
            origins[key] = PREFIX + key.upper()
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX) or name in NOT_SETTINGS:
            continue
        keys = name.removeprefix(PREFIX).lower().split("__")
        if len(keys) == 1:
            _one_underscore(name, keys[0])
            continue
        place = data
        for depth, key in enumerate(keys[:-1], 1):
            below = place.setdefault(key, {})
            if keys[0] in LISTS or not isinstance(below, dict):
                whole = ".".join(keys[:depth])
                what = "a list of tables" if keys[0] in LISTS else "not a table"
                raise ConfigError(
                    f"{name} in the environment: {whole} is {what}; give the whole of it as JSON in "
                    f"{PREFIX}{'__'.join(keys[:depth]).upper()}"
                )
            place = below
        origins[".".join(keys)] = name
        place[keys[-1]] = _value(name, text)
        if text == "" and field_at(keys).may_be_none:
            place[keys[-1]] = None  # as a compose file passes on what nobody set
    return origins


def _one_underscore(name: str, key: str) -> None:
    """AXRAD_LISTEN_PORT is a slip that would otherwise have no effect and no message."""
    meant = sections_with_underscore(key)
    if meant:
        raise ConfigError(
            f"{name} in the environment: between section and key stand two underscores; "
            f"did you mean {PREFIX}{meant[0].upper()}__{meant[1].upper()}?"
        )


def _value(name: str, text: str) -> object:
    """JSON where it is a list or table, else the plain string; pydantic turns strings into numbers and booleans."""
    if text[:1] in "[{" and text:
        try:
            return json.loads(text)
        except RecursionError:
            raise ConfigError(f"{name} in the environment: the JSON is nested too deeply") from None
        except ValueError as error:
            raise ConfigError(f"{name} in the environment is not JSON: {error}") from None
    return text


def _told(key: str, sentence: str, origins: Mapping[str, str]) -> str:
    """A fault as a line: its key, the variable that it came from, and what is allowed."""
    parts = key.removeprefix("unknown key ").split(".")
    names = (origins.get(".".join(parts[:length])) for length in range(len(parts), 0, -1))
    name = next((n for n in names if n), None)
    whence = f" ({name} in the environment)" if name else ""
    return f"{key}{whence}{sentence}" if sentence.startswith(";") or not sentence else f"{key}{whence}: {sentence}"


def _anchored(settings: Settings, folder: Path) -> Settings:
    """Relative paths lie beside the configuration file."""

    def anchor(model: BaseModel) -> BaseModel:
        changes: dict[str, object] = {}
        for name in type(model).model_fields:
            value = getattr(model, name)
            if isinstance(value, Path) and not value.is_absolute():
                changes[name] = folder / value
            elif isinstance(value, BaseModel):
                changes[name] = anchor(value)
            elif isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value):
                changes[name] = tuple(anchor(item) for item in value)
        if not changes:
            return model
        copy = model.model_copy(update=changes)
        # What nobody set is not set by being anchored.
        copy.model_fields_set.intersection_update(model.model_fields_set)
        return copy

    anchored = anchor(settings)
    assert isinstance(anchored, Settings)
    return anchored
