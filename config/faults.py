"""What pydantic finds wrong with a setting, as a sentence that says what is allowed; and the schema by its keys."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from config.schema import Settings

WORDS = {
    "missing": "must be given",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a whole number, and not one of thousands of digits",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text in quotes",
    "string_unicode": "must be text in UTF-8",
    "path_type": "must be a path in quotes",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "tuple_type": "must be a list in brackets",
    "list_type": "must be a list in brackets",
    "literal_error": "must be one of {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
}


@dataclass(frozen=True, slots=True)
class Place:
    """What the schema has at some keys. `may_be_none`: it may be unset."""

    known: bool
    may_be_none: bool = False


def in_words(error: ErrorDetails) -> tuple[str, str]:
    """Key and sentence. A value is never repeated: it may be a secret."""
    place = [_printable(part) for part in error["loc"] if part not in ("[key]", "IPv4Network", "IPv6Network")]
    key = ".".join(place) or "configuration"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], _known(place[:-1]), n=1, cutoff=0.0)
        return f"unknown key {key}", f"; did you mean {'.'.join([*place[:-1], near[0]])}?" if near else ""
    context: Mapping[str, object] = error.get("ctx", {})
    if error["type"] == "value_error":
        sentence = str(context["error"])
        if place:
            return key, sentence
        # Of what does not go together the sentence names the key itself.
        key, _, rest = sentence.partition(": ")
        return key, rest
    known = WORDS.get(error["type"])
    if known is None:
        return key, str(error["msg"])
    return key, known.format_map({k: f"{v:g}" if isinstance(v, float) else v for k, v in context.items()})


def _printable(part: object) -> str:
    text = str(part)
    return text if text.isprintable() and len(text) <= 80 else repr(text[:80])


def field_at(keys: Sequence[str]) -> Place:
    """What the schema has at these keys, which may be anything."""
    model: type[BaseModel] | None = Settings
    annotation: object = Settings
    for key in keys:
        if model is None or key not in model.model_fields:
            return Place(known=False)
        annotation = model.model_fields[key].annotation
        model = model_in(annotation)
    return Place(known=True, may_be_none=type(None) in typing.get_args(annotation))


def sections_with_underscore(name: str) -> tuple[str, str] | None:
    """Section and key, if the name is the two with one underscore between them."""
    for section, field in Settings.model_fields.items():
        model, key = model_in(field.annotation), name.removeprefix(f"{section}_")
        if model is not None and key != name and key in model.model_fields:
            return section, key
    return None


def _known(path: Sequence[str]) -> list[str]:
    model: type[BaseModel] | None = Settings
    for key in path:
        if key.isdigit() or model is None:
            continue
        model = model_in(model.model_fields[key].annotation) if key in model.model_fields else None
    return list(model.model_fields) if model is not None else []


def model_in(annotation: object) -> type[BaseModel] | None:
    """The table in an annotation, or in the entries of its list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for part in typing.get_args(annotation) if (m := model_in(part)) is not None), None)
