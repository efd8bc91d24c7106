"""Named tensors: what data are, wherever they come in.

Arrays of NumPy become tensors; a tensor, an array or a data frame of numbers by itself is `x`. Anything else is refused
with the line to write instead, before a network meets it.
"""

import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from pyrovae.data.batch import Batch
from pyrovae.data.columns import is_frame, missing_cells, numbers_of
from pyrovae.data.dataset import Dataset
from pyrovae.data.hugging_face import ArrowRows, is_arrow, is_arrow_dict
from pyrovae.data.mapped import watch
from pyrovae.data.source import LazyBatch, Source
from pyrovae.data.streams import is_stream
from pyrovae.errors import DataError

__all__ = ["batch_of", "kind_of", "named_tensors"]


def batch_of(what: str, data: Any, floats: torch.dtype | None = None) -> Batch:
    """The data as named tensors, or as what reads them where they are needed.

    Args:
        what: the caller's name, for the errors.
        data: as in `named_tensors`; or a `Source`, or a `datasets.Dataset`.
        floats: the type of what was floats in NumPy; torch's default if None.

    Raises:
        DataError: the data are no such thing; the message has the line to write.
    """
    if isinstance(data, LazyBatch):
        return data
    if is_arrow(data):
        data = ArrowRows(data)
    if isinstance(data, Source) and not isinstance(data, Mapping) and not is_frame(data):
        return LazyBatch(data, partial(named_tensors, what, floats=floats))
    return named_tensors(what, data, floats)


def named_tensors(what: str, data: Any, floats: torch.dtype | None = None) -> dict[str, Tensor]:
    """The data as named tensors.

    Args:
        what: the caller's name, for the errors.
        data: named tensors, arrays, or columns of a data frame; or one tensor, array or data frame of numbers, which
            is `x`.
        floats: the type of what was floats in NumPy, and of a data frame; torch's default if None.

    Raises:
        DataError: the data are no such thing; the message has the line to write.
    """
    if isinstance(data, Tensor | np.ndarray) or is_frame(data):
        data = {"x": data}
    if not isinstance(data, Mapping) or is_arrow_dict(data):
        raise DataError(f"{what} requires named tensors, got {kind_of(data)}. {_advice(what, data)}")
    return {name: _tensor(what, name, value, floats) for name, value in data.items()}


def _tensor(what: str, name: Any, value: Any, floats: torch.dtype | None) -> Tensor:
    """One entry of the data."""
    if not isinstance(name, str):
        raise DataError(f'{what} requires names of tensors, got the name {name!r}. Write {{"x": x}}.')
    if is_frame(value):
        return _from_array(what, name, numbers_of(what, value), floats)
    if _is_series(value):
        value = _cells(what, name, value)
    if isinstance(value, np.ndarray):
        if _is_mapped(value, floats):
            return _from_map(value)
        return _from_array(what, name, value, floats)
    if not isinstance(value, Tensor):
        raise DataError(
            f'{what} requires a tensor or an array at "{name}", got {kind_of(value)}. Write '
            f'{{"{name}": torch.as_tensor({name})}}.'
        )
    if value.is_nested or value.layout != torch.strided:
        raise DataError(f'{what} requires a dense tensor at "{name}", got {_layout(value)}. Write {name}.to_dense().')
    if value.is_complex():
        parts = f"torch.view_as_real({name}).flatten(1)"
        raise DataError(f'{what} requires real numbers at "{name}", got {value.dtype}. Write {{"{name}": {parts}}}.')
    if value.is_meta:
        raise DataError(f'{what} requires values at "{name}", got a tensor on the device meta, which has none.')
    return value


def _is_series(value: Any) -> bool:
    """Whether something is a column of a data frame."""
    return hasattr(value, "to_numpy") and hasattr(value, "dtype") and hasattr(value, "isna")


