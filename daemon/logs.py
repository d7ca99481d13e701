"""One structured line per stage, on stderr; JSON for machines, columns for people. No PHI is ever bound.

Levels: `debug` for developers; `info` one line per stage that went as it should; `warning` it went wrong and is dealt
with (tried again, refused, waited for); `error` a person should look. A study is followed by its opaque id: `received`
ties it to its association, `delivery` to its destination.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import warnings

import structlog

from config.schema import Log

# What these say in messages and warnings quotes values of data sets.
QUOTING = ("pydicom", "pynetdicom", "highdicom")


def set_up(settings: Log, process: str) -> None:
    """Configure structlog and route the standard library's loggers through it, warnings and above."""
    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        without_values,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("axrad").setLevel(settings.level.upper())
    for name in QUOTING:
        logging.getLogger(name).setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")
    # A task that failed has said so in our words, with study and code; Celery would say it again with a traceback.
    # So has a broker that is away.
    for name in ("celery.app.trace", "celery.worker.consumer.consumer", "celery.beat"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    structlog.contextvars.bind_contextvars(process=process)


def guard_last_words() -> None:
    """Of a process of the daemon: what nobody catches is logged by type and place too, in every thread.

    Python's own traceback ends with the text of the exception, which may quote what it choked on.
    """
    log = structlog.get_logger("axrad")

    def say(error: BaseException | None) -> None:
        if error is not None:
            log.error("died", error=type(error).__name__, at=place_of(error))

    sys.excepthook = lambda _, error, __: say(error)
    threading.excepthook = lambda arguments: say(arguments.exc_value)
    # What nobody can catch, in a destructor for one.
    sys.unraisablehook = lambda arguments: say(arguments.exc_value)


def without_values(_: object, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """An exception is logged by type and place: its text may quote what it choked on."""
    given = line.pop("exc_info", None)
    error = given[1] if isinstance(given, tuple) else given
    if error is True:
        error = sys.exc_info()[1]
    record = line.get("_record")
    if record is not None:
        error = error or (record.exc_info[1] if record.exc_info else None)
        record.exc_info = record.exc_text = record.stack_info = None
    if isinstance(error, BaseException):
        line["error"] = type(error).__name__
        line["at"] = place_of(error)
    return line


class Recurring:
    """A repeated event as few log lines: the first at once, then at most one every `every_s` with the number of times.

    Logged at `warning`. A loop calls `flush`, so that the last repetitions are logged as well.
    """

    def __init__(self, log: structlog.typing.FilteringBoundLogger, event: str, every_s: float = 60.0) -> None:
        self._log = log
        self._event = event
        self._every_s = every_s
        self._lock = threading.Lock()
        self._logged_at: dict[str, float] = {}
        self._unlogged: dict[str, tuple[int, dict[str, object]]] = {}

    def note(self, code: str, **more: object) -> None:
        """Count one event. `code`, of which there are few, distinguishes kinds of it."""
        with self._lock:
            times, _ = self._unlogged.get(code, (0, more))
            self._unlogged[code] = (times + 1, more)
        self.flush()

    def flush(self) -> None:
        """Log what is due."""
        now = time.monotonic()
        with self._lock:
            due = [code for code in self._unlogged if now - self._logged_at.get(code, float("-inf")) >= self._every_s]
            lines = [(code, *self._unlogged.pop(code)) for code in due]
            self._logged_at |= dict.fromkeys(due, now)
        for code, times, more in lines:
            self._log.warning(self._event, code=code, **more, **({"times": times} if times > 1 else {}))


def place_of(error: BaseException) -> str:
    """folder/file:line of the innermost frame: enough to find a bug, and never PHI."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        parts = trace.tb_frame.f_code.co_filename.rsplit("/", 2)
        place = f"{'/'.join(parts[-2:])}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
