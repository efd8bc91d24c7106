"""Where a data set came from: what `load` was given, and whether the set is still what it gave."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["Origin", "digest"]

HASHED, ROWS = 2**20, 16
"""How many bytes of a tensor are hashed at most, and how many rows of one that is mapped from a file."""


Splits = Mapping[str, Mapping[str, Tensor]]
"""Named tensors, by the name of their split."""


@dataclass(frozen=True)
class Origin:
    """What `pyrovae.data.load` was given.

    Attributes:
        arguments: its arguments by name; paths are absolute.
        digest: that of the splits that it gave.
    """

    arguments: Mapping[str, Any]
    digest: str

    @classmethod
    def of(cls, arguments: Mapping[str, Any], splits: Splits, streamed: bool, *, named: bool = False) -> "Origin":
        """The origin of a data set.

        Args:
            arguments: what `load` was given.
            splits: what it gave.
            streamed: whether it is mapped from a file.
            named: whether `load` was given the name of a data set; otherwise it is a path, which becomes absolute.
        """
        plain = {name: os.fspath(v) if isinstance(v, os.PathLike) else v for name, v in arguments.items()}
        kind, colon, rest = plain["name"].rpartition("folder:")
        path = Path(rest).expanduser()
        if path.exists() and not named:
            plain["name"] = f"{kind}{colon}{path.resolve()}"
        if plain.get("root") is not None:
            plain["root"] = str(Path(plain["root"]).expanduser().resolve())
        return cls(plain, digest(splits, streamed))


def digest(splits: Splits, streamed: bool) -> str:
    """A hash of names, shapes, types and rows at equal distances of the tensors of some splits.

    Args:
        splits: the splits by name.
        streamed: whether they are mapped from a file, which is then hardly read.
    """
    found = hashlib.sha256()
    for split, batch in splits.items():
        for name, tensor in batch.items():
            found.update(f"{split} {name} {tensor.dtype} {tuple(tensor.shape)};".encode())
            size = tensor.numel() * tensor.element_size()
            step = max(1, -(-size // HASHED), -(-len(tensor) // ROWS) if streamed else 1)
            rows = tensor[::step].detach().cpu().contiguous()
            found.update(rows.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
