"""From a study result to a TID 1500 report, its page, and a check of both."""

from typing import TYPE_CHECKING, Any  # Any: attributes of the module, looked up by name

from dicom_sr.report_source import ReportSource

if TYPE_CHECKING:
    from dicom_sr.rendering import Rendered, render

__all__ = ["Rendered", "ReportSource", "render"]


def __getattr__(name: str) -> Any:
    """What draws and writes loads half a second long, and who only reads headers of the exam needs none of it."""
    if name in ("Rendered", "render"):
        from dicom_sr import rendering

        return getattr(rendering, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
