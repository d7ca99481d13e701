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
    """The configured settings, where features of the signature's training table were extracted with them."""
    from pipeline.analysis.provenance import settings_hash, software
    from pipeline.signature.methods import Making

    same = signature.header.extraction_hash == settings_hash(settings)
    return Making(settings if same else None, software())


def methods_of(signature: Signature, evaluation: Mapping[str, Json] | None, settings: Settings) -> str:
    """The methods section as Markdown."""
    from pipeline.signature import methods

    return methods.markdown(signature, evaluation, making_of(signature, settings))
