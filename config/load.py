"""From a TOML file and the environment to one frozen `Settings`."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from config.schema import Settings

PREFIX = "AXRAD_"
# Names in the environment that steer tests and tools, not the daemon.
NOT_SETTINGS = {"AXRAD_CASES", "AXRAD_CONFIG"}


class ConfigError(Exception):
    """A setting is wrong; the message names the key and, for an unknown one, the nearest known."""


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read `path` (or the file named by AXRAD_CONFIG, or nothing), lay the environment over it, and check it all.

    Relative paths in the file are taken from the file's folder.
    """
    environ = os.environ if environ is None else environ
    if path is None and environ.get("AXRAD_CONFIG"):
        path = Path(environ["AXRAD_CONFIG"])
    data: dict[str, Any] = {}
    if path is not None:
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not TOML: {error}") from error
    _overlay(data, environ)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(_sentence(e) for e in error.errors())) from None
    return settings if path is None else _anchored(settings, path.resolve().parent)


def _overlay(data: dict[str, Any], environ: Mapping[str, str]) -> None:
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX) or "__" not in name or name in NOT_SETTINGS:
            continue
        keys = name.removeprefix(PREFIX).lower().split("__")
        place = data
        for key in keys[:-1]:
            below = place.setdefault(key, {})
            if not isinstance(below, dict):
                raise ConfigError(f"{name} in the environment: {key} is a list; give the whole list as JSON")
            place = below
        place[keys[-1]] = _value(text)
    for key in ("peer", "pacs", "destination"):
        tables = environ.get(PREFIX + key.upper())
        if tables is not None:
            data[key] = _value(tables)


def _value(text: str) -> Any:
    """JSON where it is a list or table, else the plain string; pydantic turns strings into numbers and booleans."""
    if text[:1] in "[{":
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"not JSON: {error}") from error
    return text


def _sentence(error: Any) -> str:
    place = [str(part) for part in error["loc"]]
    if error["type"] != "extra_forbidden":
        return f"{'.'.join(place) or 'configuration'}: {error['msg']}"
    near = difflib.get_close_matches(place[-1], _known(place[:-1]), n=1, cutoff=0.0)
    return f"unknown key {'.'.join(place)}" + (f"; did you mean {'.'.join([*place[:-1], near[0]])}?" if near else "")


def _known(path: list[str]) -> list[str]:
    model: Any = Settings
    for key in path:
        if key.isdigit():
            continue
        annotation = model.model_fields[key].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        model = next(a for a in candidates if isinstance(a, type) and issubclass(a, BaseModel))
    return list(model.model_fields)


def _anchored(settings: Settings, folder: Path) -> Settings:
    """Relative paths lie beside the configuration file."""

    def anchor(model: BaseModel) -> BaseModel:
        changes: dict[str, Any] = {}
        for name in type(model).model_fields:
            value = getattr(model, name)
            if isinstance(value, Path) and not value.is_absolute():
                changes[name] = folder / value
            elif isinstance(value, BaseModel):
                changes[name] = anchor(value)
            elif isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value):
                changes[name] = tuple(anchor(item) for item in value)
        return model.model_copy(update=changes) if changes else model

    anchored = anchor(settings)
    assert isinstance(anchored, Settings)
    return anchored
