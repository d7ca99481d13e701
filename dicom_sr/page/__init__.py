"""The summary page: as an image for the archive, and as a PDF whose further pages hold everything whole."""

from dicom_sr.page.first_page import Drawing, Page, draw_page, drawn, pdf_of, png_of

__all__ = ["Drawing", "Page", "draw_page", "drawn", "pdf_of", "png_of"]
