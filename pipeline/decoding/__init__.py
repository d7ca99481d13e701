"""Pixels out of files of others: checked first, and decoded by a process that may die of it."""

from __future__ import annotations

from pipeline.decoding.frames import Decoder, pixels_in, pixels_of
from pipeline.decoding.helper import Died, NotDecoded, content_of

__all__ = ["Decoder", "Died", "NotDecoded", "content_of", "pixels_in", "pixels_of"]
