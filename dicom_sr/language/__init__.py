"""The words of a report, in the language that `report.language` names: one table of sentences per language."""

from dicom_sr.language.words import ENGLISH, LANGUAGES, Words, words_in, words_of

__all__ = ["ENGLISH", "LANGUAGES", "Words", "words_in", "words_of"]
