"""Pixels out of files of others: checked first, and decoded by a process that may die of it."""

from __future__ import annotations

from pipeline.decoding.content import content_digest
from pipeline.decoding.frames import Decoder, pixels_in, pixels_of
from pipeline.decoding.worker import Died, NotDecoded, content_of

__all__ = ["Decoder", "Died", "NotDecoded", "content_digest", "content_of", "pixels_in", "pixels_of"]
