"""The sizes of nodes: Azure's names and generic ones; an operator may replace or add some."""

import json
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

GIB = 1024**3
MOST_SIZES = 1000
"""So many there are at most: they are read, and answered, as a whole."""


class VmSize(BaseModel):
    """What a node of this size nominally has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    cores: int = Field(ge=1)
    memory_gb: float = Field(gt=0)
    gpus: int = Field(default=0, ge=0)
    price_per_hour: float = Field(default=0.0, ge=0, le=1_000_000)


_BUILT_IN = (
    ("SMALL", 1, 2, 0),
    ("MEDIUM", 2, 8, 0),
    ("LARGE", 8, 32, 0),
    ("STANDARD_D1_V2", 1, 3.5, 0),
    ("STANDARD_D2_V2", 2, 7, 0),
    ("STANDARD_D3_V2", 4, 14, 0),
    ("STANDARD_D4_V2", 8, 28, 0),
    ("STANDARD_D11_V2", 2, 14, 0),
    ("STANDARD_D12_V2", 4, 28, 0),
    ("STANDARD_D13_V2", 8, 56, 0),
    ("STANDARD_DS2_V2", 2, 7, 0),
    ("STANDARD_DS3_V2", 4, 14, 0),
    ("STANDARD_DS4_V2", 8, 28, 0),
    ("STANDARD_DS11_V2", 2, 14, 0),
    ("STANDARD_DS12_V2", 4, 28, 0),
    ("STANDARD_E4S_V3", 4, 32, 0),
    ("STANDARD_F4S_V2", 4, 8, 0),
    ("STANDARD_NC6", 6, 56, 1),
    ("STANDARD_NC12", 12, 112, 2),
    ("STANDARD_NC24", 24, 224, 4),
    ("STANDARD_NC24R", 24, 224, 4),
    ("STANDARD_NC6S_V2", 6, 112, 1),
    ("STANDARD_NC6S_V3", 6, 112, 1),
    ("STANDARD_NC12S_V3", 12, 224, 2),
    ("STANDARD_NC24S_V3", 24, 448, 4),
    ("STANDARD_NC4AS_T4_V3", 4, 28, 1),
    ("STANDARD_ND6S", 6, 112, 1),
    ("STANDARD_ND40RS_V2", 40, 672, 8),
    ("STANDARD_ND96ASR_V4", 96, 900, 8),
    ("STANDARD_NV6", 6, 56, 1),
)


class _SizesFile(RootModel[list[VmSize]]):
    pass


class SizesFileInvalid(Exception):
    """The operator's file of sizes cannot be used; the message says why."""


@lru_cache
def vm_sizes(file: Path | None) -> dict[str, VmSize]:
    """All sizes by upper-case name.

    Args:
        file: the operator's sizes, a JSON list of ``{name, cores, memory_gb, gpus,
            price_per_hour}``; they replace built-in ones of the same name.

    Raises:
        SizesFileInvalid: the file cannot be read or is wrong.
    """
    sizes = {
        name: VmSize(name=name, cores=cores, memory_gb=memory, gpus=gpus)
        for name, cores, memory, gpus in _BUILT_IN
    }
    if file is not None:
        try:
            own = _SizesFile.model_validate(json.loads(file.read_text()))
        except (OSError, ValueError, ValidationError) as error:
            raise SizesFileInvalid(f"{file}: {error}") from error
        # Clusters keep the name in capitals, whatever the file has.
        named = [size.model_copy(update={"name": size.name.upper()}) for size in own.root]
        sizes |= {size.name: size for size in named}
        if len(sizes) > MOST_SIZES:
            raise SizesFileInvalid(f"{file}: {len(sizes)} sizes; there may be {MOST_SIZES}.")
    return sizes
