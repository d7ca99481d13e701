"""What the command line knows of how a signature's numbers were made, for the methods section of a paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from config.schema import Settings
from pipeline.records import Json

if TYPE_CHECKING:
    from pipeline.signature.methods import Making
    from pipeline.signature.record import Signature


def making_of(signature: Signature, settings: Settings) -> Making:
    """The settings of extraction, where the signature tells them or they are the configured ones, and versions."""
    from pipeline.analysis.provenance import software
    from pipeline.errors import FeatureRejected
    from pipeline.extraction_settings import settings_hash
    from pipeline.signature.methods import Making

    try:
        used = signature.as_trained(settings)
    except FeatureRejected:
        return Making(None, software())
    return Making(used if settings_hash(used) == signature.header.extraction_hash else None, software())


def methods_of(signature: Signature, evaluation: Mapping[str, Json] | None, settings: Settings) -> str:
    """The methods section as Markdown."""
    from pipeline.signature import methods

    return methods.markdown(signature, evaluation, making_of(signature, settings))
