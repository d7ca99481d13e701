"""What the page and the key slices show: each ROI on each sequence, at its largest slice.

Pictures are made where the volumes are, kept beside the result as one `.npz`, and drawn when the report is rendered.
"""

from pipeline.pictures.panel import Contour, Panel, make_panels
from pipeline.pictures.panel_file import load_panels, panels_to_bytes, save_panels

__all__ = ["Contour", "Panel", "load_panels", "make_panels", "panels_to_bytes", "save_panels"]
