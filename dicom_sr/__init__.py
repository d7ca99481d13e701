"""From a study result to a TID 1500 report, its page, and a check of both."""

from dicom_sr.rendered import Rendered, render
from dicom_sr.source import ReportSource

__all__ = ["Rendered", "ReportSource", "render"]