def _cells(what: str, name: str, series: Any) -> np.ndarray:
    """A column of numbers without gaps as an array of its own type."""
    kind, gaps = getattr(series.dtype, "kind", "O"), int(missing_cells(series).sum())
    if kind not in "biuf" or gaps:
        got = f"{gaps} missing cells" if gaps else f"a column of {series.dtype}"
        made = f"{name}.dropna()" if gaps else f"{name}.factorize()[0]"
        raise DataError(f'{what} requires numbers without gaps at "{name}", got {got}. Write {{"{name}": {made}}}.')
    return np.asarray(series.to_numpy(dtype={"b": bool, "f": float}.get(kind, np.int64)))


def _is_mapped(value: np.ndarray, floats: torch.dtype | None) -> TypeGuard[np.memmap]:
    """Whether an array views a file, and a tensor can view it too: its numbers need no conversion."""
    if not isinstance(value, np.memmap) or not isinstance(value.filename, str | Path):
        return False
    wanted = torch.empty(0, dtype=floats or torch.get_default_dtype())
    kinds = (np.dtype(np.uint8), np.dtype(bool), np.dtype(np.int64))
    return value.dtype in kinds or (
        wanted.dtype in (torch.float32, torch.float64) and value.dtype == wanted.numpy().dtype
    )


def _from_map(value: np.memmap) -> Tensor:
    """A tensor of a memory map, whose file is watched; nothing is read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        tensor = torch.from_numpy(value)
    watch(Path(str(value.filename)), tensor, value, gives_back=value.mode != "c")
    return tensor


def _from_array(what: str, name: str, array: np.ndarray, floats: torch.dtype | None) -> Tensor:
    """An array as a tensor: bytes and booleans stay, integers become int64, and floats those of the pair."""
    kind = array.dtype.kind
    if kind not in "biuf":
        made = f'torch.tensor({name}.astype("float32"))'
        raise DataError(
            f'{what} requires numbers at "{name}", got an array of {array.dtype}. Write {{"{name}": {made}}}.'
        )
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise DataError(f'{what} requires integers below 2**63 at "{name}", got {array.max()} of uint64.')
    if kind == "f":
        return torch.from_numpy(array.astype(np.float64 if array.itemsize > 4 else np.float32)).to(
            floats or torch.get_default_dtype()
        )
    keeps = kind == "b" or array.dtype == np.uint8
    return torch.from_numpy(np.array(array) if keeps else array.astype(np.int64))


def kind_of(value: Any) -> str:
    """What something is, with its article.

    Args:
        value: anything.
    """
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"


def _layout(value: Tensor) -> str:
    return "a nested tensor" if value.is_nested else str(value.layout)


def _advice(what: str, data: Any) -> str:
    """The line to write in place of something that is no named tensors."""
    if isinstance(data, Dataset):
        return f"Write {what}(..., data.test), one split of it."
    if is_arrow_dict(data):
        return f"Write {what}(..., data[{next(iter(data), 'train')!r}]), one split of it."
    if isinstance(data, torch.utils.data.DataLoader):
        return f"{what} makes its own batches. Write {_of_set(data.dataset, 'loader.dataset')}."
    if is_stream(data):
        part = '{"x": torch.cat([batch["x"] for batch in itertools.islice(stream, 10)])}'
        train = "Train on its batches: fit(model, guide, stream, steps=1000)" if what == "fit" else "It has no length"
        return f"{train}. Take some of it into memory: {part}."
    if isinstance(data, torch.utils.data.Dataset):
        return f"Write {_of_set(data, 'dataset')}; or a class with __len__ and rows(numbers), a pyrovae.data.Source."
    if isinstance(data, list | tuple):
        both = isinstance(data, tuple) and len(data) == 2 and all(isinstance(part, Tensor) for part in data)
        return 'Write {"x": x, "y": y}.' if both else 'Write {"x": torch.stack(x)}, or {"x": torch.tensor(x)}.'
    return 'Write {"x": x} with a tensor x of shape (N, *event).'


def _of_set(dataset: Any, name: str) -> str:
    """The line that makes named tensors of torch's data set."""
    if isinstance(dataset, torch.utils.data.TensorDataset):
        return f'{{"x": {name}.tensors[0]}}'
    return f'{{"x": torch.stack([item[0] for item in {name}])}}, where an item is (x, y)'
