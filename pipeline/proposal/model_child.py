"""Starting the process that runs a site's model, and what became of it."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.decoding.wire_format import LENGTH, MOST_JSON, SIZE, packed, unpacked
from pipeline.errors import ExamRejected, NotInstalled
from pipeline.proposal.model_card import SiteModel

Floats = npt.NDArray[np.float32]
# Not from the working directory, whatever lies there.
COMMAND = (sys.executable, "-P", "-c", "from pipeline.proposal.model_process import main; main()")
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_ALIGNED = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of memory beyond what the process has at its start, seconds of processor time, seconds in all."""

    memory_bytes: int
    cpu_s: float
    wall_s: float


def run_model(model: SiteModel, volume: Floats, limits: Limits) -> Floats:
    """Probabilities (channels of the card, z, y, x) for a volume (c, z, y, x) on the model's own grid.

    Raises ExamRejected (`model-failed`) with the reason where the model is refused, ends, or takes too much;
    NotInstalled without ONNX Runtime.
    """
    message, data = _request(model, volume, limits)
    child = subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **ENVIRONMENT},
    )
    try:
        answer, _ = child.communicate(message + data, timeout=limits.wall_s)
    except subprocess.TimeoutExpired:
        raise _failed(f"it took longer than {limits.wall_s:g} s and was ended") from None
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        for stream in (child.stdin, child.stdout):
            if stream is not None and not stream.closed:
                stream.close()
    if child.returncode == -signal.SIGXCPU:
        raise _failed(f"it took more than {limits.cpu_s:g} s of processor time and was ended")
    if child.returncode == -signal.SIGKILL:
        raise _failed("its process was killed, for more time or memory than it may take")
    if child.returncode != 0:
        code = child.returncode
        raise _failed(f"its process ended with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}")
    return _chances(answer, len(model.card.output.channel), volume.shape[1:])


def _request(model: SiteModel, volume: Floats, limits: Limits) -> tuple[bytes, bytes]:
    card = model.card
    offset = -(-len(model.onnx) // _ALIGNED) * _ALIGNED
    voxels = np.ascontiguousarray(volume, np.float32)
    data = b"".join((model.onnx.ljust(offset, b"\0"), voxels.data.cast("B")))
    request = {
        "parent": os.getpid(),
        "model": len(model.onnx),
        "offset": offset,
        "shape": volume.shape,
        "patch_zyx": card.input.patch[::-1],
        "overlap": card.input.overlap,
        "weights": card.input.weights,
        "activation": card.output.activation,
        "channels": [c.index for c in card.output.channel],
        "memory": limits.memory_bytes,
        "cpu_s": max(1, int(limits.cpu_s)),
    }
    return packed(request, data), data


def _chances(answer: bytes, channels: int, shape_zyx: tuple[int, ...]) -> Floats:
    """What the process answered. It is believed in nothing: the model's code ran in it."""
    try:
        (length,) = LENGTH.unpack(answer[: LENGTH.size])
        if length > MOST_JSON:
            raise ValueError
        message = unpacked(answer[LENGTH.size : LENGTH.size + length])
        values = memoryview(answer)[LENGTH.size + length :]
        if "error" not in message:
            if message[SIZE] != len(values) or list(message["shape"]) != [channels, *shape_zyx]:
                raise ValueError
            chances = np.frombuffer(values, np.float32).reshape(channels, *shape_zyx)
            if not (np.isfinite(chances).all() and chances.min() >= 0 and chances.max() <= 1.0001):
                raise ValueError
            return chances
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise _failed("its process gave no answer that can be read") from error
    if message["error"] == "not-installed":
        raise NotInstalled(
            "a model needs onnx and onnxruntime: install the extra `model` (pip install 'axrad[model]')",
            code="not-installed",
        )
    raise _failed(str(message["error"])[:300])


def _failed(why: str) -> ExamRejected:
    return ExamRejected(f"the model could not be run: {why}", code="model-failed")
