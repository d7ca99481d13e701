"""Log lines of an acceptor process: structured, on stderr, nothing of pynetdicom's own, which prints what it receives."""

from __future__ import annotations

import logging
import sys
import warnings

import structlog
from pynetdicom import _config

from config.schema import Log


def configure(settings: Log) -> None:
    """JSON lines, or readable ones where stderr is a terminal (or `format` says so)."""
    human = settings.format == "human" or (settings.format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if human else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def quiet_foreign_logs() -> None:
    """pynetdicom and pydicom print what they receive; nothing of that may reach a log."""
    _config.LOG_HANDLER_LEVEL = "none"
    for name in ("pynetdicom", "pydicom"):
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")
