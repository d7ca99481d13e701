"""The card of a site's own model: a TOML file that says what the model reads and what its outputs mean.

The card names one ONNX file that lies beside it and the SHA-256 of its bytes. What the card does not know, or what
does not go together, is refused with the key that it is about.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from config.schema import Section
from pipeline.errors import InputRejected
from pipeline.records import Role, Side

Input = Literal["t1c", "before", "t2", "adc"]
MIB = 1 << 20
MOST_CARD_BYTES, MOST_MODEL_BYTES = 64 * 1024, 512 * MIB
# A patch of more voxels than this is none: a whole exam at once.
MOST_PATCH_VOXELS = 1 << 24
Three = tuple[float, float, float]


class Inputs(Section):
    """`sequences` in the order of the model's channels; `spacing_mm` and `patch` along x, y and z.

    `normalisation` of each sequence: `none`; `zscore`, mean 0 and standard deviation 1; `percentile`, the 1st
    percentile becomes 0 and the 99th 1, cut off there. `adc` is in 10-6 mm2/s.
    """

    sequences: tuple[Input, ...] = Field(min_length=1, max_length=4)
    spacing_mm: Three
    normalisation: Literal["none", "zscore", "percentile"]
    patch: tuple[int, int, int]
    overlap: float = Field(0.5, ge=0, le=0.9)
    weights: Literal["gaussian", "uniform"] = "gaussian"

    @field_validator("spacing_mm")
    @classmethod
    def _is_spacing(cls, value: Three) -> Three:
        if not all(0.2 <= v <= 10 for v in value):
            raise ValueError("must be three numbers of mm from 0.2 to 10")
        return value

    @field_validator("patch")
    @classmethod
    def _is_patch(cls, value: tuple[int, int, int]) -> tuple[int, int, int]:
        if not all(4 <= v <= 512 for v in value) or value[0] * value[1] * value[2] > MOST_PATCH_VOXELS:
            raise ValueError(f"must be three numbers of voxels from 4 to 512, together at most {MOST_PATCH_VOXELS}")
        return value


class Channel(Section):
    """One channel of the output: its place, and the regions that it shows. Without `side`, the side goes by place."""

    index: int = Field(ge=0, le=63)
    role: Role
    side: Side | None = None


class Outputs(Section):
    """`activation`: `none` where the model gives probabilities. Parts below `least_cc` are left out."""

    activation: Literal["none", "sigmoid", "softmax"]
    threshold: float = Field(0.5, gt=0, lt=1)
    least_cc: float = Field(0.1, ge=0)
    channel: tuple[Channel, ...] = Field(min_length=1, max_length=16)

    @model_validator(mode="after")
    def _differ(self) -> Outputs:
        indices = [c.index for c in self.channel]
        if len(set(indices)) < len(indices):
            raise ValueError("channel: an index stands there twice")
        return self


class ModelCard(Section):
    """What a site writes about its model. `demonstration`: it only shows the way and knows no patient."""

    name: str = Field(min_length=1, max_length=48)
    version: str = Field(min_length=1, max_length=32)
    file: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    demonstration: bool = False
    input: Inputs
    output: Outputs

    @field_validator("name")
    @classmethod
    def _is_not_ours(cls, value: str) -> str:
        if value.lower().startswith("axrad"):
            raise ValueError("must not begin with axrad")
        return value

    @field_validator("file")
    @classmethod
    def _lies_beside(cls, value: str) -> str:
        if value in ("", ".", "..") or "/" in value or "\\" in value or not value.endswith(".onnx"):
            raise ValueError("must be the name of a file in the folder of the card that ends in .onnx, without a path")
        return value

    @property
    def roles(self) -> frozenset[Role]:
        return frozenset(c.role for c in self.output.channel)


@dataclass(frozen=True, slots=True)
class SiteModel:
    """A card and the bytes of its model, which are the ones it names."""

    card: ModelCard
    onnx: bytes


def load_card(path: Path) -> ModelCard:
    """Raises InputRejected naming the key that is wrong."""
    data = _read(path, MOST_CARD_BYTES, "the card")
    try:
        content: Mapping[str, object] = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputRejected(f"{path.name} is no TOML: {type(error).__name__}", code="model-card") from None
    try:
        return ModelCard.model_validate(content)
    except ValidationError as error:
        faults = []
        for each in error.errors():
            key = ".".join(str(part) for part in each["loc"])
            text = str(each["msg"]).removeprefix("Value error, ")
            faults.append(f"{key}: {text}" if key else text)
        raise InputRejected(f"{path.name}: " + "; ".join(faults), code="model-card") from None


def load_model(path: Path) -> SiteModel:
    """The card at `path` and its model. Raises InputRejected where either is not what it should be."""
    card = load_card(path)
    model = path.parent / card.file
    # A mounted folder may be made of links; both have to lead into one folder.
    if _folder(model) != _folder(path):
        raise InputRejected(f"{card.file} does not lie in the folder of {path.name}", code="model-file")
    data = _read(model, MOST_MODEL_BYTES, "the model")
    digest = hashlib.sha256(data).hexdigest()
    if digest != card.sha256:
        raise InputRejected(f"{card.file} is not the file of sha256 in {path.name}: it has {digest}", code="model-file")
    return SiteModel(card, data)


def check_model(path: Path) -> None:
    """Raises InputRejected where the card, its model or what runs it is not as it should be."""
    load_model(path)
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise InputRejected(
            f"{', '.join(missing)}: not installed; install the extra `model` (pip install 'axrad[model]')"
        )


def _folder(path: Path) -> Path | None:
    try:
        return path.resolve(strict=True).parent
    except (OSError, RuntimeError):
        return None


def _read(path: Path, most: int, what: str) -> bytes:
    """A regular file of at most `most` bytes; never waits for a pipe."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InputRejected(f"{what} {path.name} cannot be read: {error.strerror}", code="model-file") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InputRejected(f"{what} {path.name} is no file", code="model-file")
    with os.fdopen(fd, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise InputRejected(f"{what} {path.name} has more than {most // 1024} KiB", code="model-file")
    return data
