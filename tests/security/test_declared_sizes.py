"""A signature file that declares terabytes is refused by every command that takes one, in little memory."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from daemon.processes.supervisor import axrad_command
from tests.support.npy_bombs import signature_that_declares


@pytest.mark.parametrize("command", ["show", "activate"])
def test_a_signature_of_absurd_size_is_refused_with_a_sentence(command: str, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.axsig"
    bomb.write_bytes(signature_that_declares((2**20, 2**21)))
    (tmp_path / "registry").mkdir()
    registry = ["--registry", str(tmp_path / "registry")]
    # Less address space than the file declares: an attempt to allocate would end in MemoryError.
    limited = ["prlimit", f"--as={8 * 1024**3}", *axrad_command(), "signature", command, str(bomb), *registry]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "declares" in done.stderr
    assert "Traceback" not in done.stderr
