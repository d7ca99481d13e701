"""The settings that change numbers: their canonical form, its hash, and settings made to say what a signature says.

The canonical form is what the hash is made from, so a signature or table that carries the form can be extracted for
anywhere, and its hash proves it. Where the form is not told, the hash of the first defaults still names it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from pydantic import ValidationError

from config.schema import Section, Settings
from pipeline.errors import FeatureRejected, InputRejected
from pipeline.records import Json

# The engines and `features.set` are not here: both sides of each agree.
SCIENCE = {
    "sequences": {"phase"},
    "roi": {"fractional_threshold", "tumors"},
    "align": {"registration"},
    "bias": {"sequences", "shrink", "iterations", "threshold", "mesh", "fwhm", "wiener_noise", "histogram_bins"},
    "features": {"bin_width", "params", "t1c", "t2", "adc"},
}
# Later than the first of them: at their default they are left out of the form, so that its hash stays.
LATER = {"features": ("t1c", "t2", "adc")}
# The same of keys inside these sections.
LATER_INSIDE = {"grid": "pyradiomics"}
# What a table or signature without a stored form may mean: these never change.
FIRST_DEFAULTS_HASH = "e843a1bb2e8bf165e090bf4513f5773d106b05278c7985b48cc0164f6fe75f65"

Form = dict[str, dict[str, Json]]


def form_of(settings: Settings) -> Form:
    """The settings that change numbers; of a parameter file, its content counts (SHA-256)."""
    form: Form = settings.model_dump(mode="json", include=SCIENCE)
    if settings.features.params is not None:
        form["features"]["params"] = hashlib.sha256(settings.features.params.read_bytes()).hexdigest()
    defaults = Settings().model_dump(mode="json", include=SCIENCE)
    for section, keys in LATER.items():
        for key in keys:
            if form[section][key] == defaults[section][key]:
                del form[section][key]
    for key in LATER["features"]:
        if isinstance(rule := form["features"].get(key), dict):
            form["features"][key] = {n: v for n, v in rule.items() if LATER_INSIDE.get(n) != v or n not in LATER_INSIDE}
    return form


def hash_of(form: Mapping[str, Mapping[str, Json]]) -> str:
    """SHA-256 of the form as canonical JSON."""
    return hashlib.sha256(json.dumps(form, sort_keys=True).encode()).hexdigest()


def settings_hash(settings: Settings) -> str:
    """The hash that names how features are extracted with these settings."""
    return hash_of(form_of(settings))


def text_of(settings: Settings) -> str | None:
    """The form as one line for a table; None for the first defaults, which their hash names."""
    form = form_of(settings)
    return None if hash_of(form) == FIRST_DEFAULTS_HASH else json.dumps(form, sort_keys=True)


def read(text: str, expected_hash: str | None, place: str) -> Form:
    """The form that `text_of` wrote.

    Raises:
        InputRejected: it is none, or not the one that the hash beside it names.
    """
    try:
        form = json.loads(text)
        if not isinstance(form, dict) or not all(isinstance(section, dict) for section in form.values()):
            raise ValueError("it is no table of settings")
        if expected_hash is not None and hash_of(form) != expected_hash:
            raise ValueError(f"it is not that of the extraction hash {expected_hash[:12]} beside it")
    except (ValueError, RecursionError) as error:
        raise InputRejected(f"{place}: its extraction settings are damaged: {error}", code="bad-table") from None
    return form


def applied(form: Mapping[str, Mapping[str, Json]], settings: Settings, title: str) -> Settings:
    """The settings with what the form says; all else stays. What the form does not name is at its default.

    A parameter file is named by its digest alone: the settings' own file stays where it is that one, or where it is
    another, which the hash then tells.

    Raises:
        FeatureRejected: this version does not know a setting of the form, or not its value.
    """
    defaults, sections = Settings(), {}
    for name, keys in SCIENCE.items():
        section: Section = getattr(settings, name)
        stored = form.get(name, {})
        unknown = set(stored) - keys
        values = {key: stored.get(key, getattr(getattr(defaults, name), key)) for key in keys}
        if values.get("params") is not None:
            values["params"] = settings.features.params
        try:
            if unknown:
                raise ValueError(f"{name}.{min(unknown)} is not known")
            sections[name] = type(section).model_validate({**section.model_dump(), **values})
        except (ValidationError, ValueError) as error:
            why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise FeatureRejected(
                f"{title} was trained with extraction settings that this version does not know: {name}: {why}",
                code="other-extraction-settings",
            ) from None
    return settings.model_copy(update=sections)


def as_trained(
    trained: str | None, form: Mapping[str, Mapping[str, Json]] | None, settings: Settings, title: str
) -> Settings:
    """The settings with which features are extracted for a signature that was `trained` with this hash and form.

    Stored settings count. Without them the hash of the first defaults means these; any other hash, or none, means the
    site's own, later ones at their defaults, and what does not fit abstains by its hash. Raises as `applied`.
    """
    if form is not None:
        return applied(form, settings, title)
    if trained == FIRST_DEFAULTS_HASH:
        return applied({}, settings, title)
    early = form_of(settings)
    for section, keys in LATER.items():
        early[section] = {key: value for key, value in early[section].items() if key not in keys}
    return applied(early, settings, title)


def phase_of(trained: str | None, form: Mapping[str, Mapping[str, Json]] | None) -> str | None:
    """The phase of T1+C of a signature that was `trained` with this hash and form; None: not told."""
    if form is not None:
        phase = form.get("sequences", {}).get("phase")
        return phase if isinstance(phase, str) else None
    return Settings().sequences.phase if trained == FIRST_DEFAULTS_HASH else None
