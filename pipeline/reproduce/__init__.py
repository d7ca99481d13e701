"""The paper's released tables, its figures drawn from them again, and what is wrong with them."""

from pipeline.reproduce.report import Reproduction, comparison, reproduce, write

__all__ = ["Reproduction", "comparison", "reproduce", "write"]
