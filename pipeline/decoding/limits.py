"""How much memory and time decoding may take, by what a frame has in the end."""

from __future__ import annotations

MIB = 1 << 20
# The largest frame that is decoded. A slice of 4096 x 4096 in 16 bits has 32 MiB.
MOST_FRAME_BYTES = 256 * MIB
# All frames that are asked for at once, as they lie in memory afterwards.
MOST_PIXEL_BYTES = 4 << 30
# Above what the child has when it starts. Decoders keep wide integers and copies: ten times the frame was seen.
MEMORY_BYTES, MEMORY_PER_BYTE = 512 * MIB, 16
# Of processor time, so that a busy machine is no reason. JPEG 2000 takes about 0.1 s for a MiB.
CPU_S, CPU_S_PER_MIB = 10, 2
# Of anything: a child that is stopped or waits for a disk that does not answer.
WALL_S = 300.0
# A whole file, to compare it with another.
FILE_MEMORY_BYTES, FILE_CPU_S = 1 << 30, 30


def for_frame(size: int) -> tuple[int, int]:
    """Bytes above the start, and seconds of processor time, for a frame of so many bytes."""
    return MEMORY_BYTES + MEMORY_PER_BYTE * size, CPU_S + CPU_S_PER_MIB * (size // MIB)
