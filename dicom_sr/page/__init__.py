"""The one-page summary: as an image for the archive, and the same drawing as PDF."""

from dicom_sr.page.draw import Page, draw_page

__all__ = ["Page", "draw_page"]
