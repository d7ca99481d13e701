"""Alignment: how T1+C relates to another sequence, and its regions carried there."""

from pipeline.align.relate import apply, carry, relate
from pipeline.align.resample import nearest

__all__ = ["apply", "carry", "nearest", "relate"]
