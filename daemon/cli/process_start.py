"""How the processes of axrad begin, and what tells them to end."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

from config.load import load
from config.schema import Settings
from daemon.logs import guard_last_words, set_up
from daemon.machine.parent_watch import follow


def begin(config_path: Path | None, name: str) -> Settings:
    """The settings, once this process ends with the one that started it and logs under its name."""
    follow()
    settings = load(config_path)
    set_up(settings.log, name)
    guard_last_words()
    return settings


def stop_signals() -> threading.Event:
    """Set once somebody asks this process to end."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
