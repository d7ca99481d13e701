"""Large exams are judged beside the sweep, one at a time, so that no other exam waits for one of them."""

from __future__ import annotations

import threading
from collections.abc import Callable

# An exam with more instances than this takes longer to judge than others should wait for.
LARGE = 2000


class LargeExamThread:
    """A thread for one exam at a time. An exam that finds it taken is looked at with the next tick."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def take(self, work: Callable[[], None]) -> bool:
        """Have `work` done. False where the thread is busy; then nothing is done."""
        if self._thread is not None and self._thread.is_alive():
            return False
        self._thread = threading.Thread(target=work, name="large-exam", daemon=True)
        self._thread.start()
        return True

    def wait(self, timeout_s: float) -> None:
        """Until what was taken is done."""
        if self._thread is not None:
            self._thread.join(timeout_s)
