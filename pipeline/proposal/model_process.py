"""The process that runs a site's model, limited in memory and time; nothing is lost when it dies.

It reads one request from its standard input (a line of JSON, the model, the volume), answers on its standard output,
and ends. ONNX Runtime and ONNX are loaded here and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any  # Any: values of JSON, ONNX Runtime's session

import numpy as np
import numpy.typing as npt

from pipeline.decoding.wire_format import LENGTH, SIZE, Message, packed, unpacked
from pipeline.decoding.worker_process import limit
from pipeline.parallel.parent_watch import end_with
from pipeline.proposal.sliding_window import averaged

Floats = npt.NDArray[np.float32]
# No patch may give more channels than this.
MOST_CHANNELS = 64
# Beyond this a value is this: single precision has no more.
MOST = 1e30


class OutputRefused(ValueError):
    """What the model gives is not what its card says."""


def main() -> None:
    """Answer one request."""
    request, answers, nowhere = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    with os.fdopen(request, "rb") as stream:
        message = unpacked(stream.read(LENGTH.unpack(stream.read(LENGTH.size))[0]))
        end_with(message["parent"])
        data = stream.read(message[SIZE])
    answer, values = _answer(message, data)
    with os.fdopen(answers, "wb") as stream:
        stream.write(packed(answer, values))
        stream.write(values)
    # Nothing here is worth the time that an ordinary end takes.
    os._exit(0)


def _answer(message: Message, data: bytes) -> tuple[Message, bytes]:
    try:
        import onnxruntime

        from pipeline.proposal.onnx_check import ModelRefused, checked
    except ImportError:
        return {"error": "not-installed"}, b""
    limit(message["memory"], message["cpu_s"])
    try:
        onnx_bytes = data[: message["model"]]
        checked(onnx_bytes)
        volume = np.frombuffer(data, np.float32, offset=message["offset"]).reshape(message["shape"])
        chances = _run(_session(onnxruntime, onnx_bytes), volume, message)
    except MemoryError:
        return {"error": "it takes more memory than it may"}, b""
    except (ModelRefused, OutputRefused) as error:
        return {"error": str(error)}, b""
    except Exception as error:  # noqa: BLE001 - the outermost loop: whatever ONNX Runtime raises is the answer
        if "bad_alloc" in str(error) or "allocate memory" in str(error):
            return {"error": "it takes more memory than it may"}, b""
        return {"error": f"ONNX Runtime cannot run it ({type(error).__name__})"}, b""
    return {"shape": chances.shape}, chances.tobytes()


def _session(runtime: Any, onnx_bytes: bytes) -> Any:
    """One thread, no arena, the same kernels each time: equal inputs give equal numbers."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    return runtime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])


def _run(session: Any, volume: Floats, message: Message) -> Floats:
    patch: tuple[int, int, int] = tuple(message["patch_zyx"])
    wanted: list[int] = message["channels"]
    name = session.get_inputs()[0].name
    activate = ACTIVATIONS[message["activation"]]

    def chances(part: Floats) -> Floats:
        (output,) = session.run(None, {name: part[None]})
        if not isinstance(output, np.ndarray) or output.dtype not in (np.float32, np.float16, np.float64):
            raise OutputRefused("its output is no array of floating-point numbers")
        if output.ndim != 5 or output.shape[0] != 1 or output.shape[2:] != patch or output.shape[1] > MOST_CHANNELS:
            shape = " x ".join(str(n) for n in output.shape[:8])
            raise OutputRefused(f"its output has the shape {shape}, not 1 x channels x {' x '.join(map(str, patch))}")
        if max(wanted) >= output.shape[1]:
            raise OutputRefused(f"its output has {output.shape[1]} channels, and the card names number {max(wanted)}")
        if not np.isfinite(output).all():
            raise OutputRefused("its output holds values that are no numbers")
        values = activate(np.clip(output[0], -MOST, MOST).astype(np.float32))[wanted]
        if values.min() < 0 or values.max() > 1:
            raise OutputRefused("its output holds values that are no probabilities; output.activation is another")
        return values

    return averaged(volume, len(wanted), patch, message["overlap"], message["weights"], chances)


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -60, 60))), np.float32)


def _softmax(values: Floats) -> Floats:
    shifted = np.exp(values - values.max(axis=0))
    return np.asarray(shifted / shifted.sum(axis=0), np.float32)


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {"none": np.asarray, "sigmoid": _sigmoid, "softmax": _softmax}
