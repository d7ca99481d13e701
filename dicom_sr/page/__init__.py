"""The one-page summary: as an image for the archive, and the same drawing as PDF."""

from dicom_sr.page.draw import Page, draw_page, drawn, pdf_of, png_of

__all__ = ["Page", "draw_page", "drawn", "pdf_of", "png_of"]
